"""How the registry treats a kind: what is common to all kinds. `kubereach_lab.defaults.table` has the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from kubereach_lab.config import LabConfig
from kubereach_lab.defaults import names
from kubereach_lab.resources import Resource
from kubereach_lab.status import Cause, Object, forbidden_field
from kubereach_lab.store import Find
from kubereach_lab.times import later

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
    """What is common to all kinds. `old` is None on create. Objects given are the registry's own copies.

    Source: rest.RESTCreateStrategy, RESTUpdateStrategy and RESTDeleteStrategy of k8s.io/apiserver.
    """

    #: where objects are in the store below /registry, as errors of the store tell it; empty: the resource's name
    stored_below: ClassVar[str] = ""
    #: what becomes of dependents unless the request says otherwise: Orphan, or empty for Background
    propagation: ClassVar[str] = ""
    #: whether watches see that an object is being deleted before they see it gone, also where nothing holds it
    graceful: ClassVar[bool] = False

    def __init__(self, resource: Resource, config: LabConfig) -> None:
        self.resource = resource
        self.config = config

    @property
    def counts_generations(self) -> bool:
        """Whether objects have a metadata.generation."""
        return self.resource.generation

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

    def admit(self, new: Object, find: Find) -> None:
        """What admission refuses of a new object for what it refers to. Raises `StatusError` 403."""

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool) -> Callable[[], None] | None:
        """Takes what a kind's objects share out among them, and writes it into `new`. Raises `StatusError` 422.

        What is returned is called once `new` is stored: it gives back what `old` had. `dry_run` takes nothing.
        """
        return None

    def release(self, obj: Object) -> None:
        """Gives back what an object had that is gone."""

    def is_another(self, new: Object, old: Object) -> bool:
        """Whether a change is one of what the object is to be, which its generation counts."""
        return any(new.get(key) != old.get(key) for key in self.resource.spec_fields)

    def grace(self, obj: Object, requested: int | None) -> int:
        """The seconds that an object has to end; `requested` are those of the request."""
        return 0

    def mark(self, obj: Object, seconds: int) -> None:
        """Marks, in place, that an object is being deleted; a grace period is only ever shortened."""
        metadata = obj["metadata"]
        already = metadata.get("deletionTimestamp")
        if not already or seconds < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = later(seconds)
            metadata["deletionGracePeriodSeconds"] = seconds
            if not already and "generation" in metadata:
                metadata["generation"] += 1

    def may_go(self, obj: Object) -> bool:
        """Whether nothing holds an object that is being deleted."""
        metadata = obj["metadata"]
        return bool(
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
        )

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
