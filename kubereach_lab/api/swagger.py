"""``/openapi/v2``: the schemas for clients of before OpenAPI 3, as JSON and as protobuf.

kubectl up to v1.26 checks manifests against it and explains fields from it; it asks for protobuf, and takes nothing
else.
The messages and their numbers are those of gnostic-models, openapiv2/OpenAPIv2.proto.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kubereach_lab.api.bodies import JSON, encode
from kubereach_lab.api.openapi import operations_of
from kubereach_lab.api.schemas import Schemas
from kubereach_lab.config import LabConfig
from kubereach_lab.resources import group_versions
from kubereach_lab.status import Object

#: as clients ask for it, and as it is answered, since "@" has no place in a media type (RFC 6838)
PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_ANSWER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OLD_PREFIX, _PREFIX = "#/$defs/", "#/definitions/"
_OPERATIONS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


class Swagger:
    """The document in its two forms, each made when it is first asked for."""

    def __init__(self, schemas: Schemas, config: LabConfig) -> None:
        self._schemas = schemas
        self._config = config
        self._bodies: dict[str, bytes] = {}

    def answer(self, accept: str) -> tuple[str, bytes]:
        """The media type and the document in it: protobuf where `accept` names it, or else JSON."""
        media_type = JSON
        if PROTOBUF in accept or PROTOBUF_ANSWER in accept:
            media_type = PROTOBUF_ANSWER
        if media_type not in self._bodies:
            document = self._document()
            self._bodies[media_type] = encode(document) if media_type == JSON else _document(document)
        return media_type, self._bodies[media_type]

    def _document(self) -> Object:
        definitions: dict[str, Any] = {}
        paths: dict[str, Any] = {}
        for resources in group_versions(self._config.minor).values():
            for resource in resources:
                name = self._schemas.name_of(resource.group, resource.version, resource.kind)
                if name is None:
                    continue
                self._collect(name, definitions)
                for path, operations in operations_of(resource, f"{_PREFIX}{name}"):
                    paths[path] = {verb: _operation(value) for verb, value in operations.items()}
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": self._config.version[1:].rpartition(".")[0]},
            "paths": paths,
            "definitions": dict(sorted(definitions.items())),
        }

    def _collect(self, name: str, definitions: dict[str, Any]) -> None:
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in definitions:
                definitions[name] = _converted(self._schemas.definitions[name], waiting)


def _converted(schema: Any, found: list[str]) -> Any:
    """A JSON Schema definition as Swagger 2.0 has it; references are added to `found`."""
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        kinds = [kind for one in schema["oneOf"] for kind in one.get("type", ())]
        rest = {key: value for key, value in schema.items() if key != "oneOf"}
        # IntOrString is written so; a Quantity, which may be a number, is a string without a format
        return rest | {"type": "string"} | ({"format": "int-or-string"} if "integer" in kinds else {})
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            name = value.removeprefix(_OLD_PREFIX)
            found.append(name)
            result[key] = f"{_PREFIX}{name}"
        elif key == "type" and isinstance(value, list):
            result[key] = next(item for item in value if item != "null")
        elif key == "properties":
            result[key] = {name: _converted(item, found) for name, item in value.items()}
        elif key in ("items", "additionalProperties"):
            result[key] = _converted(value, found)
        elif key == "enum":
            # a single one is that of apiVersion and kind, which the package has added
            if len(value) > 1:
                result[key] = [item for item in value if item is not None]
        else:
            result[key] = value
    return result


def _operation(operation: Object) -> Object:
    """An operation of OpenAPI 3 as Swagger 2.0 has it."""
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    parameters: list[Object] = [
        {"name": one["name"], "in": one["in"], **one["schema"]} for one in operation["parameters"]
    ]
    if "requestBody" in operation:
        parameters.insert(0, {"name": "body", "in": "body", "required": True, "schema": schema})
    kept = {key: value for key, value in operation.items() if key.startswith("x-") or key == "operationId"}
    return kept | {"parameters": parameters, "responses": {"200": {"description": "OK", "schema": schema}}}


# Protobuf: a field is its number and wire type, then a varint or a length and bytes.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: bytes | str | bool | None) -> bytes:
    """A field; nothing for what is empty, which is a field's default."""
    if isinstance(value, bool):
        return _varint(number << 3) + b"\x01" if value else b""
    if not value:
        return b""
    return _present(number, value.encode() if isinstance(value, str) else value)


def _present(number: int, value: bytes) -> bytes:
    """A message that counts as given also if it is empty."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _many(number: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_present(number, value) for value in values)


def _named(name: str, value: bytes) -> bytes:
    return _field(1, name) + _present(2, value)


def _any(value: Any) -> bytes:
    """Any value as the YAML text of it, which JSON is."""
    return _field(2, json.dumps(value))


def _extensions(number: int, source: Mapping[str, Any]) -> bytes:
    return _many(number, (_named(key, _any(value)) for key, value in source.items() if key.startswith("x-")))


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts = [_field(1, schema.get("$ref")), _field(2, schema.get("format"))]
    parts += [_field(4, schema.get("description"))]
    parts += [_many(19, (name.encode() for name in schema.get("required", ())))]
    parts += [_many(20, (_any(value) for value in schema.get("enum", ())))]
    if isinstance(more := schema.get("additionalProperties"), dict):
        parts.append(_present(21, _present(1, _schema(more))))
    if "type" in schema:
        parts.append(_present(22, _field(1, schema["type"])))
    if "items" in schema:
        parts.append(_present(23, _present(1, _schema(schema["items"]))))
    if "properties" in schema:
        named = (_named(name, _schema(value)) for name, value in schema["properties"].items())
        parts.append(_present(25, _many(1, named)))
    return b"".join(parts) + _extensions(31, schema)


def _parameter(parameter: Mapping[str, Any]) -> bytes:
    where, name = parameter["in"], parameter["name"]
    if where == "body":
        body = (
            _field(2, name) + _field(3, where) + _field(4, True) + _present(5, _schema(parameter["schema"]))
        )
        return _present(1, _present(1, body))
    query = _field(2, where) + _field(4, name) + _field(6, parameter["type"])
    query += _field(21, bool(parameter.get("uniqueItems")))
    return _present(1, _present(2, _present(3, query)))


def _response(response: Mapping[str, Any]) -> bytes:
    body = _field(1, response["description"]) + _present(2, _present(1, _schema(response["schema"])))
    return _present(1, body)


def _path(operations: Mapping[str, Any]) -> bytes:
    parts = []
    for verb, operation in operations.items():
        responses = (_named(code, _response(value)) for code, value in operation["responses"].items())
        body = _field(5, operation["operationId"])
        body += _many(8, (_parameter(parameter) for parameter in operation["parameters"]))
        body += _present(9, _many(1, responses)) + _extensions(13, operation)
        parts.append(_present(_OPERATIONS[verb], body))
    return b"".join(parts)


def _document(document: Object) -> bytes:
    info = _field(1, document["info"]["title"]) + _field(2, document["info"]["version"])
    paths = (_named(path, _path(operations)) for path, operations in document["paths"].items())
    definitions = (_named(name, _schema(schema)) for name, schema in document["definitions"].items())
    return b"".join(
        (
            _field(1, document["swagger"]),
            _present(2, info),
            _present(8, _many(2, paths)),
            _present(9, _many(1, definitions)),
        )
    )
