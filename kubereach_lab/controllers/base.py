"""What all controllers share: a queue of names, and helpers for owners, templates and pods."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from kubereach_lab.registry import Registry
from kubereach_lab.status import StatusError
from kubereach_lab.store import copy_object
from kubereach_lab.times import now

Object = dict[str, Any]
Key = tuple[str, str]

log = logging.getLogger(__name__)

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_RETRY = 0.5


class Controller:
    """Reconciles names as the objects that concern them change, one at a time, each as late as possible."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._queue: dict[Key, None] = {}
        self._wake = asyncio.Event()
        registry.subscribe(self._on_change)

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        """The (namespace, name) of what a change concerns."""
        raise TypeError(f"{type(self).__name__} says nothing of {verb} {resource} {new} {old}")

    def reconcile(self, namespace: str, name: str) -> None:
        """Make the world as this object's spec says, as far as one step goes."""
        raise TypeError(f"{type(self).__name__} cannot reconcile {namespace}/{name}")

    def _on_change(self, verb: str, resource: str, new: Object, old: Object | None) -> None:
        for key in self.keys(verb, resource, new, old):
            self.enqueue(key)

    def enqueue(self, key: Key) -> None:
        self._queue[key] = None
        self._wake.set()

    def enqueue_later(self, key: Key, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.enqueue, key)

    def availability(self, owner: Object, pods: list[Object]) -> tuple[int, int]:
        """(pods that are ready, those of them for minReadySeconds); the owner is looked at again when one more is."""
        waits = [available_in(pod, owner["spec"].get("minReadySeconds", 0)) for pod in pods]
        soon = [wait for wait in waits if wait is not None and wait > 0]
        if soon:
            self.enqueue_later(name_of(owner), min(soon))
        return sum(wait is not None for wait in waits), sum(wait is not None and wait <= 0 for wait in waits)

    def write_status(self, resource: str, owner: Object, status: Object) -> None:
        """Replace an object's status."""
        self.registry.update(
            resource, *name_of(owner), lambda obj: obj.update(status=status), subresource="status"
        )

    async def run(self) -> None:
        """Reconcile for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.work()

    def work(self) -> None:
        """Reconcile what is queued now."""
        queue, self._queue = self._queue, {}
        for key in queue:
            try:
                self.reconcile(*key)
            except StatusError as error:
                # Somebody changed it meanwhile, or its namespace is going: look again.
                log.info("%s %s: %s", type(self).__name__, key, error)
                self.enqueue_later(key, _RETRY)
            except Exception:
                log.exception("%s %s", type(self).__name__, key)
                self.enqueue_later(key, _RETRY)


def name_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller_of(obj: Object, kind: str) -> Key | None:
    """(namespace, name) of the controlling owner, if it is of this kind."""
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner["kind"] == kind:
            return obj["metadata"].get("namespace", ""), owner["name"]
    return None


def owner_reference(owner: Object) -> Object:
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(registry: Registry, resource: str, owner: Object) -> list[Object]:
    """Objects in the owner's namespace that it controls."""
    uid = owner["metadata"]["uid"]
    return [
        obj
        for obj in registry.iterate(resource, owner["metadata"]["namespace"])
        for reference in obj["metadata"].get("ownerReferences") or ()
        if reference["uid"] == uid and reference.get("controller")
    ]


def being_deleted(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return not being_deleted(pod) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def condition(obj: Object, kind: str) -> Object:
    """The condition of this type; empty if there is none."""
    for found in obj.get("status", {}).get("conditions") or []:
        if found["type"] == kind:
            return dict(found)
    return {}


def written_condition(obj: Object, kind: str, status: str, reason: str, message: str) -> Object:
    """The condition as it is to be written: its transition is now unless it has this status already."""
    old = condition(obj, kind)
    same = old.get("status") == status
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": old["lastTransitionTime"] if same else now(),
        "reason": reason,
        "message": message,
    }


def ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def available_in(pod: Object, seconds: int) -> float | None:
    """Seconds until a ready pod counts as available: 0 or less if it does, None if it is not ready."""
    if not ready(pod):
        return None
    if not seconds:
        return 0
    since = datetime.fromisoformat(condition(pod, "Ready")["lastTransitionTime"].replace("Z", "+00:00"))
    return seconds - (datetime.now(timezone.utc) - since).total_seconds()


def short_hash(value: object) -> str:
    """Ten characters that tell a template from another, in the alphabet of generated names."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def pod_from(owner: Object, labels: dict[str, str] | None = None) -> Object:
    """A pod as the owner's template says, owned by it, not yet named."""
    template = copy_object(owner["spec"]["template"])
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": meta.get("annotations") or {},
            "finalizers": meta.get("finalizers") or [],
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template["spec"],
    }


def create_pod(registry: Registry, owner: Object, pod: Object, component: str) -> Object:
    """Create a pod of an owner and tell it in an Event. Raises `StatusError`, told in an Event too."""
    try:
        created = registry.create("pods", pod)
    except StatusError as error:
        registry.events.record(owner, "Warning", "FailedCreate", f"Error creating: {error}", component)
        raise
    message = f"Created pod: {created['metadata']['name']}"
    registry.events.record(owner, "Normal", "SuccessfulCreate", message, component)
    return created


def delete_pod(registry: Registry, owner: Object, pod: Object, component: str) -> None:
    """Delete a pod of an owner and tell it in an Event."""
    registry.delete("pods", *name_of(pod))
    message = f"Deleted pod: {pod['metadata']['name']}"
    registry.events.record(owner, "Normal", "SuccessfulDelete", message, component)


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """An absolute number, or a percentage of `total` rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total
    return -(-share // 100) if up else share // 100
