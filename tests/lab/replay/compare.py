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
#: what a token looks like -> where in a text it may stand
_FORMS = {
    "sandbox": r"(?:cni|pod)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "uid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "clock": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000 UTC m=\+\d+\.\d+",
    "date": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "node": r"(?:kind|kubereach)-(?:control-plane|worker\d*)",
    "address": r"\d+\.\d+\.\d+\.\d+",
    "digest": r"sha256:[0-9a-f]{64}",
    "identity": r"[0-9a-f]{64}",
    "event": r"[0-9a-f]{16}",
    "hash": _SAFE + r"{7,10}",
    "suffix": _SAFE + r"{5}",
    "number": r"\d+",
}
_TOKEN = re.compile(
    rf"(?P<sandbox>{_FORMS['sandbox']})|(?P<uid>{_FORMS['uid']})|(?P<clock>{_FORMS['clock']})"
    rf"|(?P<date>{_FORMS['date']})|(?P<identity>(?<![\w:]){_FORMS['identity']}(?!\w))"
    rf"|(?P<time>{_FORMS['time']})|(?P<node>{_FORMS['node']})(?![\w-])"
    rf"|(?P<address>(?<![\d.]){_FORMS['address']}(?![\d.]))|(?P<digest>{_FORMS['digest']})"
    rf"|(?P<event>(?<=\.){_FORMS['event']}(?![\w-]))|(?P<hash>(?<=[-=]){_FORMS['hash']}(?!\w))"
    rf"|(?P<suffix>(?<=-){_FORMS['suffix']}(?![\w-]))|(?P<number>(?<![\w.-])\d{{5,}}(?![\w.]|-(?!>)))"
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
_HASH_LABELS = frozenset({"pod-template-hash", "controller-revision-hash", "controller.kubernetes.io/hash"})
_PORTS = frozenset({"nodePort", "healthCheckNodePort"})
_RUNTIMES = frozenset({"containerID", "imageID"})
#: lists whose order means nothing
_SETS = frozenset({"endpoints", "addresses", "notReadyAddresses", "subsets", "causes"})
_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
LEFT_OUT = "(left out)"
#: in a cell of a Table: how long ago
_AGE = re.compile(r"^()(?:\d+[smhdy]){1,2}$|(?<=\d )(\()(?:\d+[smhdy]){1,2} ago\)")


class Pairs:
    """Which value of the lab belongs to which recorded one."""

    def __init__(self) -> None:
        self.lab: dict[tuple[str, str], str] = {}
        self.recorded: dict[tuple[str, str], str] = {}
        #: comparing what was read: it may be of before or after a status update that raced, and so may its version
        self.reading = False

    def copy(self) -> Pairs:
        new = Pairs()
        new.lab, new.recorded, new.reading = dict(self.lab), dict(self.recorded), self.reading
        return new

    def meet(self, kind: str, recorded: str, actual: str) -> str:
        """Pair two values, or compare them with what was paired before; says what is wrong, "" if nothing."""
        if kind == "revision":
            # the version of a list is the cluster's, which many write to: it is only told, not compared
            self.lab[kind, recorded] = actual
            return ""
        known = self.lab.get((kind, recorded))
        if known is None:
            # later requests that say it mean this one, also where it should have been another
            self.lab[kind, recorded] = actual
            other = self.recorded.setdefault((kind, actual), recorded)
            if other != recorded and kind in _UNIQUE and not (kind == "version" and self.reading):
                return f"{actual!r} belongs to recorded {other!r}, not to {recorded!r}"
            return ""
        if known == actual:
            return ""
        return f"{actual!r} where {known!r} was before (recorded {recorded!r} both times)"

    def knows(self, text: str) -> bool:
        """Whether every chosen value in a recorded text is paired."""
        return all((str(match.lastgroup), match[0]) in self.lab for match in _TOKEN.finditer(text))

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
        for kind in ("continue", "version", "revision"):
            if (kind, value) in self.lab:
                return self.lab[kind, value]
        return _TOKEN.sub(self._told, value)

    def _told(self, match: re.Match[str]) -> str:
        kind, text = str(match.lastgroup), match[0]
        if kind == "node":
            return _NODES.get(text, text)
        return self.lab.get((kind, text), text)


def shared_part(recorded: Any, actual: Any, skipped: frozenset[str], cut: str = "") -> tuple[Any, Any]:
    """Both without `skipped` keys, and what was recorded reduced to the keys and names that the lab has too.

    Recorded texts end before `cut`, if that is in them.
    """
    if isinstance(recorded, str) and cut:
        return recorded.partition(cut)[0], actual
    if isinstance(recorded, dict) and isinstance(actual, dict):
        mine = {key: value for key, value in actual.items() if key not in skipped}
        both = {key: shared_part(recorded[key], mine[key], skipped, cut) for key in mine if key in recorded}
        both |= {LEFT_OUT: (True, True)} if LEFT_OUT in recorded else {}
        return {key: pair[0] for key, pair in both.items()}, {
            **mine,
            **{key: pair[1] for key, pair in both.items()},
        }
    if isinstance(recorded, list) and isinstance(actual, dict):
        return sorted(key for key in recorded if key in actual), sorted(actual)
    if isinstance(recorded, list) and isinstance(actual, list) and cut:
        both_cut = [
            shared_part(one, other, skipped, cut) for one, other in zip(recorded, actual, strict=False)
        ]
        return [one for one, _ in both_cut] + recorded[len(both_cut) :], actual
    if isinstance(recorded, list) and isinstance(actual, list):
        theirs = {_called(item): item for item in recorded}
        if any(isinstance(item, str) and LEFT_OUT in item for item in recorded):
            actual = [item for item in actual if _called(item) in theirs]
        pairs = [
            shared_part(theirs[_called(i)], i, skipped, cut) if _called(i) in theirs else (None, i)
            for i in actual
        ]
        return [one for one, _ in pairs if one is not None], [other for _, other in pairs]
    return recorded, actual


def _called(item: Any) -> str:
    return str(item.get("name", item) if isinstance(item, dict) else item)


def has_chosen_name(obj: Any) -> bool:
    """Whether the server chose (a part of) the object's name, so that its place in a list is by chance."""
    if isinstance(obj, str):
        return any(match.lastgroup in ("hash", "suffix", "event") for match in _TOKEN.finditer(obj))
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return isinstance(metadata, dict) and (
        "generateName" in metadata or has_chosen_name(metadata.get("name", ""))
    )


def differences(
    recorded: Any, actual: Any, pairs: Pairs, path: str = "", *, cut: bool = False
) -> Iterator[str]:
    """Where two bodies differ; `pairs` learns on the way. `cut`: what the recording lacks may be there."""
    if recorded == LEFT_OUT:
        return
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
    recorded, actual = _without_trigger(recorded), _without_trigger(actual)
    # names first: what is chosen is then known when a message says it
    for key in sorted(recorded.keys() | actual.keys(), key=lambda k: (k != "metadata", k)):
        where = f"{path}.{key}"
        if key == LEFT_OUT:
            continue
        if key not in actual and (recorded[key] is not None or not cut):
            yield f"{where}: missing, recorded {json.dumps(recorded[key])[:300]}"
        elif key not in actual:
            continue  # a part that was cut out of an object is null where the object has none
        elif key not in recorded:
            if not cut:
                yield f"{where}: {json.dumps(actual[key])[:300]}, recorded nothing"
        else:
            one, other = recorded[key], actual[key]
            kind = _chosen(key, recorded, path)
            if kind is None:
                yield from differences(one, other, pairs, where, cut=cut)
            elif type(one) is not type(other) or (kind and bool(one) != bool(other)):
                yield f"{where}: {json.dumps(other)}, recorded {json.dumps(one)}"
            elif kind and one and (wrong := pairs.meet(kind, str(one), str(other))):
                yield f"{where}: {wrong}"


def _without_trigger(obj: dict[str, Any]) -> dict[str, Any]:
    """An object without a time that is there or not by whether two changes fell into one second."""
    if _TRIGGER not in (obj.get("annotations") or {}):
        return obj
    kept = {key: value for key, value in obj["annotations"].items() if key != _TRIGGER}
    return {key: value for key, value in obj.items() if key != "annotations"} | (
        {"annotations": kept} if kept else {}
    )


def _chosen(key: str, recorded: dict[str, Any], path: str) -> str | None:
    """The kind of a value that the server chooses; "" if nothing of it is compared, None if all of it is."""
    if key == "resourceVersion":
        if "involvedObject" in path or "regarding" in path:
            return ""  # of some moment before
        return "version" if "name" in recorded else "revision"
    if key in ("uid", "continue"):
        return key
    if key in _PORTS:
        return "number"
    if key in _HASH_LABELS and re.fullmatch(f"{_SAFE}+", str(recorded[key])):
        return "hash"
    if key in _RUNTIMES or (key == "image" and "imageID" in recorded):
        return ""  # the runtime's name of an image with several tags is any of them
    # how long a stopped container takes is time, and so is when a kubelet reads a pod's limits from its cgroup
    if key == "terminatingReplicas" or (key == "resources" and "phase" in recorded):
        return ""
    if key in ("count", "deprecatedCount") and ("reason" in recorded):
        return ""
    # it counts the writes of the controller, which may be merged or split
    if key == "generation" and "kubernetes.io/service-name" in (recorded.get("labels") or {}):
        return ""
    return None


def _lists(recorded: list[Any], actual: list[Any], pairs: Pairs, path: str, cut: bool) -> Iterator[str]:
    listed = path == ".items"
    # recorded lists of events are cut to what they tell, of the kinds that the scenario is about; others to metadata
    told = listed and bool(recorded) and isinstance(recorded[0], dict) and "metadata" not in recorded[0]
    if told:
        about = {item["involvedObject"]["kind"] for item in recorded if "involvedObject" in item}
        actual = [item for item in actual if item.get("involvedObject", {}).get("kind") in about]
    cut = (
        cut
        or told
        or (listed and all(isinstance(item, dict) and set(item) == {"metadata"} for item in recorded))
    )
    if listed and actual:
        names = [(item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in actual]
        if names != sorted(names):
            yield f"{path}: not in the order of names: {names}"
    if listed and recorded and isinstance(recorded[0], str):
        actual = [item["metadata"]["name"] for item in actual]
    if len(recorded) != len(actual):
        yield f"{path}: {len(actual)} items, recorded {len(recorded)}: {json.dumps(actual)[:600]}"
        return
    if (
        path.rsplit(".", 1)[-1] in _SETS
        or _hashed(path)
        or told
        or (listed and any(has_chosen_name(item) for item in recorded))
    ):
        yield from _sets(recorded, actual, pairs, path, cut)
        return
    for number, (one, other) in enumerate(zip(recorded, actual, strict=True)):
        yield from differences(one, other, pairs, f"{path}[{number}]", cut=cut)


def _hashed(path: str) -> bool:
    """The ports of Endpoints' subsets, which are in the order of a hash as the subsets are."""
    return ".subsets[" in path and path.endswith(".ports")


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
    if ".cells[" in path:
        recorded, actual = (_AGE.sub(r"\1(a time)", text) for text in (recorded, actual))
    tokens = list(_TOKEN.finditer(recorded))
    met = _pattern(recorded, tokens).fullmatch(actual) if tokens else None
    if met is None:
        if recorded != actual:
            yield f"{path}: {actual!r}, recorded {recorded!r}"
        return
    for token, other in zip(tokens, met.groups(), strict=True):
        kind, one = str(token.lastgroup), token[0]
        wrong = ""
        if kind == "time":
            wrong = "" if len(one) == len(other) else f"{other} is no time like {one}"
        elif kind in ("node", "digest", "event", "clock", "date") or (
            kind == "address" and _NODE_ADDRESS.fullmatch(one) and _NODE_ADDRESS.fullmatch(other)
        ):
            continue
        else:
            version = kind == "number" and ("version", one) in pairs.lab
            wrong = pairs.meet("version" if version else kind, one, other)
        if wrong:
            yield f"{path}: {wrong}: {actual!r}"


def _pattern(recorded: str, tokens: list[re.Match[str]]) -> re.Pattern[str]:
    """What a text must look like to say the same as `recorded`, with a group for each of its tokens."""
    parts, end = [], 0
    for token in tokens:
        parts += [re.escape(recorded[end : token.start()]), f"({_FORMS[str(token.lastgroup)]})"]
        end = token.end()
    return re.compile("".join(parts) + re.escape(recorded[end:]), re.DOTALL)
