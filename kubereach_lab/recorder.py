"""Events about objects: counted, combined and forgotten as of a real cluster.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/, the correlator of
k8s.io/client-go/tools/record, and kube-apiserver's ``--event-ttl``.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING

from kubereach_lab.status import Object
from kubereach_lab.times import now

if TYPE_CHECKING:
    from kubereach_lab.registry import Registry

#: that many different messages for one reason are combined in one event
_SIMILAR = 10
_COMBINED = "(combined from similar events)"
_TYPES = ("Normal", "Warning")
#: how long an event is kept after it was last told, in seconds
_KEPT = 3600.0

Key = tuple[str, ...]


class EventRecorder:
    """Writes core/v1 Events into a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: what an event tells -> its namespace, its name, and when it was told last; the latest is at the end
        self._events: OrderedDict[Key, tuple[str, str, float]] = OrderedDict()
        self._messages: dict[Key, set[str]] = {}

    def record(
        self,
        involved: Object,
        type: str,
        reason: str,
        message: str,
        source: str,
        *,
        host: str = "",
        field_path: str = "",
    ) -> None:
        """Writes an Event about `involved`; the same one again is counted.

        `type` is Normal or Warning, `source` the component that reports, `host` the node that it is on, `field_path`
        the part of the object that it is about, such as ``spec.containers{c}``.
        """
        if type not in _TYPES:
            raise ValueError(f"an Event is Normal or Warning, not {type}")
        self._forget()
        about = involved["metadata"]
        namespace = about.get("namespace") or "default"
        subject = (about.get("uid", ""), field_path, type, reason, source)
        messages = self._messages.setdefault(subject, set())
        messages.add(message)
        words = message
        if len(messages) >= _SIMILAR:
            # so that one event stands for all further ones
            messages.pop()
            words, message = _COMBINED, f"{_COMBINED}: {message}"
        key = (*subject, words)
        if key in self._events:
            name = self._events[key][1]
            if self._registry.find("events", namespace, name) is not None:
                self._registry.update("events", namespace, name, lambda event: _count(event, message))
                self._remember(key, namespace, name)
                return
        space = self._registry.find("namespaces", None, namespace)
        if space is None or space["metadata"].get("deletionTimestamp"):
            return
        stamp = now()
        event = self._registry.create(
            "events",
            {
                "metadata": {"name": f"{about['name']}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
                "involvedObject": {
                    "kind": involved.get("kind", ""),
                    "namespace": about.get("namespace", ""),
                    "name": about["name"],
                    "uid": about.get("uid", ""),
                    "apiVersion": involved.get("apiVersion", ""),
                    "resourceVersion": about.get("resourceVersion", ""),
                    **({"fieldPath": field_path} if field_path else {}),
                },
                "reason": reason,
                "message": message,
                "source": {"component": source, **({"host": host} if host else {})},
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
                "type": type,
                "eventTime": None,
                "reportingComponent": "" if words == _COMBINED else source,
                "reportingInstance": host,
            },
        )
        self._remember(key, namespace, event["metadata"]["name"])

    def _remember(self, key: Key, namespace: str, name: str) -> None:
        self._events[key] = (namespace, name, time.monotonic())
        self._events.move_to_end(key)

    def _forget(self) -> None:
        """Remove what is too old."""
        while self._events:
            key, (namespace, name, last_recorded) = next(iter(self._events.items()))
            if last_recorded > time.monotonic() - _KEPT:
                return
            del self._events[key]
            self._messages.pop(key[:-1], None)
            self._registry.remove("events", namespace, name)


def _count(event: Object, message: str) -> None:
    event["message"] = message
    event["count"] = event.get("count", 1) + 1
    event["lastTimestamp"] = now()
