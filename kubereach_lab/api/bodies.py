"""Bodies: what clients send, and the forms in which they want their answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kubereach_lab.api import yaml_body
from kubereach_lab.kubectl import protobuf
from kubereach_lab.resources import EVENTS_V1, RESOURCES, Resource
from kubereach_lab.status import Object, bad_request, not_acceptable, unsupported_media_type

JSON = "application/json"
YAML = "application/yaml"
_SERVED = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
)
_GO_TYPE = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)


@dataclass(frozen=True)
class Representation:
    """The form of an answer: its media type and, for Tables and the like, what it is converted to."""

    media_type: str = JSON
    #: Table, PartialObjectMetadata, PartialObjectMetadataList, APIGroupDiscoveryList or empty
    convert: str = ""
    version: str = "v1"


def negotiate(accept: str, *, discovery: bool = False) -> Representation:
    """The first form in an Accept header that the lab speaks. Raises `StatusError` 406.

    Protobuf is not spoken: clients that prefer it name JSON as well.
    """
    if not accept:
        return Representation()
    for item in accept.split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media_type in ("*/*", "application/*"):
            return Representation()
        if media_type not in (JSON, YAML):
            continue
        convert = values.get("as", "")
        group = values.get("g", "")
        if convert and (group == "apidiscovery.k8s.io") != discovery:
            continue
        return Representation(media_type, convert, values.get("v", "v1"))
    raise not_acceptable(_SERVED)


@dataclass
class Body:
    """A decoded body. `problems` are what fieldValidation warns of: keys that were given twice."""

    value: Any
    problems: list[str]


def parse_json(text: bytes) -> Body:
    """Raises `ValueError` with Go's words."""
    #: the pairs of every object with a key that is there twice, by the object's identity
    twice: dict[int, list[tuple[str, Any]]] = {}

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            twice[id(result)] = items
        return result

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except ValueError as error:
        raise ValueError(_go_words(text.decode(errors="replace"), error)) from None
    paths = _paths(value, "", twice) if twice else []
    return Body(value, [f'duplicate field "{path}"' for path in paths])


def _paths(value: Any, path: str, twice: Mapping[int, list[tuple[str, Any]]]) -> list[str]:
    """The paths of keys that are there twice, in the order of the text."""
    found: list[str] = []
    if isinstance(value, dict):
        seen = set()
        for key, item in twice.get(id(value)) or value.items():
            below = f"{path}.{key}" if path else key
            if key in seen and below not in found:
                found.append(below)
            seen.add(key)
            found += _paths(item, below, twice)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += _paths(item, f"{path}[{i}]", twice)
    return found


def _go_words(text: str, error: ValueError) -> str:
    stripped = text.lstrip()
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    if not stripped or position >= len(text.rstrip()) or "Unterminated" in str(error):
        return "unexpected end of JSON input"
    for literal in ("null", "true", "false"):
        if stripped.startswith(literal[0]):
            for i, expected in enumerate(literal):
                if i >= len(stripped):
                    return "unexpected end of JSON input"
                if stripped[i] != expected:
                    return f"invalid character '{stripped[i]}' in literal {literal} (expecting '{expected}')"
    return f"invalid character '{text[position]}' looking for beginning of value"


def parse_object(text: bytes, content_type: str, resource: Resource) -> Body:
    """The object in the body of a create or update. Raises `StatusError` 400 or 415."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", JSON):
        body = _parse_typed_json(text, resource)
    elif media_type == YAML:
        try:
            body = Body(*yaml_body.load(text))
        except yaml.YAMLError as error:
            raise bad_request(f"yaml: {error}") from error
    elif media_type == protobuf.MEDIA_TYPE and (obj := _parse_protobuf(text)) is not None:
        body = Body(obj, [])
    else:
        accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )
    if not isinstance(body.value, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    check_kind(body.value, resource)
    return body


def _parse_protobuf(text: bytes) -> dict[str, Any] | None:
    try:
        return protobuf.decode(text)
    except ValueError as error:
        raise bad_request(str(error)) from error


def _parse_typed_json(text: bytes, resource: Resource) -> Body:
    unrecognised = (
        f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind"
    )
    try:
        body = parse_json(text)
    except ValueError as error:
        shown = "<empty>" if not text else text.decode(errors="replace")
        shown = shown if len(shown) <= 30 else shown[:30] + " ..."
        raise bad_request(f"{unrecognised}; json parse error: {error} ({shown})") from None
    if not isinstance(body.value, dict):
        kind = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}.get(
            type(body.value)
        )
        why = f"json: cannot unmarshal {kind} into Go value of type {_GO_TYPE} ({text.hex()})"
        raise bad_request(f"{unrecognised}; json parse error: {why}")
    return body


def check_kind(obj: Mapping[str, Any], resource: Resource) -> None:
    """A body may leave out its kind, but not be of another. Raises `StatusError` 400."""
    given = (obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind)
    if given == (resource.api_version, resource.kind):
        return
    version, kind = given
    known = next((r for r in (*RESOURCES, EVENTS_V1) if (r.api_version, r.kind) == given), None)
    if known is None:
        why = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/api/legacyscheme/scheme.go:30"'
    else:
        internal = resource.group.partition(".")[0] or "core"
        why = f"converting ({known.version}.{kind}) to ({internal}.{resource.kind}): unknown conversion"
    short = version.rpartition("/")[2]
    raise bad_request(f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}')


def encode(value: Any, media_type: str = JSON) -> bytes:
    if media_type == YAML:
        return yaml.safe_dump(value, sort_keys=True, allow_unicode=True).encode()
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def without_kind(obj: Object) -> Object:
    """An object as it stands in a list, whose own kind says it for all."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
