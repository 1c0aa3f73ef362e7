"""Plays a scenario against the lab and says of every step whether it agrees."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml
from lab_access import LabAccess

from .compare import Pairs, differences, has_chosen_name, shared_part
from .history import History
from .listener import PATIENCE, Listener
from .scenario import Object, Part, Scenario, label, whole_events
from .streams import play_follow, play_websocket
from .watches import watch_differences

#: kinds whose status goes on by itself
_LIVING = frozenset({"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Scale"})
_HEADERS = ("content-type", "allow", "location", "retry-after")
#: reads times as what they are written as
_STRINGS = yaml.BaseLoader


@dataclass
class Outcome:
    """How a scenario went."""

    name: str
    steps: int = 0
    #: number of the step -> what differs
    differing: dict[int, list[str]] = field(default_factory=dict)
    #: number of the step -> why the lab answers otherwise
    excepted: dict[int, str] = field(default_factory=dict)
    #: number of the step -> between whom it is a race; it may agree or not, and does not count as agreeing
    races: dict[int, str] = field(default_factory=dict)
    #: number of the step -> how much of it was compared
    parts: dict[int, Part] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def agreeing(self) -> int:
        return self.steps - len(self.differing.keys() | self.races.keys())

    def complaints(self) -> list[str]:
        """Differences that are no exceptions, and exceptions that are none."""
        found = [
            f"{self.labels[number]}\n      " + "\n      ".join(wrong)
            for number, wrong in sorted(self.differing.items())
            if number not in self.excepted | self.races
        ]
        found += [
            f"{self.labels[number]} agrees: it is no exception"
            for number in sorted(self.excepted)
            if number not in self.differing
        ]
        return found


class _Watch:
    """One watch of the lab, and what it has told."""

    def __init__(self, http: httpx.Client, path: str, query: Any, headers: dict[str, str]) -> None:
        self.events: list[Object] = []
        #: the server ended it, and how, if not as one should
        self.ended = False
        self.broken = ""
        self.news = threading.Condition()
        self._closing = False
        self._listener = Listener(http, path, query, self._note, headers=headers, ended=self._end)
        answer = self._listener.begun()
        self.status, self.headers = answer.status_code, answer.headers

    def _note(self, line: str) -> None:
        with self.news:
            self.events.append(json.loads(line))
            self.news.notify_all()

    def _end(self, reason: str) -> None:
        with self.news:
            self.broken = reason
            self.ended = not self._closing
            self.news.notify_all()

    def close(self) -> None:
        with self.news:
            self._closing = True
        self._listener.close()

    def told(self) -> list[Object]:
        with self.news:
            return list(self.events)


class Player:
    """One scenario being played; what `Scenario.prepare` and `before` get to work with."""

    def __init__(self, lab: LabAccess, opened: ExitStack, scenario: Scenario, pairs: Pairs) -> None:
        """What is opened here lasts as long as `opened`."""
        self.lab = lab
        self._open = opened
        self.http = opened.enter_context(lab.open_http())
        self.scenario = scenario
        self.pairs = pairs
        for recorded, asked in scenario.ports.items():
            pairs.meet("number", str(recorded), str(asked))
        self.space = scenario.space
        self.steps = scenario.steps()
        self.outcome = Outcome(scenario.name, len(self.steps))
        self._watches: dict[int, _Watch] = {}
        #: how many events each watch had told when the latest step began
        self._seen: dict[int, int] = {}
        self._number = 0
        self._passing: set[int] = set()

    def known(self, recorded: str) -> str:
        """The lab's name for a recorded one."""
        return str(self.pairs.told(recorded))

    def play(self) -> Outcome:
        scenario = self.scenario

        def numbered(steps: Any) -> dict[int, Any]:
            return {scenario.number(step, self.steps): value for step, value in dict(steps).items()}

        before, closes = numbered(scenario.before), numbered(scenario.closes)
        self._passing = set(numbered(dict.fromkeys(scenario.passing)))
        at_once = set(numbered(dict.fromkeys(scenario.at_once)))
        self.outcome.excepted = numbered(scenario.exceptions)
        self.outcome.races = numbered(scenario.races)
        self.outcome.parts = numbered(scenario.parts)
        if scenario.makes_namespace and scenario.namespace and scenario.follows is None:
            self.make_namespace()
        if self._passing:
            paths = {_collection(self.pairs.told(self.steps[n]["request"]["path"])) for n in self._passing}
            self._history = History(self.http, paths)
            self._open.callback(self._history.close)
        if scenario.prepare is not None:
            scenario.prepare(self)
        for number, step in enumerate(self.steps):
            self._number = number
            self.outcome.labels[number] = label(number, step)
            for watch, end in closes.items():
                if scenario.number(end, self.steps) == number:
                    self._finish_watch(watch, early=True)
            if number in before:
                before[number](self)
            self._seen = {watch: len(open_one.told()) for watch, open_one in self._watches.items()}
            patient = number not in at_once and number not in self.outcome.excepted | self.outcome.races
            if wrong := self._step(step, patient=patient):
                self.outcome.differing[number] = wrong
        for watch in list(self._watches):
            self._finish_watch(watch)
        return self.outcome

    def make_namespace(self) -> None:
        """The namespace, with what a cluster puts into it."""
        self.lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.space}})
        self.wait_for(f"/api/v1/namespaces/{self.space}/serviceaccounts", lambda items: len(items) == 1)
        self.wait_for(f"/api/v1/namespaces/{self.space}/configmaps", lambda items: len(items) == 1)

    def wait_for(self, path: str, holds: Any, **query: str) -> list[Object]:
        """Watch a list until `holds` for its items; returns them."""
        return self.lab.wait(path, holds, **query)

    # steps

    def _step(self, step: Object, *, patient: bool) -> list[str]:
        request, recorded = step["request"], step["response"]
        self._find_names(request)
        if "events" in recorded:
            return self._open_watch(step)
        if "upgrade" in request:
            return play_websocket(self.lab, step, self.pairs)
        if "chunks" in recorded:
            return play_follow(self.http, step, self.pairs)
        if self._number in self._passing:
            return self._in_passing(step)
        if request["method"] == "GET":
            return self._eventually(step, patient=patient)
        if patient:
            self._await_status(step)
        return self._once(step)

    def _eventually(self, step: Object, *, patient: bool) -> list[str]:
        """Compare a read until it agrees, each time that something changes."""
        wrong: list[str] = []
        for _ in self._changes(step["request"]["path"], patient=patient):
            pairs = self.pairs.copy()
            wrong = self._compare(step, pairs)
            if not wrong:
                self._learn(step, pairs)
                return []
        self._learn(step, pairs)
        return wrong

    def _in_passing(self, step: Object) -> list[str]:
        """Compare what was recorded with all states that there have been."""
        request, recorded = step["request"], step["response"]
        path, query = self.pairs.told(request["path"]), self.pairs.told(request.get("query") or {})
        best: list[str] | None = None
        patience = PATIENCE if self._number not in self.outcome.excepted else 0
        for state in self._history.states(path, _collection(path), query, patience):
            pairs = self.pairs.copy()
            pairs.reading = True
            wrong = list(differences(recorded["body"], state, pairs))
            if not wrong:
                self.pairs = pairs
                return []
            if best is None or len(wrong) < len(best):
                best = wrong
        return best or ["it was in no state"]

    def _once(self, step: Object) -> list[str]:
        pairs = self.pairs.copy()
        wrong = self._compare(step, pairs)
        self._learn(step, pairs)
        return wrong

    def _learn(self, step: Object, pairs: Pairs) -> None:
        # what a dry run allocates is nobody's: it need not be the same again
        if "dryRun" not in (step["request"].get("query") or {}):
            self.pairs = pairs

    def _compare(self, step: Object, pairs: Pairs) -> list[str]:
        """Send a request; what is different about the answer."""
        request, recorded = step["request"], step["response"]
        pairs.reading = request["method"] == "GET"
        try:
            answer = self._send(request)
        except httpx.RemoteProtocolError as error:
            return (
                []
                if recorded["status"] is None
                else [f"status: none, recorded {recorded['status']}: {error}"]
            )
        if answer.status_code != recorded["status"]:
            return [f"status: {answer.status_code}, recorded {recorded['status']}: {answer.text[:500]}"]
        wrong = self._header_differences(answer.headers, recorded.get("headers", {}), pairs)
        if "text_begins" in recorded:
            return wrong + self._beginning(answer.text, recorded)
        expected, actual = recorded["body"], _parsed(answer)
        if "application/yaml" in answer.headers.get("content-type", ""):
            expected, actual = yaml.load(expected, _STRINGS), yaml.load(answer.text, _STRINGS)
        if part := self.outcome.parts.get(self._number):
            if isinstance(actual, str) and isinstance(expected, dict):
                actual = json.loads(actual)
            expected, actual = shared_part(expected, actual, part.skipped, part.cut)
        return wrong + list(differences(expected, actual, pairs))

    @staticmethod
    def _beginning(text: str, recorded: Object) -> list[str]:
        lines = len(text.splitlines())
        if text.startswith(recorded["text_begins"]) and lines == recorded["lines"]:
            return []
        return [f"{lines} lines: {text[:200]}, recorded {recorded['lines']}: {recorded['text_begins']}"]

    @staticmethod
    def _header_differences(headers: httpx.Headers, recorded: Object, pairs: Pairs) -> list[str]:
        warnings = recorded.get("warning", [])
        warnings = [warnings] if isinstance(warnings, str) else warnings
        wrong = list(differences(warnings, headers.get_list("warning"), pairs, "warnings"))
        for name in _HEADERS:
            wrong += differences(recorded.get(name, ""), headers.get(name, ""), pairs, f"header {name}")
        return wrong

    def _send(self, request: Object) -> httpx.Response:
        headers = {"Accept": request.get("accept", "application/json"), **request.get("headers", {})}
        if request.get("content_type"):
            headers["Content-Type"] = request["content_type"]
        content = None
        if "body" in request:
            body = self.pairs.told(request["body"])
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
        path, query = self.pairs.told(request["path"]), self.pairs.told(request.get("query"))
        return self.http.request(request["method"], path, params=query, headers=headers, content=content)

    def _changes(self, path: str, *, patient: bool) -> Iterator[None]:
        """Once now, then whenever something changes in the collection that `path` is in, until patience ends."""
        collection = _collection(self.pairs.told(path))
        listed = self.http.get(collection, params={"limit": "1"}) if patient and collection else None
        yield
        if listed is None or listed.is_error:
            return
        version = listed.json()["metadata"]["resourceVersion"]
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(int(left) + 1)}
            with self.http.stream("GET", collection, params=query, timeout=PATIENCE + 5) as answer:
                for line in answer.iter_lines():
                    version = json.loads(line)["object"]["metadata"]["resourceVersion"]
                    break
            yield

    def _await_status(self, step: Object) -> None:
        """Wait until an object that is written to has the status that the answer shows."""
        request, body = step["request"], step["response"].get("body")
        living = isinstance(body, dict) and body.get("kind") in _LIVING and body.get("status")
        if request["method"] == "POST" or not living or request["path"].endswith("/status"):
            return
        for _ in self._changes(request["path"], patient=True):
            answer = self.http.get(self.pairs.told(request["path"]))
            if answer.is_error:
                return
            if not list(differences(body["status"], answer.json().get("status"), self.pairs.copy())):
                return

    def _find_names(self, request: Object) -> None:
        """Pair a generated name in a path that no answer told yet with one of the lab's that is still free."""
        path = request["path"]
        name = path.rsplit("/", 1)[-1]
        if not has_chosen_name(name) or self.pairs.knows(name):
            return
        listed = self.http.get(_collection(self.pairs.told(path)))
        items = [] if listed.is_error else listed.json()["items"]
        # those that are on their way out come last
        for item in sorted(items, key=lambda item: "deletionTimestamp" in item["metadata"]):
            pairs = self.pairs.copy()
            own = item["metadata"]["name"]
            free = not any(key == ("uid", item["metadata"]["uid"]) for key in self.pairs.recorded)
            if free and not list(differences(name, own, pairs)):
                self.pairs = pairs
                return

    # watches

    def _open_watch(self, step: Object) -> list[str]:
        request, recorded = step["request"], step["response"]
        headers = {"Accept": request.get("accept", "application/json"), **request.get("headers", {})}
        path, query = self.pairs.told(request["path"]), self.pairs.told(request.get("query"))
        watch = _Watch(self.http, path, query, headers)
        self._open.callback(watch.close)
        if watch.status != recorded["status"]:
            return [f"status: {watch.status}, recorded {recorded['status']}"]
        self._watches[self._number] = watch
        return self._header_differences(watch.headers, recorded.get("headers", {}), self.pairs)

    def _finish_watch(self, number: int, *, early: bool = False) -> None:
        """Wait for the recorded events, and compare; `early` if it was closed while things went on."""
        watch = self._watches.pop(number)
        recorded = self.steps[number]["response"]
        part = self.outcome.parts.get(number)
        skipped = part.skipped if part else frozenset()
        events = [event for event in whole_events(recorded["events"]) if event["type"] not in skipped]
        by_server = recorded["ended"] == "server closed the stream"
        deadline = time.monotonic() + (
            PATIENCE if number not in self.outcome.excepted | self.outcome.races else 0
        )
        while True:
            told = watch.told()
            count = len(told)
            # the client may have closed it at any moment of the last step
            earliest = min(self._seen.get(number, 0), count) if early else count
            wrong, pairs = self._nearest(events, [told[:end] for end in range(count, earliest - 1, -1)])
            if by_server and not watch.ended:
                wrong.append("the server has not ended it, recorded that it did")
            elif watch.ended and not by_server:
                wrong.append(f"the server ended it, recorded that the client did {watch.broken}")
            left = deadline - time.monotonic()
            if not wrong or left <= 0:
                break
            with watch.news:
                if len(watch.events) == count and not watch.ended:
                    watch.news.wait(left)
                elif watch.ended:
                    deadline = 0
        watch.close()
        if wrong:
            self.outcome.differing.setdefault(number, []).extend(wrong)
        else:
            self.pairs = pairs

    def _nearest(self, recorded: list[Object], told: list[list[Object]]) -> tuple[list[str], Pairs]:
        """The differences of the one that differs least, and what is paired then."""
        best: tuple[list[str], Pairs] | None = None
        for events in told:
            pairs = self.pairs.copy()
            pairs.reading = True
            wrong = list(watch_differences(recorded, events, pairs))
            if best is None or len(wrong) < len(best[0]):
                best = wrong, pairs
            if not wrong:
                break
        assert best is not None
        return best


def _parsed(answer: httpx.Response) -> Any:
    if "application/json" in answer.headers.get("content-type", ""):
        return answer.json()
    return answer.text


def _collection(path: str) -> str:
    """The collection that a path is in or below, "" if it is none of an API group's."""
    found = re.match(r"(/api/v1|/apis/[^/]+/[^/]+)(/namespaces/[^/]+(?=/))?/([^/]+)", path)
    return f"{found[1]}{found[2] or ''}/{found[3]}" if found else ""


def play(lab: LabAccess, scenario: Scenario, pairs: Pairs) -> Outcome:
    """Play a scenario; `pairs` holds what was paired by the one that it follows, and learns."""
    with ExitStack() as opened:
        player = Player(lab, opened, scenario, pairs)
        outcome = player.play()
        pairs.lab, pairs.recorded = player.pairs.lab, player.pairs.recorded
        return outcome
