"""The watch cache: what the run's objects look like right now, kept up to date by watches. Nothing here polls."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from operator import itemgetter

from kubereach.kube.client import Api, ApiError, Object
from kubereach.model.errors import CannotMeasure

#: (kind, namespace, name)
Key = tuple[str, str, str]

#: seconds after which a watch is begun anew, so that a connection that died unseen is noticed
RENEW = 60.0
#: seconds before a watch that ended at once is begun again, from the first time to the longest; and what is not at once
_FIRST_PAUSE, _LONGEST_PAUSE, _LASTED = 0.2, 5.0, 1.0

_LOG = logging.getLogger(__name__)


class _Pauses:
    """Seconds before a watch is begun again: none after one that lasted, more and more while they end at once."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, seconds: float) -> float:
        """The pause after a watch that lasted so many seconds."""
        if seconds >= _LASTED:
            self._next = 0.0
            return 0.0
        self._next = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self._next))
        return self._next


def _watch_lost(path: str, error: Exception) -> CannotMeasure:
    """The error of a watch in words for users."""
    if isinstance(error, ApiError) and error.status in (401, 403):
        return CannotMeasure(
            f"not allowed to watch the run's objects: {error}",
            "kubereach needs `list` and `watch` on pods, services and workloads in all namespaces.",
        )
    if isinstance(error, CannotMeasure):
        return CannotMeasure(f"lost the watch of {path}: {error.message}", error.remedy)
    return CannotMeasure(
        f"lost the watch of {path}: "
        f"{error if isinstance(error, ApiError) else f'{type(error).__name__}: {error}'}",
        "Check the API server's log; on a slow cluster raise --set watch_patience.",
    )


def key_of(obj: Object) -> Key:
    meta = obj["metadata"]
    return str(obj["kind"]), str(meta.get("namespace", "")), str(meta["name"])


class WatchCache:
    """A thread for each followed collection writes what it sees; anybody waits for what they want to be true."""

    def __init__(self, api: Api, selector: str, patience: float = 60.0) -> None:
        """`patience` is seconds without a successful list of a collection until that is an error."""
        self._api = api
        self._selector = selector
        self._patience = patience
        #: kind -> (namespace, name) -> object
        self._objects: defaultdict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._changed = threading.Condition()
        #: watches that have failed for longer than `patience`, by path
        self._errors: dict[str, Exception] = {}
        self._stopped = threading.Event()
        #: is called with each change and the object as it was before, in the thread of its watch
        self.noticed: Callable[[Object | None, Object], None] | None = None

    def follow(self, path: str) -> None:
        """Watch a collection (of a namespace or of all, the run's label) from now on, and wait for its first list.

        Raises `CannotMeasure` when there is none.
        """
        first: Future[None] = Future()
        threading.Thread(target=self._follow, args=(path, first), name=f"watch {path}", daemon=True).start()
        try:
            first.result(self._patience)
        except FutureTimeout:
            raise CannotMeasure(
                f"the API server has not answered a watch of {path} within {self._patience:.0f} s",
                "Check the API server; on a slow cluster raise --set watch_patience.",
            ) from None
        except (ApiError, CannotMeasure) as error:
            raise _watch_lost(path, error) from error

    def _follow(self, path: str, first: Future[None]) -> None:
        """Watch again and again, in pauses that grow while watches end at once; an error counts once it lasts."""
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        pauses = _Pauses()
        listed = time.monotonic()
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                for kind, obj in self._api.watch(path, RENEW, labelSelector=self._selector):
                    self._note(kind, obj, namespace)
                    listed = time.monotonic()
                    self._failing(path, None)
                    if not first.done():
                        first.set_result(None)
                    if self._stopped.is_set():
                        return
            except Exception as error:
                if not first.done():
                    first.set_exception(error)
                    return
                # a server that restarts comes back; what it refuses, or what is our own mistake, counts at once
                may_pass = isinstance(error, CannotMeasure) or (
                    isinstance(error, ApiError) and error.status not in (401, 403)
                )
                if not may_pass or time.monotonic() - listed > self._patience:
                    self._failing(path, error)
            self._stopped.wait(pauses.after(time.monotonic() - begun))

    def _failing(self, path: str, error: Exception | None) -> None:
        """A watch has failed for so long that nothing in the watch cache can be believed; None: it is back."""
        if error is None and path not in self._errors:
            return
        with self._changed:
            if error is None:
                self._errors.pop(path, None)
            else:
                self._errors[path] = error
            self._changed.notify_all()

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
                try:
                    self.noticed(old, new)
                except Exception:  # who looks on must not keep the watch cache from its work
                    _LOG.exception("a subscriber of the watch cache failed at %s", key_of(new))

    def _raise(self) -> None:
        if self._errors and not self._stopped.is_set():
            path, error = next(iter(list(self._errors.items())))
            raise _watch_lost(path, error) from error

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
            if self._stopped.is_set():
                raise CannotMeasure("the run has ended")
            with self._changed:
                if done():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(beat, left))

    def stop(self) -> None:
        """Take no further notice; who waits is told. The threads end with their watches."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()


def is_ready(pod: Object) -> bool:
    """Ready, and not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and has_condition(pod, "Ready")


def has_condition(obj: Object, kind: str) -> bool:
    """Whether a condition of this type is true in its status."""
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
