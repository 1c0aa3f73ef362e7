"""The state of the cluster, in memory: objects by resource, namespace and name, and what changed last.

One asyncio thread reads and writes it, so there are no locks. A stored object is never mutated again: readers, watches
and controllers share it, and whoever wants a change stores a new one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubereach_lab.status import Object

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"

Listener = Callable[[str, str, Object, "Object | None"], None]
#: an object by its resource, its namespace (None: it has none) and its name; None if there is none
Find = Callable[[str, "str | None", str], "Object | None"]

#: how many changes a watch may be behind before it has to list again, as etcd's compaction makes it
HISTORY = 20_000
#: the version that a lab begins with; what was before is compacted away, as in any cluster that has run for a while
_BEGINNING = 1000


def copy_value(value: Any) -> Any:
    """A deep copy of JSON data, several times faster than `copy.deepcopy`."""
    if type(value) is dict:
        return {key: copy_value(item) for key, item in value.items()}
    if type(value) is list:
        return [copy_value(item) for item in value]
    return value


def copy_object(obj: Mapping[str, Any]) -> Object:
    """A deep copy of an object, to be changed."""
    return {key: copy_value(item) for key, item in obj.items()}


class Change:
    """One change of one object. `old` is None for ADDED; `new` of DELETED is the last state."""

    __slots__ = ("_json", "new", "old", "resource", "revision", "type")

    def __init__(self, revision: int, type: str, resource: str, new: Object, old: Object | None) -> None:
        self.revision = revision
        self.type = type
        self.resource = resource
        self.new = new
        self.old = old
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """`new` as JSON; encoded once, however many watches send it."""
        if self._json is None:
            self._json = json.dumps(self.new, separators=(",", ":")).encode()
        return self._json


class Store:
    """Objects, the revision they were last changed at, and a bounded history of changes for watches."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, dict[str, Object]]] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self._pending: deque[Change] = deque()
        self._delivering = False
        self.revision = _BEGINNING
        self.history: deque[Change] = deque(maxlen=HISTORY)

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource, {}).get(namespace, {}).get(name)

    def iterate(self, resource: str, namespace: str | None = None) -> Iterator[Object]:
        """Objects ordered by namespace and name; `namespace` None means all."""
        spaces = self._objects.get(resource, {})
        for space in sorted(spaces) if namespace is None else (namespace,):
            objects = spaces.get(space)
            if objects:
                for name in sorted(objects):
                    yield objects[name]

    def put(self, resource: str, obj: Object) -> Object:
        """Stores `obj` (which the caller gives away) under a new revision and tells the listeners."""
        metadata = obj["metadata"]
        space = self._objects.setdefault(resource, {}).setdefault(metadata.get("namespace", ""), {})
        old = space.get(metadata["name"])
        self.revision += 1
        metadata["resourceVersion"] = str(self.revision)
        space[metadata["name"]] = obj
        self._notify(Change(self.revision, MODIFIED if old else ADDED, resource, obj, old))
        return obj

    def drop(self, resource: str, namespace: str, name: str) -> Object | None:
        """Removes an object; None if there is none. The DELETED change carries a new resource version."""
        space = self._objects.get(resource, {}).get(namespace, {})
        old = space.pop(name, None)
        if old is None:
            return None
        self.revision += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.revision)}}
        self._notify(Change(self.revision, DELETED, resource, last, old))
        return last

    def watch(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls `listener` after every change, in order; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    @property
    def oldest(self) -> int:
        """The oldest revision from which the history is complete."""
        return self.history[0].revision - 1 if self.history else self.revision

    def since(self, revision: int) -> Iterator[Change]:
        """Changes after `revision`, oldest first."""
        newer: list[Change] = []
        for change in reversed(self.history):
            if change.revision <= revision:
                break
            newer.append(change)
        return reversed(newer)

    def _notify(self, change: Change) -> None:
        # A listener may change objects itself. Its change waits until every listener has seen this one, so that all
        # of them see the same order.
        self.history.append(change)
        self._pending.append(change)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._pending:
                current = self._pending.popleft()
                for listener in tuple(self._listeners):
                    listener(current)
        finally:
            self._delivering = False
