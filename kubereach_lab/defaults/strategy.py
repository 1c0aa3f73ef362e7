"""How the registry treats a kind: what is common to all kinds. `kubereach_lab.defaults.table` has the others."""

from __future__ import annotations

from typing import Any

from kubereach_lab.config import LabConfig
from kubereach_lab.defaults import names
from kubereach_lab.resources import Resource
from kubereach_lab.status import Cause, Object, forbidden_field

#: lists that are sent even when they are empty, as null or []
_KEEP_EMPTY = frozenset({"endpoints", "command", "args"})
#: maps that are left out when they are empty; other objects, such as ``emptyDir: {}``, mean something
_DROP_EMPTY_MAPS = frozenset({"labels", "annotations", "nodeSelector", "data", "stringData", "matchLabels"})


def prune(value: Any) -> None:
    """Drops, in place, what Go's JSON would leave out: nulls, empty lists, empty maps of strings."""
    if isinstance(value, dict):
        for key in [k for k, v in value.items() if v is None or _empty(k, v)]:
            del value[key]
        for key, item in value.items():
            if key not in ("annotations", "labels", "data"):
                prune(item)
    elif isinstance(value, list):
        for item in value:
            prune(item)


def _empty(key: str, value: object) -> bool:
    if value == []:
        return key not in _KEEP_EMPTY
    return value == {} and key in _DROP_EMPTY_MAPS


class Strategy:
    """What is common to all kinds. `old` is None on create. Objects given are the registry's own copies."""

    def __init__(self, resource: Resource, config: LabConfig) -> None:
        self.resource = resource
        self.config = config

    def name_problems(self, name: str) -> list[str]:
        return names.subdomain_problems(name)

    def prepare(self, new: Object, old: Object | None) -> None:
        """Defaults, and what the server owns: status is not the business of those who write the object."""
        if self.resource.subresource("status") is not None:
            if old is not None and "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
            if old is None:
                self.initial_status(new)

    def initial_status(self, new: Object) -> None:
        """The status of a new object; none, unless the kind says otherwise."""
        new["status"] = {}

    def prepare_status(self, new: Object, old: Object) -> None:
        """Defaults within status."""

    def validate(self, new: Object, old: Object | None) -> list[Cause]:
        """What is wrong with `new`, in the server's order."""
        return []

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        return []

    def validate_metadata(self, new: Object, old: Object | None) -> list[Cause]:
        if old is None:
            return names.check_metadata(new, self.name_problems(new["metadata"].get("name", "")))
        causes: list[Cause] = []
        if old["metadata"].get("deletionTimestamp"):
            known = old["metadata"].get("finalizers") or []
            fresh = [f for f in new["metadata"].get("finalizers") or [] if f not in known]
            if fresh:
                listed = ", ".join(f'"{finalizer}"' for finalizer in fresh)
                text = (
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}"
                )
                # a real server checks this twice and says so twice
                causes += [forbidden_field("metadata.finalizers", text)] * 2
        metadata = new["metadata"]
        causes += names.check_labels(metadata.get("labels") or {}, "metadata.labels")
        causes += names.check_annotations(metadata.get("annotations") or {}, "metadata.annotations")
        return causes
