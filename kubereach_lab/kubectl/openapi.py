"""``/openapi/v3``: the part that kubectl looks at.

create and apply look for the PATCH operation of the kind and its parameter ``fieldValidation``, explain and the
three-way merge of apply read the schemas. The documents are made from the published schemas when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from kubereach_lab.config import LabConfig
from kubereach_lab.resources import Resource, groups
from kubereach_lab.schemas import Schemas
from kubereach_lab.status import Object

_PREFIX = "#/$defs/"
_COMPONENT = "#/components/schemas/"


def index(config: LabConfig) -> Object:
    """The paths of the documents; the hash lets clients keep them."""
    digest = hashlib.sha256(config.version.encode()).hexdigest()[:32].upper()
    paths = {}
    for name, served in groups(config.minor).items():
        for version_name in served:
            path = f"apis/{name}/{version_name}" if name else f"api/{version_name}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


class Documents:
    """The documents, made once each."""

    def __init__(self, schemas: Schemas, config: LabConfig) -> None:
        self._schemas = schemas
        self._config = config
        self.document = lru_cache(maxsize=None)(self._document)

    def _document(self, group: str, version: str) -> bytes | None:
        """The document of a group and version as JSON; None if it is not served."""
        resources = groups(self._config.minor).get(group, {}).get(version)
        if resources is None:
            return None
        needed: dict[str, Any] = {}
        paths: dict[str, Any] = {}
        for resource in resources:
            name = self._schemas.name_of(resource.group, resource.version, resource.kind)
            if name is None:
                continue
            self._collect(name, needed)
            for path, operations in _operations(resource, f"{_COMPONENT}{name}"):
                paths[path] = operations
        major_minor = ".".join(self._config.version.removeprefix("v").split(".")[:2])
        document = {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": major_minor},
            "paths": paths,
            "components": {"schemas": needed},
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def _collect(self, name: str, needed: dict[str, Any]) -> None:
        if name in needed:
            return
        needed[name] = {}
        found: list[str] = []
        needed[name] = _converted(self._schemas.definitions[name], found)
        for reference in found:
            self._collect(reference, needed)


def _converted(schema: Any, found: list[str]) -> Any:
    """A JSON Schema definition as OpenAPI 3.0 has it: no ``null`` among types, references below components."""
    if isinstance(schema, list):
        return [_converted(item, found) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            name = value.removeprefix(_PREFIX)
            found.append(name)
            # a reference with neighbours is wrapped, since OpenAPI 3.0 ignores the neighbours
            if len(schema) == 1:
                return {"$ref": f"{_COMPONENT}{name}"}
            result["allOf"] = [{"$ref": f"{_COMPONENT}{name}"}]
        elif key == "type" and isinstance(value, list):
            result["type"] = next(item for item in value if item != "null")
        elif key == "properties":
            result["properties"] = {name: _converted(item, found) for name, item in value.items()}
        elif key == "enum" and len(value) == 1:
            # of apiVersion and kind: an addition of the package's, for those who validate files
            continue
        else:
            result[key] = _converted(value, found)
    return result


def _operations(resource: Resource, reference: str) -> Iterator[tuple[str, Object]]:
    """The paths of a resource, each with its operations by verb, as OpenAPI 3 has them."""
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    schema = {"schema": {"$ref": reference}}

    def operation(action: str, parameters: tuple[str, ...], *, body: bool) -> Object:
        entry: Object = {
            "operationId": f"{action}{resource.kind}",
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "parameters": [
                {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                for name in parameters
            ],
            "responses": {"200": {"description": "OK", "content": {"application/json": schema}}},
        }
        if body:
            entry["requestBody"] = {"content": {"application/json": schema}}
        return entry

    write = ("dryRun", "fieldManager", "fieldValidation")
    base = f"{resource.base_path}/namespaces/{{namespace}}" if resource.namespaced else resource.base_path
    collection: Object = {}
    if "list" in resource.verbs:
        collection["get"] = operation(
            "list", ("fieldSelector", "labelSelector", "limit", "watch"), body=False
        )
    if "create" in resource.verbs:
        collection["post"] = operation("post", write, body=True)
    yield f"{base}/{resource.name}", collection
    if "get" in resource.verbs:
        yield (
            f"{base}/{resource.name}/{{name}}",
            {
                "get": operation("get", (), body=False),
                "put": operation("put", write, body=True),
                "patch": operation("patch", (*write, "force"), body=True),
                "delete": operation(
                    "delete", ("dryRun", "gracePeriodSeconds", "propagationPolicy"), body=False
                ),
            },
        )
