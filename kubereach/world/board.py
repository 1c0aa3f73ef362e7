"""The board: what the run's objects look like right now, kept up to date by watches. Nothing here polls."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter

from kubereach.api import Api, ApiError, Object
from kubereach.errors import CannotMeasure

#: (kind, namespace, name)
Key = tuple[str, str, str]

#: seconds after which a watch is begun anew, so that a connection that died unseen is noticed
RENEW = 300.0


def key_of(obj: Object) -> Key:
    meta = obj["metadata"]
    return str(obj["kind"]), str(meta.get("namespace", "")), str(meta["name"])


class Board:
    """A thread for each followed collection writes what it sees; anybody waits for what they want to be true."""

    def __init__(self, api: Api, selector: str) -> None:
        self._api = api
        self._selector = selector
        #: kind -> (namespace, name) -> object
        self._objects: defaultdict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._stopped = False
        #: is told of each change, with the object as it was before, in the thread of its watch
        self.noticed: Callable[[Object | None, Object], None] | None = None

    def follow(self, path: str) -> None:
        """Watch a collection (of a namespace or of all, the run's label) from now on, and wait for its first list."""
        listed = threading.Event()
        threading.Thread(target=self._follow, args=(path, listed), name=f"watch {path}", daemon=True).start()
        if not listed.wait(30) and self._error is None:
            raise CannotMeasure(f"the API server does not answer a watch of {path}")
        self._raise()

    def _follow(self, path: str, listed: threading.Event) -> None:
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        try:
            while not self._stopped:
                for kind, obj in self._api.watch(path, RENEW, labelSelector=self._selector):
                    self._note(kind, obj, namespace)
                    listed.set()
                    if self._stopped:
                        return
        except (ApiError, CannotMeasure) as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
            listed.set()

    def _note(self, change: str, obj: Object, namespace: str = "") -> None:
        """A change, or a new list of the objects of a kind in a namespace, which is empty for all."""
        old = None
        with self._changed:
            if change == "LISTED":
                same = self._objects[str(obj["kind"]).removesuffix("List")]
                for place in [place for place in same if namespace in ("", place[0])]:
                    del same[place]
                same.update((key_of(item)[1:], item) for item in obj["items"])
            else:
                kind, namespace, name = key_of(obj)
                same = self._objects[kind]
                old = same.pop((namespace, name), None)
                if change != "DELETED":
                    same[namespace, name] = obj
            self._changed.notify_all()
        if self.noticed:
            for new in obj["items"] if change == "LISTED" else [obj]:
                self.noticed(old, new)

    def _raise(self) -> None:
        if self._error is not None and not self._stopped:
            if isinstance(self._error, ApiError):
                raise CannotMeasure(
                    f"we may not watch our own objects: {self._error}",
                    "kubereach needs list and watch on pods, services and workloads of all namespaces.",
                )
            raise self._error

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        with self._changed:
            return self._objects[kind].get((namespace, name))

    def all(self, kind: str, namespace: str = "") -> list[Object]:
        """The objects of a kind, in a namespace or everywhere, by name."""
        with self._changed:
            found = [item for item in self._objects[kind].items() if namespace in ("", item[0][0])]
        return [obj for _, obj in sorted(found, key=itemgetter(0))]

    def wait(self, done: Callable[[], bool], seconds: float, beat: float = 1.0) -> bool:
        """Wait until `done()`, which is asked at every change and at least every `beat` seconds. False: out of time.

        `done` may raise to end the wait.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._raise()
            if self._stopped:
                raise CannotMeasure("the run ended meanwhile")
            with self._changed:
                if done():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(beat, left))

    def stop(self) -> None:
        """Take no further notice; who waits is told. The threads end with their watches."""
        self._stopped = True
        with self._changed:
            self._changed.notify_all()


def is_ready(pod: Object) -> bool:
    """Ready, and not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and has_condition(pod, "Ready")


def has_condition(obj: Object, kind: str) -> bool:
    """Whether a condition of this type is true in its status."""
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
