"""The objects of the cluster with the rules of the API server: what is filled in, refused, counted and kept.

Controllers and the REST API both come through here, so that both see the same behaviour. Everything is synchronous and
runs in the one asyncio thread of the lab server.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping

from kubereach_lab import admission, status
from kubereach_lab.config import LabConfig
from kubereach_lab.defaults import Strategy, strategy_of
from kubereach_lab.defaults.pods import random_suffix
from kubereach_lab.defaults.strategy import prune
from kubereach_lab.recorder import EventRecorder
from kubereach_lab.resources import BY_NAME, RESOURCES, Resource
from kubereach_lab.status import Object
from kubereach_lab.store import Change, Listener, Store, copy_object
from kubereach_lab.times import now

#: propagation policy -> the finalizer that the garbage collector honours
_PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_GENERATED_PREFIX = 58


class Registry:
    """All objects of a lab. Objects handed out are shared and must not be changed; use `update`."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.store = Store()
        self._strategies: dict[str, Strategy] = {r.name: strategy_of(r.name, config) for r in RESOURCES}
        self.events = EventRecorder(self)

    # reading

    def find(self, resource: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None."""
        return self.store.find(resource, _space(BY_NAME[resource], namespace), name)

    def get(self, resource: str, namespace: str | None, name: str) -> Object:
        """The object. Raises `StatusError` 404."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise status.not_found(resource, name, BY_NAME[resource].group)
        return found

    def iterate(self, resource: str, namespace: str | None = None) -> Iterator[Object]:
        """Objects ordered by namespace and name; all namespaces if None."""
        return self.store.iterate(resource, namespace if BY_NAME[resource].namespaced else None)

    def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        where: Callable[[Object], bool] | None = None,
    ) -> list[Object]:
        """Objects ordered by namespace and name, those with all `labels` and for which `where` is true."""
        found: list[Object] = []
        wanted = labels.items() if labels else ()
        for obj in self.iterate(resource, namespace):
            if wanted:
                has = obj["metadata"].get("labels") or {}
                if any(has.get(key) != value for key, value in wanted):
                    continue
            if where is None or where(obj):
                found.append(obj)
        return found

    @property
    def revision(self) -> str:
        """The resource version of a list made now."""
        return str(self.store.revision)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls ``listener(type, resource, new, old)`` after each change, in order; returns what ends that.

        `type` is ADDED, MODIFIED or DELETED. A change made by a listener is delivered after the current one.
        """

        def deliver(change: Change) -> None:
            listener(change.type, change.resource, change.new, change.old)

        return self.store.watch(deliver)

    # writing

    def create(self, resource: str, obj: Object, *, dry_run: bool = False) -> Object:
        """Stores a new object after defaults, validation and allocation, and returns it.

        Raises `StatusError`: 404 without its namespace, 403 while that is being deleted, 409 if the name is taken, 422
        if it is invalid.
        """
        kind, strategy = BY_NAME[resource], self._strategies[resource]
        given = {key: value for key, value in copy_object(obj).items() if key not in ("kind", "apiVersion")}
        new: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}, **given}
        metadata = new["metadata"]
        if metadata.get("resourceVersion"):
            raise status.StatusError(500, "", "resourceVersion should not be set on objects to be created")
        prefix = metadata.get("generateName", "")
        if not metadata.get("name") and prefix:
            metadata["name"] = prefix[:_GENERATED_PREFIX] + random_suffix()
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
            admission.check_namespace(kind, metadata, self.find)
        else:
            metadata.pop("namespace", None)
        for key in ("selfLink", "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(key, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now()
        if strategy.counts_generations:
            metadata["generation"] = 1
        prune(new)
        name = metadata.get("name", "")
        strategy.prepare(new, None)
        strategy.admit(new, self.find)
        causes = strategy.validate_metadata(new, None) + strategy.validate(new, None)
        if causes:
            raise status.invalid(kind.kind, name, causes, kind.group)
        if self.find(resource, metadata.get("namespace"), name) is not None:
            raise status.already_exists(resource, name, kind.group)
        strategy.allocate(new, None, dry_run=dry_run)
        return new if dry_run else self.store.put(resource, new)

    def update(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        mutate: Callable[[Object], None],
        *,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Changes an object: `mutate` gets a copy to change in place; returns what is stored then.

        Nothing happens, and the resource version stays, if nothing changed. With `subresource` ``status`` only status
        and metadata change, without one status does not. A resource version or uid that `mutate` writes must be the
        object's. Removing the last finalizer of an object that is being deleted removes it.

        Raises `StatusError`: 404, 409, 422.
        """
        kind, strategy = BY_NAME[resource], self._strategies[resource]
        old = self.get(resource, namespace, name)
        new = copy_object(old)
        mutate(new)
        self._keep_identity(strategy, new, old)
        if new == old:
            return old  # what is stored has its defaults and is valid
        if subresource == "status":
            new = {**old, "metadata": new["metadata"], "status": new.get("status") or {}}
            prune(new["metadata"])
            strategy.prepare_status(new, old)
            causes = strategy.validate_metadata(new, old) + strategy.validate_status(new, old)
        elif subresource == "finalize":
            new = {**old, "spec": new.get("spec") or {}}
            causes = []
        else:
            prune(new)
            strategy.prepare(new, old)
            causes = strategy.validate_metadata(new, old) + strategy.validate(new, old)
        if causes:
            raise status.invalid(kind.kind, name, causes, kind.group)
        commit = strategy.allocate(new, old, dry_run=dry_run) if subresource is None else None
        if new == old:
            return old
        if strategy.counts_generations and strategy.is_another(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if dry_run:
            return new
        if strategy.may_go(new) and not strategy.may_go(old):
            # the object's last state is the one without finalizers; it is never stored
            strategy.release(new)
            self.store.drop(resource, new["metadata"].get("namespace", ""), name)
            return new
        stored = self.store.put(resource, new)
        if commit is not None:
            commit()
        return stored

    def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        *,
        grace: int | None = None,
        propagation: str | None = None,
        preconditions: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Deletes an object, at once or by marking it; returns its last state.

        Pods that run get `grace` seconds (default: their terminationGracePeriodSeconds) and are removed by whoever
        stops them. Objects with finalizers stay, marked, until the last one is taken off. `propagation` is Foreground,
        Background or Orphan. `preconditions` may hold a uid and a resourceVersion.

        Raises `StatusError`: 404, 409.
        """
        strategy = self._strategies[resource]
        old = self.get(resource, namespace, name)
        _check_preconditions(BY_NAME[resource], old, preconditions)
        metadata = old["metadata"]
        finalizers = list(metadata.get("finalizers") or ())
        if (extra := _PROPAGATION.get(propagation or strategy.propagation)) and extra not in finalizers:
            finalizers.append(extra)
        new = copy_object(old)
        if finalizers:
            new["metadata"]["finalizers"] = finalizers
        strategy.mark(new, strategy.grace(old, grace))
        if dry_run:
            return new
        if strategy.may_go(new):
            if strategy.graceful:
                self.store.put(resource, new)
            return self._remove(resource, metadata.get("namespace", ""), name) or new
        return self.store.put(resource, new) if new != old else old

    def remove(self, resource: str, namespace: str | None, name: str) -> None:
        """Removes an object for good, whatever holds it; frees its addresses and ports. Nothing if it is gone."""
        self._remove(resource, _space(BY_NAME[resource], namespace), name)

    # inside

    @staticmethod
    def _keep_identity(strategy: Strategy, new: Object, old: Object) -> None:
        """What nobody may change; a resource version or uid in the body is a condition."""
        kind = strategy.resource
        metadata, before = new.setdefault("metadata", {}), old["metadata"]
        new["apiVersion"], new["kind"] = kind.api_version, kind.kind
        name = before["name"]
        wanted = metadata.get("resourceVersion")
        if wanted and wanted != "0" and wanted != before["resourceVersion"]:
            raise status.conflict(kind.name, name, group=kind.group)
        uid = metadata.get("uid")
        if uid and uid != before["uid"]:
            where = strategy.stored_below or kind.name
            key = f"/registry/{where}/{before.get('namespace', '')}/{name}".replace("//", "/")
            why = (
                f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['uid']}"
            )
            raise status.conflict(kind.name, name, why, kind.group)
        for key in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "generateName",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ):
            if key in before:
                metadata[key] = before[key]
            else:
                metadata.pop(key, None)
        for key in ("selfLink", "managedFields"):
            metadata.pop(key, None)

    def _remove(self, resource: str, namespace: str, name: str) -> Object | None:
        last = self.store.drop(resource, namespace, name)
        if last is not None:
            self._strategies[resource].release(last)
        return last


def _space(kind: Resource, namespace: str | None) -> str:
    return (namespace or "default") if kind.namespaced else ""


def _check_preconditions(kind: Resource, obj: Object, conditions: Mapping[str, str] | None) -> None:
    metadata = obj["metadata"]
    uid = (conditions or {}).get("uid")
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise status.conflict(kind.kind, metadata["name"], why, kind.group)
    version = (conditions or {}).get("resourceVersion")
    if version and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise status.conflict(kind.kind, metadata["name"], why, kind.group)
