"""The states that objects went through, for reads that caught one in passing.

A slow cluster was read while a container was just being created; a quick one is in that state for milliseconds, and a
quick reader on a busy machine comes too late for it. So such an answer is compared, as strictly as any other, with
every state that there has been since the scenario began.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import httpx

from .listener import Listener
from .scenario import Object


class History:
    """Everything that watches of some collections tell."""

    def __init__(self, http: httpx.Client, collections: Iterable[str]) -> None:
        self._news = threading.Condition()
        self._events: dict[str, list[Object]] = {path: [] for path in collections}
        self._listeners = [
            Listener(http, path, {"watch": "true"}, partial(self._note, path)) for path in self._events
        ]

    def _note(self, path: str, line: str) -> None:
        with self._news:
            self._events[path].append(json.loads(line))
            self._news.notify_all()

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _told(self, path: str, seen: int, patience: float) -> list[Object]:
        """What came after the first `seen` events; waits until there is something."""
        with self._news:
            self._news.wait_for(lambda: len(self._events[path]) > seen, patience)
            return self._events[path][seen:]

    def states(
        self, path: str, collection: str, query: Mapping[str, str], patience: float
    ) -> Iterator[Object]:
        """The answers that reads of an object, or of a list, could have had; waits for more of them.

        A list is chosen by one label, or, of events, by the name of the object that they are about.
        """
        name = path.removeprefix(collection).strip("/")
        items: dict[str, Object] = {}
        deadline, seen = time.monotonic() + patience, 0
        while True:
            told = self._told(collection, seen, deadline - time.monotonic())
            if not told:
                return
            seen += len(told)
            for event in told:
                obj = event["object"]
                own = obj["metadata"]["name"]
                if name and own == name and event["type"] != "DELETED":
                    yield obj
                if name or not _chosen(obj, query):
                    continue
                items.pop(own, None)
                if event["type"] != "DELETED":
                    items[own] = obj
                version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                listed = [item for _, item in sorted(items.items())]
                kind = {"kind": f"{obj['kind']}List", "apiVersion": obj["apiVersion"]}
                yield {**kind, "metadata": version, "items": [_item(item) for item in listed]}


def _chosen(obj: Object, query: Mapping[str, str]) -> bool:
    if label := query.get("labelSelector"):
        key, _, value = label.partition("=")
        return bool((obj["metadata"].get("labels") or {}).get(key) == value)
    return bool(obj["involvedObject"]["name"] == query.get("fieldSelector", "").partition("=")[2])


def _item(obj: Object) -> Object:
    """In a list, an object does not say its kind: the list does."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
