"""When two bodies say the same: values that the server chooses may differ, but the same ones must always meet.

A recorded uid, version, address, port or generated name is paired with the lab's at first sight. From then on it must
meet that value again, and in requests it is replaced by it. Times are compared in form alone; the node of a pod is the
scheduler's choice; identities of containers and images are the runtime's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

#: the alphabet of generated names and template hashes
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_TOKEN = re.compile(
    r"(?P<uid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"
    r"|(?P<node>(?:kind|kubereach)-(?:control-plane|worker\d*))(?![\w-])"
    r"|(?P<address>(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.]))"
    r"|(?P<digest>sha256:[0-9a-f]{64})"
    r"|(?P<event>(?<=\.)[0-9a-f]{16}(?![\w-]))"
    rf"|(?P<hash>(?<=[-=]){_SAFE}{{7,10}}(?!\w))"
    rf"|(?P<suffix>(?<=-){_SAFE}{{5}}(?![\w-]))"
    r"|(?P<number>(?<![\w.-])\d{5,}(?![\w.-]))"
)
#: what recorded nodes are called in requests
_NODES = {
    "kind-control-plane": "kubereach-control-plane",
    "kind-worker": "kubereach-worker",
    "kind-worker2": "kubereach-worker2",
}
_NODE_ADDRESS = re.compile(r"172\.18\.\d+\.\d+")
#: both sides of such a pair belong to one thing alone
_UNIQUE = frozenset({"uid", "version", "suffix"})
_HASH_LABELS = frozenset({"pod-template-hash", "controller-revision-hash"})
_PORTS = frozenset({"nodePort", "healthCheckNodePort"})
_RUNTIMES = frozenset({"containerID", "imageID"})
#: lists whose order means nothing
_SETS = frozenset({"endpoints", "addresses", "notReadyAddresses", "causes"})
LEFT_OUT = "(left out)"


class Pairs:
    """Which value of the lab belongs to which recorded one."""

    def __init__(self) -> None:
        self.lab: dict[tuple[str, str], str] = {}
        self.recorded: dict[tuple[str, str], str] = {}

    def copy(self) -> Pairs:
        new = Pairs()
        new.lab, new.recorded = dict(self.lab), dict(self.recorded)
        return new

    def meet(self, kind: str, recorded: str, actual: str) -> str:
        """Pair two values, or compare them with what was paired before; says what is wrong, "" if nothing."""
        known = self.lab.get((kind, recorded))
        if known is None:
            other = self.recorded.get((kind, actual))
            if other is not None and kind in _UNIQUE:
                return f"{actual!r} belongs to recorded {other!r}, not to {recorded!r}"
            self.lab[kind, recorded], self.recorded[kind, actual] = actual, recorded
            return ""
        if known == actual:
            return ""
        return f"{actual!r} where {known!r} was before (recorded {recorded!r} both times)"

    def told(self, value: Any) -> Any:
        """A part of a recorded request in the lab's values."""
        if isinstance(value, dict):
            return {key: self.told(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.told(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return int(self.lab.get(("number", str(value)), value))
        if not isinstance(value, str):
            return value
        for kind in ("continue", "version"):
            if (kind, value) in self.lab:
                return self.lab[kind, value]
        return _TOKEN.sub(self._told, value)

    def _told(self, match: re.Match[str]) -> str:
        kind, text = str(match.lastgroup), match[0]
        if kind == "node":
            return _NODES.get(text, text)
        return self.lab.get((kind, text), text)


def has_chosen_name(obj: Any) -> bool:
    """Whether the server chose (a part of) the object's name, so that its place in a list is by chance."""
    if isinstance(obj, str):
        return any(match.lastgroup in ("hash", "suffix", "event") for match in _TOKEN.finditer(obj))
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return isinstance(metadata, dict) and ("generateName" in metadata or has_chosen_name(metadata.get("name", "")))


def differences(
    recorded: Any, actual: Any, pairs: Pairs, path: str = "", *, cut: bool = False
) -> Iterator[str]:
    """Where two bodies differ; `pairs` learns on the way. `cut`: what the recording lacks may be there."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        yield from _objects(recorded, actual, pairs, path, cut or LEFT_OUT in recorded)
    elif isinstance(recorded, list) and isinstance(actual, list):
        yield from _lists(recorded, actual, pairs, path, cut)
    elif isinstance(recorded, str) and isinstance(actual, str):
        yield from texts(recorded, actual, pairs, path)
    elif type(recorded) is not type(actual) or recorded != actual:
        yield f"{path}: {json.dumps(actual)[:300]}, recorded {json.dumps(recorded)[:300]}"


def _objects(
    recorded: dict[str, Any], actual: dict[str, Any], pairs: Pairs, path: str, cut: bool
) -> Iterator[str]:
    # names first: what is chosen is then known when a message says it
    for key in sorted(recorded.keys() | actual.keys(), key=lambda k: (k != "metadata", k)):
        where = f"{path}.{key}"
        if key == LEFT_OUT:
            continue
        if key not in actual:
            yield f"{where}: missing, recorded {json.dumps(recorded[key])[:300]}"
        elif key not in recorded:
            if not cut:
                yield f"{where}: {json.dumps(actual[key])[:300]}, recorded nothing"
        else:
            one, other = recorded[key], actual[key]
            kind = _chosen(key, recorded, path)
            if kind is None:
                yield from differences(one, other, pairs, where, cut=cut)
            elif type(one) is not type(other) or bool(one) != bool(other):
                yield f"{where}: {json.dumps(other)}, recorded {json.dumps(one)}"
            elif kind and one and (wrong := pairs.meet(kind, str(one), str(other))):
                yield f"{where}: {wrong}"


def _chosen(key: str, recorded: dict[str, Any], path: str) -> str | None:
    """The kind of a value that the server chooses; "" if nothing of it is compared, None if all of it is."""
    if key == "resourceVersion":
        # the version of a list is the cluster's, that in an event one of some moment before
        return "version" if "name" in recorded and "involvedObject" not in path and "regarding" not in path else ""
    if key in ("uid", "continue"):
        return key
    if key in _PORTS:
        return "number"
    if key in _HASH_LABELS and re.fullmatch(f"{_SAFE}+", str(recorded[key])):
        return "hash"
    if key in _RUNTIMES:
        return ""
    if key in ("count", "deprecatedCount") and ("reason" in recorded):
        return ""
    # it counts the writes of the controller, which may be merged or split
    if key == "generation" and "kubernetes.io/service-name" in (recorded.get("labels") or {}):
        return ""
    return None


def _lists(recorded: list[Any], actual: list[Any], pairs: Pairs, path: str, cut: bool) -> Iterator[str]:
    key = path.rsplit(".", 1)[-1]
    if key == "items" and recorded and isinstance(recorded[0], str):
        actual = [item["metadata"]["name"] for item in actual]
    if key == "items" and (named := [i["metadata"]["name"] for i in actual if isinstance(i, dict)]):
        spaced = [(i["metadata"].get("namespace", ""), i["metadata"]["name"]) for i in actual]
        if spaced != sorted(spaced):
            yield f"{path}: not in the order of names: {named}"
    if len(recorded) != len(actual):
        yield f"{path}: {len(actual)} items, recorded {len(recorded)}: {json.dumps(actual)[:600]}"
        return
    if key in _SETS or (key == "items" and any(has_chosen_name(item) for item in recorded)):
        yield from _sets(recorded, actual, pairs, path, cut)
        return
    for number, (one, other) in enumerate(zip(recorded, actual, strict=True)):
        yield from differences(one, other, pairs, f"{path}[{number}]", cut=cut)


def _sets(recorded: list[Any], actual: list[Any], pairs: Pairs, path: str, cut: bool) -> Iterator[str]:
    """Finds for each recorded item one that is equal, such that all of them are under the same pairs."""
    best: tuple[int, list[str]] = (-1, [])

    def matched(number: int, left: list[int], known: Pairs) -> Pairs | None:
        nonlocal best
        if number == len(recorded):
            return known
        found: list[list[str]] = []
        for index in left:
            trial = known.copy()
            wrong = list(differences(recorded[number], actual[index], trial, f"{path}[{number}]", cut=cut))
            if not wrong:
                done = matched(number + 1, [i for i in left if i != index], trial)
                if done is not None:
                    return done
            else:
                found.append(wrong)
        if found and number > best[0]:
            best = (number, min(found, key=len))
        return None

    done = matched(0, list(range(len(actual))), pairs)
    if done is None:
        yield from best[1] or [f"{path}: no order of {json.dumps(actual)[:600]} agrees"]
    else:
        pairs.lab, pairs.recorded = done.lab, done.recorded


def texts(recorded: str, actual: str, pairs: Pairs, path: str = "") -> Iterator[str]:
    """Where two texts differ: they must be equal but for the values in them that the server chooses."""
    if LEFT_OUT in recorded:
        begin, _, end = recorded.partition(LEFT_OUT)
        if not actual.startswith(begin.strip()) or not actual.strip().endswith(end.strip()):
            yield f"{path}: {actual[:300]!r}, recorded {recorded!r}"
        return
    ours, theirs = list(_TOKEN.finditer(recorded)), list(_TOKEN.finditer(actual))
    same_form = [m.lastgroup for m in ours] == [m.lastgroup for m in theirs]
    if not same_form or _TOKEN.sub("\0", recorded) != _TOKEN.sub("\0", actual):
        yield f"{path}: {actual!r}, recorded {recorded!r}"
        return
    for one, other in zip(ours, theirs, strict=True):
        kind = str(one.lastgroup)
        wrong = ""
        if kind == "time":
            wrong = "" if len(one[0]) == len(other[0]) else f"{other[0]} is no time like {one[0]}"
        elif kind in ("node", "digest", "event") or (
            kind == "address" and _NODE_ADDRESS.fullmatch(one[0]) and _NODE_ADDRESS.fullmatch(other[0])
        ):
            continue
        else:
            wrong = pairs.meet(kind, one[0], other[0])
        if wrong:
            yield f"{path}: {wrong}: {actual!r}"
