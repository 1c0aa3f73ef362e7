"""Removes objects whose owners are gone, and ends foreground and orphaning deletions.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of
from kubereach_lab.registry import Registry
from kubereach_lab.resources import RESOURCES

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"


#: seconds from an owner's last dependent to its own end: the other controllers see the first before the second
_SETTLE = 0.1


class GarbageCollector(Controller):
    """Follows owner references by uid. Its keys are (uid, ""): those of owners that went or are going."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._resource_of: dict[str, str] = {r.kind: r.name for r in RESOURCES}
        self._settling: set[str] = set()
        self._dependents: dict[str, dict[str, tuple[str, Key]]] = {}

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        uid = new["metadata"]["uid"]
        owners = {o["uid"] for o in new["metadata"].get("ownerReferences") or []}
        before = {o["uid"] for o in (old or {}).get("metadata", {}).get("ownerReferences") or []}
        if verb == "DELETED":
            for owner in owners | before:
                self._dependents.get(owner, {}).pop(uid, None)
                yield owner, ""  # it may be waiting for this one
            yield uid, ""
            return
        for owner in before - owners:
            self._dependents.get(owner, {}).pop(uid, None)
        for owner in owners:
            self._dependents.setdefault(owner, {})[uid] = (resource, name_of(new))
        if verb == "ADDED" and owners:
            yield from ((owner, "") for owner in owners if self._find(new, owner) is None)
        if being_deleted(new) and {_FOREGROUND, _ORPHAN} & set(new["metadata"].get("finalizers") or []):
            yield uid, resource

    def _find(self, dependent: Object, uid: str) -> Object | None:
        for reference in dependent["metadata"].get("ownerReferences") or []:
            if reference["uid"] == uid:
                resource = self._resource_of.get(reference["kind"])
                if resource is None:
                    return dependent  # a kind that the lab does not have: nobody can say that it is gone
                namespace = dependent["metadata"].get("namespace")
                found = self.registry.find(resource, namespace, reference["name"])
                return found if found is not None and found["metadata"]["uid"] == uid else None
        return None

    def reconcile(self, namespace: str, name: str) -> None:
        uid, resource = namespace, name
        dependents = [
            (kind, obj)
            for kind, key in list(self._dependents.get(uid, {}).values())
            if (obj := self.registry.find(kind, *key)) is not None
        ]
        owner = self._owner(uid, resource, dependents)
        if owner is None:
            for kind, obj in dependents:
                self._collect(kind, obj)
            self._dependents.pop(uid, None)
            return
        kind, obj = owner
        finalizers = obj["metadata"].get("finalizers") or []
        if not being_deleted(obj):
            return
        if _ORPHAN in finalizers:
            for dependent_kind, dependent in dependents:
                self._release(dependent_kind, dependent, uid)
            self._settle(kind, obj, _ORPHAN)
        elif _FOREGROUND in finalizers:
            for dependent_kind, dependent in dependents:
                if not being_deleted(dependent):
                    # what has no dependents of its own needs not wait for them
                    has_some = self._dependents.get(dependent["metadata"]["uid"])
                    policy = "Foreground" if has_some else "Background"
                    self.registry.delete(dependent_kind, *name_of(dependent), propagation=policy)
            if not any(self.registry.find(k, *name_of(o)) for k, o in dependents if _blocks(o, uid)):
                self._settle(kind, obj, _FOREGROUND)

    def _owner(
        self, uid: str, resource: str, dependents: list[tuple[str, Object]]
    ) -> tuple[str, Object] | None:
        if resource:
            for obj in self.registry.list(resource, where=lambda o: o["metadata"]["uid"] == uid):
                return resource, obj
        for _, dependent in dependents:
            found = self._find(dependent, uid)
            if found is not None and found is not dependent:
                return self._resource_of[found["kind"]], found
        if not resource:
            for kind in ("deployments", "replicasets", "statefulsets", "daemonsets", "jobs"):
                for obj in self.registry.list(kind, where=lambda o: o["metadata"]["uid"] == uid):
                    return kind, obj
        return None

    def _collect(self, kind: str, obj: Object) -> None:
        references = obj["metadata"].get("ownerReferences") or []
        if not being_deleted(obj) and all(self._find(obj, o["uid"]) is None for o in references):
            self.registry.delete(kind, *name_of(obj), propagation="Background")

    def _release(self, kind: str, obj: Object, uid: str) -> None:
        def mutate(target: Object) -> None:
            kept = [o for o in target["metadata"].get("ownerReferences") or [] if o["uid"] != uid]
            target["metadata"]["ownerReferences"] = kept

        self.registry.update(kind, *name_of(obj), mutate)

    def _settle(self, kind: str, obj: Object, finalizer: str) -> None:
        """Let an owner go whose dependents are done with, a moment later."""
        uid = obj["metadata"]["uid"]
        if uid not in self._settling:
            self._settling.add(uid)
            loop = asyncio.get_running_loop()
            loop.call_later(_SETTLE, self._drop_finalizer, kind, obj, finalizer)

    def _drop_finalizer(self, kind: str, obj: Object, name: str) -> None:
        self._settling.discard(obj["metadata"]["uid"])
        found = self.registry.find(kind, *name_of(obj))
        if found is None or found["metadata"]["uid"] != obj["metadata"]["uid"]:
            return

        def mutate(target: Object) -> None:
            kept = [f for f in target["metadata"].get("finalizers") or [] if f != name]
            target["metadata"]["finalizers"] = kept

        self.registry.update(kind, *name_of(obj), mutate)


def _blocks(obj: Object, uid: str) -> bool:
    return any(
        o["uid"] == uid and o.get("blockOwnerDeletion") for o in obj["metadata"].get("ownerReferences") or []
    )
