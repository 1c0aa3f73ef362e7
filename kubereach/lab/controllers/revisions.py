"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had."""

from __future__ import annotations

from kubereach.lab.controllers.base import Object, name_of, owned, owner_reference
from kubereach.lab.registry import Registry
from kubereach.lab.store import copy_object

_KEEP = 10
_LABELS = {"DaemonSet": "controller-revision-hash"}


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
