"""The states that pods and their events went through, for reads that caught one in passing.

A slow cluster was read while a container was just being created; a quick one is in that state for milliseconds. So such
an answer is compared, as strictly as any other, with every state that there has been since the scenario began.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import httpx

from .scenario import Object


class History:
    """Everything that a watch of the pods and one of the events of a namespace tells."""

    def __init__(self, http: httpx.Client, namespace: str) -> None:
        self._http = http
        self._base = f"/api/v1/namespaces/{namespace}"
        self._news = threading.Condition()
        self._events: dict[str, list[Object]] = {"pods": [], "events": []}
        for kind in self._events:
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()

    def _follow(self, kind: str) -> None:
        try:
            path, times = f"{self._base}/{kind}", httpx.Timeout(10, read=None)
            with self._http.stream("GET", path, params={"watch": "true"}, timeout=times) as answer:
                for line in answer.iter_lines():
                    with self._news:
                        self._events[kind].append(json.loads(line))
                        self._news.notify_all()
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return  # the client was closed with the scenario

    def _told(self, kind: str, seen: int, patience: float) -> list[Object]:
        """What came after the first `seen` events; waits until there is something."""
        with self._news:
            self._news.wait_for(lambda: len(self._events[kind]) > seen, patience)
            return self._events[kind][seen:]

    def states(self, path: str, selector: str, patience: float) -> Iterator[Object]:
        """The answers that reads of a pod, or of the events about one, could have had; waits for more of them.

        `selector` is the field selector of a list, by the name alone.
        """
        kind, _, name = path.removeprefix(f"{self._base}/").partition("/")
        wanted = name or selector.partition("=")[2]
        items: dict[str, Object] = {}
        deadline, seen = time.monotonic() + patience, 0
        while True:
            told = self._told(kind, seen, deadline - time.monotonic())
            if not told:
                return
            seen += len(told)
            for event in told:
                obj = event["object"]
                about = obj["metadata"]["name"] if name else obj["involvedObject"]["name"]
                if about != wanted:
                    continue
                if name:
                    yield obj
                    continue
                items[obj["metadata"]["name"]] = obj
                listed = [item for _, item in sorted(items.items())]
                version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                yield {"kind": "EventList", "apiVersion": "v1", "metadata": version, "items": listed}
