"""Events are stored once, as core/v1; the group events.k8s.io/v1 shows and takes them in its own words (KEP-383)."""

from __future__ import annotations

from kubereach_lab.status import Object

_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def _renamed(obj: Object, names: dict[str, str], api_version: str) -> Object:
    result = {names.get(key, key): value for key, value in obj.items()}
    result["apiVersion"], result["kind"] = api_version, "Event"
    return result


def from_core(obj: Object) -> Object:
    """A stored Event as events.k8s.io/v1."""
    fields = {key: value for key, value in obj.items() if key != "reportingInstance" or value}
    return _renamed(fields, dict(_RENAMED), "events.k8s.io/v1")


def to_core(obj: Object) -> Object:
    """An events.k8s.io/v1 Event as it is stored."""
    return _renamed(obj, {new: old for old, new in _RENAMED}, "v1")
