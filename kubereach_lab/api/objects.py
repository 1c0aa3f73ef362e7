"""The verbs on objects: get, list, create, update, patch, delete, deletecollection."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import yaml
from aiohttp import web

from kubereach_lab import selectors, status, versions
from kubereach_lab.api import yaml_body
from kubereach_lab.api.bodies import (
    YAML,
    Body,
    Representation,
    check_kind,
    parse_json,
    parse_object,
    without_kind,
)
from kubereach_lab.api.context import Context, answer
from kubereach_lab.api.events import from_core, to_core
from kubereach_lab.api.requests import (
    DeleteOptions,
    ListOptions,
    Target,
    WriteOptions,
    delete_options,
    list_options,
    write_options,
)
from kubereach_lab.defaults import names
from kubereach_lab.kubectl import protobuf, tables
from kubereach_lab.partial import partial_list, partial_metadata
from kubereach_lab.patch import json_patch, left_by_merging, merge_patch, strategic_merge
from kubereach_lab.resources import EVENTS_V1, Resource
from kubereach_lab.status import Object
from kubereach_lab.store import copy_object

#: these answer a DELETE with the object as it was; the others with a Status
_DELETED_OBJECT = frozenset({"namespaces", "pods", "services", "serviceaccounts"})
_ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_STRATEGIC = "application/strategic-merge-patch+json"
_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    _STRATEGIC,
)
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")

Predicate = Callable[[Object], bool]


def warnings_of(minor: int, resource: Resource, obj: Mapping[str, Any] | None = None) -> list[str]:
    """What a real server of a minor version warns of when it answers about a kind, or about this object of it."""
    found = [_ENDPOINTS] if resource.name == "endpoints" and minor >= versions.ENDPOINTS_DEPRECATED else []
    if resource.name == "services" and obj is not None:
        spec = obj.get("spec") or {}
        if spec.get("externalIPs") and minor >= versions.EXTERNAL_IPS_DEPRECATED:
            found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
        if spec.get("trafficDistribution") == "PreferClose" and minor >= versions.PREFER_SAME:
            found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    if resource.name == "endpointslices" and obj is not None and obj.get("addressType") == "FQDN":
        found.append("spec.addressType: FQDN endpoints are deprecated")
    if resource.name == "pods" and obj is not None and (problems := _hostname_problems(obj)):
        found.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label "
            f"is recommended: [{', '.join(problems)}]"
        )
    return found


def _hostname_problems(pod: Mapping[str, Any]) -> list[str]:
    return names.service_name_problems(pod["metadata"]["name"])


def shown(resource: Resource, obj: Object) -> Object:
    """A stored object as the requested group shows it."""
    return from_core(obj) if resource is EVENTS_V1 else obj


def select(resource: Resource, options: ListOptions) -> Predicate | None:
    """The predicate of both selectors, None if everything is wanted. Raises `StatusError` 400."""
    labels = selectors.parse_labels(options.label_selector)
    fields = selectors.parse_fields(resource.name, options.field_selector)
    if not labels and fields is None:
        return None

    def wanted(obj: Object) -> bool:
        return selectors.matches_labels(labels, obj) and (fields is None or fields(obj))

    return wanted


class Objects:
    """The verbs. Each answers one request; refusals are raised as `StatusError`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.registry = context.registry

    def get(self, target: Target, form: Representation, query: Mapping[str, str]) -> web.Response:
        obj = self.registry.get(target.resource.name, target.namespace, target.name)
        obj = shown(target.resource, obj)
        warnings = warnings_of(self.context.config.minor, target.resource)
        if form.convert == "Table":
            revision = obj["metadata"]["resourceVersion"]
            table = tables.table(target.resource, [obj], {"resourceVersion": revision}, form.version, query)
            return answer(table, form=form, warnings=warnings)
        if form.convert == "PartialObjectMetadata":
            return answer(partial_metadata(obj, form.version), form=form)
        return answer(obj, form=form, warnings=warnings)

    def collection(self, target: Target, form: Representation, query: Mapping[str, str]) -> web.Response:
        resource = target.resource
        options = list_options(query, watch=False)
        wanted = select(resource, options)
        self._check_revision(options)
        start = _read_token(options.token) if options.token else None
        items: list[Object] = []
        left = 0
        for obj in self.registry.iterate(resource.name, target.namespace):
            if wanted is not None and not wanted(obj):
                continue
            if start is not None and _place(obj) <= start:
                continue
            # what the watch cache answers, which version 0 asks for, is never cut
            if options.limit and options.revision != 0 and len(items) == options.limit:
                left += 1
            else:
                items.append(obj)
        metadata: Object = {"resourceVersion": self.registry.revision}
        if left:
            metadata["continue"] = _write_token(_place(items[-1]))
            if wanted is None:
                metadata["remainingItemCount"] = left
        items = [shown(resource, obj) for obj in items]
        warnings = warnings_of(self.context.config.minor, resource)
        if form.convert == "Table":
            table = tables.table(resource, items, metadata, form.version, query)
            return answer(table, form=form, warnings=warnings)
        if form.convert == "PartialObjectMetadataList":
            return answer(partial_list(items, metadata, form.version), form=form)
        body = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": [without_kind(obj) for obj in items],
        }
        return answer(body, form=form, warnings=warnings)

    def _check_revision(self, options: ListOptions) -> None:
        if options.revision is None:
            return
        current = int(self.registry.revision)
        if options.revision > current:
            details = {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            }
            text = f"Timeout: Too large resource version: {options.revision}, current: {current}"
            raise status.StatusError(504, "Timeout", text, details)
        if options.match == "Exact" and options.revision != current:
            raise status.gone("The resourceVersion for the provided list is too old.")

    # writing

    def decode(self, resource: Resource, body: Body, validation: str) -> tuple[Object, list[str]]:
        """The object of a body without its unknown fields, and warnings about them.

        Raises `StatusError` 400 for a value of the wrong type, and for unknown fields if `validation` is Strict.
        """
        obj: Object = body.value
        unknown = self.context.schemas.decode(resource, obj).unknown
        problems = body.problems + [f'unknown field "{path}"' for path in unknown]
        if problems and validation == "Strict":
            kind, version = resource.kind, resource.api_version
            why = f"strict decoding error: {', '.join(problems)}"
            raise status.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')
        return obj, yaml_body.warnings_of(problems) if validation == "Warn" else []

    def create(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes, content_type: str
    ) -> web.Response:
        resource = target.resource
        options = write_options(query, "CreateOptions")
        obj, warnings = self._sent(target, text, content_type, options)
        stored = self._create(resource, obj, options.dry_run)
        warnings += warnings_of(self.context.config.minor, resource, stored)
        return answer(shown(resource, stored), code=201, form=form, warnings=warnings)

    def _sent(
        self, target: Target, text: bytes, content_type: str, options: WriteOptions
    ) -> tuple[Object, list[str]]:
        """The object that a client has sent to `target`, and warnings. Raises `StatusError`. See `decode`."""
        body = parse_object(text, content_type, target.resource)
        obj, warnings = self.decode(target.resource, body, options.field_validation)
        _check_namespace(obj, target)
        return obj, warnings

    def _create(self, resource: Resource, obj: Object, dry_run: bool) -> Object:
        if resource is EVENTS_V1:
            obj = to_core(obj)
        return self.registry.create(resource.name, obj, dry_run=dry_run)

    def update(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes, content_type: str
    ) -> web.Response:
        resource = target.resource
        options = write_options(query, "UpdateOptions")
        obj, warnings = self._sent(target, text, content_type, options)
        _check_name(obj, target)
        version = obj.get("metadata", {}).get("resourceVersion", "")
        if version and not version.isdigit():
            text_of_go = f'strconv.ParseUint: parsing "{version}": invalid syntax'
            raise status.StatusError(500, "", text_of_go)
        if (
            self.registry.find(resource.name, target.namespace, target.name) is None
            and not target.subresource
        ):
            if version or resource.name in ("pods", "namespaces", "nodes"):
                raise status.not_found(resource.name, target.name, resource.group)
            stored = self._create(resource, obj, options.dry_run)
            return answer(shown(resource, stored), code=201, form=form, warnings=warnings)
        if resource is EVENTS_V1:
            obj = to_core(obj)
        stored = self.registry.update(
            resource.name,
            target.namespace,
            target.name,
            lambda current: _replace(current, obj),
            subresource=target.subresource or None,
            dry_run=options.dry_run,
        )
        warnings += warnings_of(self.context.config.minor, resource, stored)
        return answer(shown(resource, stored), form=form, warnings=warnings)

    def patch(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes, content_type: str
    ) -> web.Response:
        resource = target.resource
        media_type = content_type.partition(";")[0].strip()
        options = write_options(query, "PatchOptions")
        if media_type in _APPLY:
            raise status.not_implemented(
                "the lab has no server-side apply: field ownership is outside its scope; use client-side apply "
                "(kubectl apply without --server-side) or another kind of patch"
            )
        if media_type not in _PATCHES:
            raise status.unsupported_media_type("415: Unsupported Media Type", {})
        body = parse_patch(text)
        patch = body.value
        warnings: list[str] = []

        def mutate(current: Object) -> None:
            result = self.apply_patch(resource, current, patch, media_type)
            applied = left_by_merging(patch) if media_type == _STRATEGIC else patch
            decoded, found = self._decode_patched(
                resource, result, Body(applied, body.problems), options.field_validation
            )
            warnings.extend(found)
            _check_name(decoded, target)
            _check_namespace(decoded, target)
            _replace(current, to_core(decoded) if resource is EVENTS_V1 else decoded)

        stored = self.registry.update(
            resource.name,
            target.namespace,
            target.name,
            mutate,
            subresource=target.subresource or None,
            dry_run=options.dry_run,
        )
        warnings += warnings_of(self.context.config.minor, resource, stored)
        return answer(shown(resource, stored), form=form, warnings=warnings)

    def apply_patch(self, resource: Resource, current: Object, patch: Any, media_type: str) -> Object:
        """The object that results from a patch of `current`, which is not changed. Raises `StatusError`."""
        before = shown(resource, current)
        if media_type == "application/json-patch+json":
            result = json_patch(before, patch)
        elif media_type == "application/merge-patch+json":
            result = merge_patch(before, patch)
        else:
            schemas = self.context.schemas
            result = strategic_merge(before, patch, schemas.of(resource), schemas.lookup)
        if not isinstance(result, dict):
            raise status.unprocessable()
        return copy_object(result)

    def _decode_patched(
        self, resource: Resource, result: Object, patch: Body, validation: str
    ) -> tuple[Object, list[str]]:
        check_kind(result, resource)
        unknown = self.context.schemas.decode(resource, result).unknown
        problems = patch.problems + [f'unknown field "{path}"' for path in unknown]
        if problems and validation == "Strict":
            why = f"strict decoding error: {', '.join(problems)}"
            cause = status.invalid_value("patch", _go_map(patch.value), why)
            raise status.invalid("", "", [cause])
        return result, yaml_body.warnings_of(problems) if validation == "Warn" else []

    # deleting

    def delete(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes
    ) -> web.Response:
        resource = target.resource
        options = delete_options(query, _options_body(text))
        existing = self.registry.get(resource.name, target.namespace, target.name)
        obj = self._delete(resource, existing, options)
        warnings = warnings_of(self.context.config.minor, resource)
        if resource.name == "jobs" and not options.propagation:
            warnings.append(_ORPHANS)
        left = self.registry.find(resource.name, target.namespace, target.name)
        kept = left is not None and left["metadata"]["uid"] == existing["metadata"]["uid"]
        if (kept and not options.dry_run) or resource.name in _DELETED_OBJECT:
            return answer(shown(resource, obj), form=form, warnings=warnings)
        details = {"name": target.name, "group": resource.group, "kind": resource.name}
        details["uid"] = existing["metadata"]["uid"]
        body = status.success({key: value for key, value in details.items() if value})
        return answer(body, form=form, warnings=warnings)

    def delete_collection(
        self, target: Target, form: Representation, query: Mapping[str, str], text: bytes
    ) -> web.Response:
        resource = target.resource
        if "deletecollection" not in resource.verbs:
            raise status.method_not_allowed()
        wanted = select(resource, list_options(query, watch=False))
        options = replace(delete_options(query, _options_body(text)), preconditions={})
        found = self.registry.list(resource.name, target.namespace, where=wanted)
        deleted = [self._delete(resource, obj, options) for obj in found]
        body = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": self.registry.revision},
            "items": [without_kind(shown(resource, obj)) for obj in deleted],
        }
        return answer(body, form=form, warnings=warnings_of(self.context.config.minor, resource))

    def _delete(self, resource: Resource, obj: Object, options: DeleteOptions) -> Object:
        """Deletes one object; returns its last state. Raises `StatusError`."""
        return self.registry.delete(
            resource.name,
            obj["metadata"].get("namespace"),
            obj["metadata"]["name"],
            grace=options.grace,
            propagation=options.propagation,
            preconditions=options.preconditions,
            dry_run=options.dry_run,
        )


