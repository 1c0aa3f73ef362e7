"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had."""

from __future__ import annotations

from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import (
    Key,
    Object,
    being_deleted,
    controller_of,
    name_of,
    owned,
    owner_reference,
    short_hash,
)
from kubereach_lab.registry import Registry
from kubereach_lab.store import copy_object

_KEEP = 10
_LABELS = {"DaemonSet": "controller-revision-hash"}


class RevisionedController(Controller):
    """What keeps the templates of its pods in ControllerRevisions: StatefulSets and DaemonSets."""

    #: plural and kind of what is controlled
    resource = ""
    kind = ""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == self.resource:
            yield name_of(new)
        elif resource == "pods" and (key := controller_of(new, self.kind)):
            yield key

    def reconcile(self, namespace: str, name: str) -> None:
        owner = self.registry.find(self.resource, namespace, name)
        if owner is None:
            return
        digest = short_hash(owner["spec"]["template"])
        if not being_deleted(owner):
            record_revision(self.registry, owner, f"{name}-{digest}")
            self.sync(owner, digest)
        self.write_status(self.resource, owner, self.status(owner, digest))

    def sync(self, owner: Object, digest: str) -> None:
        """Make the pods as the owner's spec says, as far as one step goes; `digest` is its template's."""
        raise TypeError(f"{type(self).__name__} cannot make pods")

    def status(self, owner: Object, digest: str) -> Object:
        """The owner's status."""
        raise TypeError(f"{type(self).__name__} knows no status")


def record_revision(registry: Registry, owner: Object, name: str) -> None:
    """Keep the owner's template under `name`, as the newest revision."""
    revisions = sorted(owned(registry, "controllerrevisions", owner), key=lambda r: r["revision"])
    newest = revisions[-1]["revision"] if revisions else 0
    found = next((r for r in revisions if r["metadata"]["name"] == name), None)
    if found is None:
        template = copy_object(owner["spec"]["template"]) | {"$patch": "replace"}
        digest = name.rsplit("-", 1)[1]
        generation = "deprecated.daemonset.template.generation"
        annotations = owner["metadata"].get("annotations") or {}
        registry.create(
            "controllerrevisions",
            {
                "metadata": {
                    "annotations": {k: v for k, v in annotations.items() if k == generation},
                    "name": name,
                    "namespace": owner["metadata"]["namespace"],
                    "labels": {
                        **(owner["spec"]["template"]["metadata"].get("labels") or {}),
                        _LABELS.get(owner["kind"], "controller.kubernetes.io/hash"): digest,
                    },
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": {"spec": {"template": template}},
                "revision": newest + 1,
            },
        )
        for old in revisions[: max(0, len(revisions) - _KEEP)]:
            registry.delete("controllerrevisions", *name_of(old))
    elif found["revision"] != newest:
        registry.update("controllerrevisions", *name_of(found), lambda r: r.update(revision=newest + 1))
