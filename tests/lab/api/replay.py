"""Replays recordings of a real API server against the lab's and lists what differs.

What a real server chooses (uids, versions, addresses, ports, times) is paired with what the lab chose: the same
recorded value must always meet the same value of the lab, and is replaced by it in later requests.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

#: reads times as what they are written as
_STRINGS = yaml.BaseLoader
RECORDINGS = Path(__file__).parents[1] / "recordings"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
#: keys whose values the server chooses
_CHOSEN = frozenset({"uid", "resourceVersion", "clusterIP", "nodePort", "healthCheckNodePort", "continue"})
_CHOSEN_LISTS = frozenset({"clusterIPs"})


def load(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((RECORDINGS / f"{name}.json").read_text())["steps"]
    return steps


def label(step: dict[str, Any]) -> str:
    request = step["request"]
    return f"{request['method']} {request['path']} ({step.get('note') or json.dumps(request.get('body'))})"


class Replay:
    """One replay; `pairs` maps recorded values to the lab's."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.pairs: dict[str, str] = {}
        #: the recorded body is not all of the answer: what it lacks may be there
        self.cut = False
        self.watches: list[tuple[dict[str, Any], list[Any], threading.Thread]] = []

    def play(self, step: dict[str, Any]) -> list[str]:
        """Sends the step's request; what is different about the answer."""
        request, recorded = step["request"], step["response"]
        if "events" in recorded:
            self._watch(step)
            return []
        headers = {"Accept": request.get("accept", "application/json"), **request.get("headers", {})}
        content = None
        # what a dry run allocates is nobody's: it need not be the same again
        pairs = dict(self.pairs)
        if request.get("content_type"):
            headers["Content-Type"] = request["content_type"]
        if "body" in request:
            body = self._translated(request["body"])
            content = body if isinstance(body, str) else json.dumps(body)
        response = self.http.request(
            request["method"],
            request["path"],
            params=self._translated(request.get("query")),
            headers=headers,
            content=content,
        )
        found: list[str] = []
        if response.status_code != recorded["status"]:
            found.append(
                f"status: {response.status_code}, recorded {recorded['status']}: {response.text[:300]}"
            )
            return found
        warnings = response.headers.get_list("warning")
        expected = recorded.get("headers", {}).get("warning", [])
        if warnings != ([expected] if isinstance(expected, str) else expected):
            found.append(f"warnings: {warnings}, recorded {expected}")
        actual: Any = response.text
        if "application/json" in response.headers.get("content-type", ""):
            actual = response.json()
        expected = recorded["body"]
        if "application/yaml" in response.headers.get("content-type", ""):
            expected, actual = yaml.load(expected, _STRINGS), yaml.load(actual, _STRINGS)
        self.cut = "(left out)" in json.dumps(expected)
        found += self.differences(expected, actual, "")
        if "dryRun" in (request.get("query") or {}):
            self.pairs = pairs
        return found

    def _watch(self, step: dict[str, Any]) -> None:
        request = step["request"]
        events: list[Any] = []
        started = threading.Event()

        def read() -> None:
            query = self._translated(request.get("query"))
            with self.http.stream("GET", request["path"], params=query, timeout=3) as response:
                started.set()
                try:
                    for line in response.iter_lines():
                        events.append(json.loads(line))
                        if len(events) == len(step["response"]["events"]):
                            return
                except httpx.ReadTimeout:
                    return

        thread = threading.Thread(target=read)
        thread.start()
        started.wait(3)
        self.watches.append((step, events, thread))

    def finish(self) -> list[str]:
        """What is different about the watches."""
        found: list[str] = []
        for step, events, thread in self.watches:
            thread.join(5)
            recorded = [event["type"] for event in step["response"]["events"]]
            if [event["type"] for event in events] != recorded:
                found.append(f"{label(step)}: {[event['type'] for event in events]}, recorded {recorded}")
        return found

    def _translated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._translated(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._translated(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and f"#{value}" in self.pairs:
            return int(self.pairs[f"#{value}"][1:])
        return self.pairs.get(value, value) if isinstance(value, str) else value

    def differences(self, recorded: Any, actual: Any, path: str) -> Iterator[str]:
        """Where two bodies differ, beyond what may."""
        if isinstance(recorded, dict) and isinstance(actual, dict):
            for key in sorted(recorded.keys() | actual.keys()):
                where = f"{path}.{key}"
                if key == "(left out)":
                    continue
                if key not in actual:
                    yield f"{where}: missing, recorded {json.dumps(recorded[key])[:200]}"
                elif key not in recorded:
                    if not self.cut:
                        yield f"{where}: {json.dumps(actual[key])[:200]}, recorded nothing"
                elif (key == "name" and "generateName" in recorded) or (
                    key == "name" and str(recorded[key]).startswith("kube-api-access-")
                ):
                    yield from self._pair(recorded[key], actual[key], where)
                elif key == "items" and recorded[key] and isinstance(recorded[key][0], str):
                    named = [item["metadata"]["name"] for item in actual[key]]
                    known = [self.pairs.get(name, name) for name in recorded[key]]
                    yield from self.differences(sorted(known), sorted(named), where)
                elif key in _CHOSEN:
                    yield from self._pair(recorded[key], actual[key], where)
                elif key in _CHOSEN_LISTS and len(recorded[key]) == len(actual[key]):
                    for i, (one, other) in enumerate(zip(recorded[key], actual[key], strict=True)):
                        yield from self._pair(one, other, f"{where}[{i}]")
                elif key == "causes":
                    yield from self._unordered(recorded[key], actual[key], where)
                else:
                    yield from self.differences(recorded[key], actual[key], where)
        elif isinstance(recorded, list) and isinstance(actual, list):
            if len(recorded) != len(actual):
                yield f"{path}: {len(actual)} items, recorded {len(recorded)}"
            for i, (one, other) in enumerate(zip(recorded, actual, strict=False)):
                yield from self.differences(one, other, f"{path}[{i}]")
        elif isinstance(recorded, str) and isinstance(actual, str):
            if _TIME.fullmatch(recorded):
                if not _TIME.fullmatch(actual) or len(actual) != len(recorded):
                    yield f"{path}: {actual} is no time like {recorded}"
            elif self._normal(recorded) != actual:
                yield f"{path}: {actual!r}, recorded {recorded!r}"
        elif recorded != actual:
            yield f"{path}: {json.dumps(actual)}, recorded {json.dumps(recorded)}"

    def _unordered(self, recorded: list[Any], actual: list[Any], path: str) -> Iterator[str]:
        one = sorted(self._normal(json.dumps(item, sort_keys=True)) for item in recorded)
        other = sorted(json.dumps(item, sort_keys=True) for item in actual)
        if one != other:
            yield f"{path}: {other}, recorded {one}"

    def _pair(self, recorded: Any, actual: Any, path: str) -> Iterator[str]:
        if type(recorded) is not type(actual):
            yield f"{path}: {actual!r}, recorded {recorded!r}"
            return
        mark = "#" if isinstance(recorded, int) else ""
        known = self.pairs.setdefault(f"{mark}{recorded}", f"{mark}{actual}")
        if known != f"{mark}{actual}":
            yield f"{path}: {actual} where {known} was before (recorded {recorded} both times)"

    def _normal(self, text: str) -> str:
        """A recorded text with its chosen values replaced by the lab's."""

        def replaced(match: re.Match[str]) -> str:
            return self.pairs.get(match[0], match[0])

        return re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+(?:\.\d+){3}|\d{5,}", replaced, text)