def parse_patch(text: bytes) -> Body:
    """The body of a PATCH. Raises `StatusError` 400."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise status.bad_request(f"error decoding patch: {error}") from None


def _replace(current: Object, wanted: Object) -> None:
    current.clear()
    current.update(wanted)


def _check_name(obj: Object, target: Target) -> None:
    name = obj.setdefault("metadata", {}).get("name") or target.name
    if name != target.name:
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    obj["metadata"]["name"] = name


def _check_namespace(obj: Object, target: Target) -> None:
    metadata = obj.setdefault("metadata", {})
    if not target.resource.namespaced:
        return
    given = metadata.get("namespace")
    if given and target.namespace and given != target.namespace:
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise status.bad_request(text)
    metadata["namespace"] = target.namespace or given or "default"


def _options_body(text: bytes) -> dict[str, Any]:
    """The DeleteOptions of a body; JSON or YAML. Raises `StatusError` 400."""
    if not text.strip():
        return {}
    if text.startswith(b"k8s\x00"):
        return protobuf.decode(text) or {}
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise status.bad_request(f"couldn't get version/kind; {YAML} parse error: {error}") from error
    return value if isinstance(value, dict) else {}


def _go_map(value: Any) -> str:
    """A value as Go's %v prints it: ``map[spec:map[ports:[map[port:80]]]]``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_map(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _place(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _write_token(place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "start": place}).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))["start"]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise status.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    return namespace, name
