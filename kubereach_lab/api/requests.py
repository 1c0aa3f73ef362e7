"""What a request asks for: the parts of its path and the options of its query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubereach_lab.resources import BY_PATH, Resource
from kubereach_lab.status import (
    Cause,
    StatusError,
    bad_request,
    forbidden_field,
    invalid,
    invalid_value,
    no_such_path,
    unsupported_value,
)


@dataclass(frozen=True)
class Target:
    """The resource that a path names. `rest` is what follows the subresource (a proxied path)."""

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    rest: str = ""
    #: the path is of the old form ``/api/v1/watch/...``
    watch: bool = False


def parse_path(path: str) -> Target:
    """The target of an API path below ``/api/<version>`` or ``/apis/<group>/<version>``.

    Raises `StatusError` 404.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    else:
        group, version, parts = parts[1], parts[2], parts[3:]
    watch = len(parts) > 1 and parts[0] == "watch"
    if watch:
        parts = parts[1:]
    namespace: str | None = None
    # /namespaces/NAME/status is of the namespace, /namespaces/NAME/pods is in it
    if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    if not parts or not parts[0]:
        raise no_such_path()
    resource = BY_PATH.get((group, version, parts[0]))
    if resource is None or (namespace is not None and not resource.namespaced):
        raise no_such_path()
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if name and resource.namespaced and namespace is None:
        raise no_such_path()
    if subresource:
        known = resource.subresource(subresource)
        if known is None or (len(parts) > 3 and subresource != "proxy"):
            raise no_such_path()
    # a final slash counts for a proxied path, and for nothing else
    everything = path.lstrip("/").split("/")
    consumed = len(path.strip("/").split("/")) - len(parts) + 3
    rest = "/" + "/".join(everything[consumed:]) if subresource and len(everything) > consumed else ""
    return Target(resource, namespace, name, subresource, rest, watch)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean option; ``1``, ``true`` and an empty value are true."""
    return query.get(name, "false").lower() in ("1", "true", "t", "")


def number(query: Mapping[str, str], name: str) -> int | None:
    """An integer option, None if it is absent or empty. Raises `StatusError` 400."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


@dataclass(frozen=True)
class WriteOptions:
    """Options of create, update and patch."""

    dry_run: bool
    #: Strict, Warn or Ignore
    field_validation: str


def write_options(query: Mapping[str, str], kind: str) -> WriteOptions:
    """`kind` is the options' own: CreateOptions, UpdateOptions or PatchOptions. Raises `StatusError` 422."""
    causes: list[Cause] = []
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        causes.append(unsupported_value("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    causes += _check_dry_run([query["dryRun"]] if "dryRun" in query else [])
    if causes:
        raise invalid(kind, "", causes, "meta.k8s.io")
    return WriteOptions(query.get("dryRun") == "All", validation or "Warn")


def _check_dry_run(values: list[str]) -> list[Cause]:
    return [unsupported_value("dryRun", values, ("All",)) for _ in values if values != ["All"]]


@dataclass(frozen=True)
class ListOptions:
    """Options of list and watch; `revision` is the given resourceVersion, None if none is given."""

    label_selector: str
    field_selector: str
    limit: int
    token: str
    revision: int | None
    match: str
    send_initial_events: bool | None
    bookmarks: bool
    timeout: float | None


def list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Raises `StatusError` 400, 422 or (as a real server does for a watch) 500."""
    text = query.get("resourceVersion", "")
    if text and not text.isdigit():
        reason = (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
        if watch:
            raise StatusError(500, "", reason)
        raise bad_request(f"invalid resource version: {reason}")
    match = query.get("resourceVersionMatch", "")
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    causes: list[Cause] = []
    field = "resourceVersionMatch"
    if initial is not None and not watch:
        causes.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if watch and initial is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(forbidden_field(field, why))
    elif watch and initial is None and match:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(forbidden_field(field, why))
    elif not watch and match and not text:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(forbidden_field(field, why))
    elif match not in ("", "Exact", "NotOlderThan"):
        causes.append(unsupported_value(field, match, ("Exact", "NotOlderThan", "")))
    if causes:
        raise invalid("ListOptions", "", causes, "meta.k8s.io")
    timeout = number(query, "timeoutSeconds")
    return ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=max(0, number(query, "limit") or 0),
        token=query.get("continue", ""),
        revision=int(text) if text else None,
        match=match,
        send_initial_events=initial,
        bookmarks=flag(query, "allowWatchBookmarks"),
        timeout=float(timeout) if timeout else None,
    )


@dataclass(frozen=True)
class DeleteOptions:
    """Options of a deletion, from its body or its query."""

    grace: int | None
    propagation: str | None
    preconditions: Mapping[str, str]
    dry_run: bool


def delete_options(query: Mapping[str, str], body: Mapping[str, object]) -> DeleteOptions:
    """Raises `StatusError` 422."""
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or None
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in query:
        orphan = flag(query, "orphanDependents")
    known = ("Foreground", "Background", "Orphan", "nil")
    causes: list[Cause] = []
    if propagation is not None and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid_value("propagationPolicy", propagation, why))
    elif propagation is not None and propagation not in known[:3]:
        causes.append(unsupported_value("propagationPolicy", propagation, known, ordered=True))
    dry_run = body.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
    values = [str(value) for value in dry_run] if isinstance(dry_run, list) else []
    causes += _check_dry_run(values)
    if causes:
        raise invalid("DeleteOptions", "", causes, "meta.k8s.io")
    if orphan is True:
        propagation = "Orphan"
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace=grace if isinstance(grace, int) else None,
        propagation=str(propagation) if propagation else None,
        preconditions=preconditions if isinstance(preconditions, dict) else {},
        dry_run=bool(values),
    )
