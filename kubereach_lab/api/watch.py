"""Watches: a stream of changes, one JSON object a line.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (watches, bookmarks, streaming lists).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from kubereach_lab import status
from kubereach_lab.api import newer
from kubereach_lab.api.bodies import Representation
from kubereach_lab.api.objects import Predicate, select, shown
from kubereach_lab.api.requests import ListOptions, Target, list_options
from kubereach_lab.kubectl import tables
from kubereach_lab.partial import partial_metadata
from kubereach_lab.registry import Registry
from kubereach_lab.resources import EVENTS_V1
from kubereach_lab.status import Object
from kubereach_lab.store import ADDED, DELETED, MODIFIED, Change

_BOOKMARK_SECONDS = 60.0
#: the first bookmark of a watch that lists first, and how long before its end a watch gets its last one; what the API
#: server's watch cache does (nextBookmarkTime of cache_watcher.go)
_FIRST_BOOKMARK_SECONDS = 1.0
_LAST_BOOKMARK_SECONDS = 2.0
#: a watch that asks for no end gets one, as a real server does (between 30 and 60 minutes)
_LONGEST_SECONDS = 1800.0
#: of one whose connection is dropped
_DROPPED_SECONDS = 1.0
#: by which a watch of workloads begins late
_LATE_SECONDS = 2.0


class _Watch:
    """One watch: turns changes into lines."""

    def __init__(
        self,
        registry: Registry,
        target: Target,
        form: Representation,
        query: Mapping[str, str],
        options: ListOptions,
    ) -> None:
        self.registry = registry
        self.target = target
        self.resource = target.resource
        self.form = form
        self.query = query
        self.options = options
        self.wanted: Predicate | None = select(self.resource, options)
        self.odd = registry.config.faults.api.newer
        self.plain = not (form.convert or self.odd) and self.resource is not EVENTS_V1
        self.columns_sent = False
        self.lines: deque[bytes] = deque()
        self.news = asyncio.Event()

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if self.target.namespace is not None and metadata.get("namespace") != self.target.namespace:
            return False
        if self.target.name and metadata["name"] != self.target.name:
            return False
        return self.wanted is None or self.wanted(obj)

    def on_change(self, change: Change) -> None:
        # a watch may begin at a version that is yet to come
        if change.resource == self.resource.name and change.revision > (self.options.revision or 0):
            self.add_change(change)

    def add_change(self, change: Change) -> None:
        """An object that begins to match is ADDED, one that stops to match is DELETED, as it was before."""
        was = change.old is not None and self.matches(change.old)
        if change.type == DELETED:
            if was:
                self.add(DELETED, change.new, change)
            return
        matches = self.matches(change.new)
        if matches:
            self.add(MODIFIED if was else ADDED, change.new, change)
        elif was and change.old is not None:
            version = change.new["metadata"]["resourceVersion"]
            last = {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": version}}
            self.add(DELETED, last, None)

    def add(self, type: str, obj: Object, change: Change | None) -> None:
        if change is not None and self.plain:
            encoded = change.json
        else:
            encoded = json.dumps(self.convert(obj), separators=(",", ":")).encode()
        self.lines.append(b'{"type":"%s","object":%s}\n' % (type.encode(), encoded))
        self.news.set()

    def convert(self, obj: Object) -> Any:
        obj = shown(self.resource, obj)
        if self.form.convert == "Table":
            metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            columns, self.columns_sent = not self.columns_sent, True
            return tables.table(
                self.resource, [obj], metadata, self.form.version, self.query, with_columns=columns
            )
        if self.form.convert == "PartialObjectMetadata":
            return partial_metadata(obj, self.form.version)
        return newer.newer(obj) if self.odd else obj

    def bookmark(self, *, initial_end: bool = False) -> None:
        metadata: Object = {"resourceVersion": self.registry.revision}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj: Object = {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
        }
        if self.form.convert == "Table":
            obj = tables.empty_table(self.resource, obj, self.form.version)
        elif self.form.convert == "PartialObjectMetadata":
            obj = partial_metadata(obj, self.form.version)
        self.lines.append(json.dumps({"type": "BOOKMARK", "object": obj}).encode() + b"\n")
        self.news.set()

    def start(self) -> Callable[[], None] | None:
        """The first events, and what ends the subscription; None if the watch cannot begin where it is told to."""
        revision, initial = self.options.revision, self.options.send_initial_events
        store = self.registry.store
        if initial or (initial is None and not revision):
            for obj in self.registry.iterate(self.resource.name, self.target.namespace):
                if self.matches(obj):
                    self.add(ADDED, obj, None)
            if initial and self.options.bookmarks:
                self.bookmark(initial_end=True)
        elif revision:
            if revision < store.oldest:
                body = status.gone(f"too old resource version: {revision} ({store.oldest})").status
                self.lines.append(json.dumps({"type": "ERROR", "object": body}).encode() + b"\n")
                return None
            for change in store.since(revision):
                self.on_change(change)
        return store.watch(self.on_change)


async def watch(
    request: web.BaseRequest,
    registry: Registry,
    target: Target,
    form: Representation,
    stopping: asyncio.Event,
) -> web.StreamResponse:
    """Answers with a stream until its time is over, the client leaves or the server stops."""
    options = list_options(request.query, watch=True)
    watching = _Watch(registry, target, form, request.query, options)
    response = web.StreamResponse()
    response.content_type = form.media_type
    response.enable_chunked_encoding()
    end = watching.start()
    loop = asyncio.get_running_loop()
    dropped = registry.config.faults.api.drops_watch
    deadline = loop.time() + (_DROPPED_SECONDS if dropped else options.timeout or _LONGEST_SECONDS)
    listing = bool(options.send_initial_events)
    next_bookmark = loop.time() + (
        _FIRST_BOOKMARK_SECONDS if listing else _until_bookmark(deadline - loop.time())
    )
    try:
        await response.prepare(request)
        if registry.config.faults.api.late_watch and target.resource.group == "apps":
            await asyncio.sleep(_LATE_SECONDS)
        while True:
            if watching.lines:
                text = b"".join(watching.lines)
                watching.lines.clear()
                await response.write(text)
                continue
            if end is None or stopping.is_set() or loop.time() >= deadline:
                break
            watching.news.clear()
            timer = loop.call_at(min(deadline, next_bookmark), watching.news.set)
            try:
                await watching.news.wait()
            finally:
                timer.cancel()
            if loop.time() >= next_bookmark:
                next_bookmark = loop.time() + _until_bookmark(deadline - loop.time())
                if options.bookmarks:
                    watching.bookmark()
        if dropped and request.transport is not None:
            request.transport.abort()
            return response
        await response.write_eof()
    except ConnectionResetError:
        # the client left, which is how most watches end
        return response
    finally:
        if end is not None:
            end()
    return response


def _until_bookmark(left: float) -> float:
    """Seconds until the next bookmark of a watch that has so many left: one a minute, one just before the end."""
    last = left - _LAST_BOOKMARK_SECONDS
    return last if 0 < last < _BOOKMARK_SECONDS else _BOOKMARK_SECONDS
