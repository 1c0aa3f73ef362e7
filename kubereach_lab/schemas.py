"""The published schemas of the kinds: decoding with Go's strictness, unknown fields, merge keys.

They come with the package kubernetes-validate; its code is not imported, since reading one JSON file takes a few
milliseconds and is all that is needed. Nothing is read before the first object is written through the API.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from kubereach_lab.resources import Resource
from kubereach_lab.status import bad_request

_PREFIX = "#/$defs/"
_GO_TYPES = {"int32": "int32", "int64": "int64", "double": "float64"}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def _folder(version: str) -> Path:
    """The schemas of `version` (``v1.36.2``), or of the newest version that there is."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("kubernetes-validate is not installed")
    root = Path(found.origin).parent / "kubernetes-json-schema"
    minor = ".".join(version.split(".")[:2])
    wanted = root / f"{minor}.0-local"
    return wanted if wanted.is_dir() else max(root.glob("v*-local"), key=_minor)


def _minor(folder: Path) -> int:
    return int(folder.name.split(".")[1])


@lru_cache(maxsize=1)
def definitions(version: str) -> dict[str, Any]:
    """All definitions by name, ``io.k8s.api.core.v1.Service``."""
    document: dict[str, Any] = json.loads((_folder(version) / "_definitions.json").read_bytes())
    found: dict[str, Any] = document["$defs"]
    return found


@dataclass
class Decoded:
    """What decoding found: unknown fields by path, in the order of the document."""

    unknown: list[str] = field(default_factory=list)


class Schemas:
    """Schemas of one Kubernetes version."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._kinds: dict[tuple[str, str, str], str] = {}

    @property
    def definitions(self) -> dict[str, Any]:
        return definitions(self._version)

    def name_of(self, group: str, version: str, kind: str) -> str | None:
        """The name of the definition of a kind."""
        if not self._kinds:
            for name, schema in self.definitions.items():
                gvks: list[Any] = schema.get("x-kubernetes-group-version-kind") or []
                if len(gvks) == 1:
                    gvk = gvks[0]
                    self._kinds[gvk["group"], gvk["version"], gvk["kind"]] = name
        return self._kinds.get((group, version, kind))

    def of(self, resource: Resource) -> Any:
        """The schema of a resource's kind, or None."""
        name = self.name_of(resource.group, resource.version, resource.kind)
        return self.definitions[name] if name else None

    def lookup(self, schema: Any, name: str) -> Any:
        """The schema of a property, or of the items of a list if `name` is empty; None if unknown."""
        schema = self.resolve(schema)
        if not isinstance(schema, dict):
            return None
        if not name:
            return self.resolve(schema.get("items"))
        found = (schema.get("properties") or {}).get(name)
        if found is None:
            return None
        resolved = self.resolve(found)
        return {**resolved, **found} if "$ref" in found else found

    def resolve(self, schema: Any) -> Any:
        while isinstance(schema, dict) and "$ref" in schema:
            schema = self.definitions[schema["$ref"].removeprefix(_PREFIX)]
        return schema

    def decode(self, resource: Resource, obj: dict[str, Any]) -> Decoded:
        """Takes unknown fields out of `obj`, in place, and lists them.

        Raises `StatusError` 400 for a value of the wrong type, in the words of Go's decoder.
        """
        decoded = Decoded()
        name = self.name_of(resource.group, resource.version, resource.kind)
        if name is not None:
            walk = _Walk(self, resource, decoded)
            walk.object(obj, self.definitions[name], resource.kind, "", "")
        return decoded


class _Walk:
    def __init__(self, schemas: Schemas, resource: Resource, decoded: Decoded) -> None:
        self.schemas = schemas
        self.resource = resource
        self.decoded = decoded

    def object(self, obj: dict[str, Any], schema: Any, owner: str, path: str, go_path: str) -> None:
        properties = schema.get("properties")
        if properties is None:
            return
        for key in list(obj):
            below = properties.get(key)
            where = f"{path}.{key}" if path else key
            if below is None:
                # what a server writes and a client sends back
                if key not in ("apiVersion", "kind"):
                    self.decoded.unknown.append(where)
                    del obj[key]
            elif obj[key] is not None:
                self.value(obj[key], below, owner, where, f"{go_path}.{key}" if go_path else key)

    def value(self, value: Any, schema: Any, owner: str, path: str, go_path: str) -> None:
        if "$ref" in schema:
            reference = schema["$ref"].removeprefix(_PREFIX)
            schema = self.schemas.definitions[reference]
            if "properties" in schema:
                owner = reference.rpartition(".")[2]
        if "oneOf" in schema:
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                raise self.wrong(value, owner, go_path, "intstr.IntOrString")
            return
        types = schema.get("type")
        if types is None:
            return
        expected = types if isinstance(types, str) else next(t for t in types if t != "null")
        if expected == "object":
            if not isinstance(value, dict):
                raise self.wrong(value, owner, go_path, f"v1.{owner}")
            if "properties" in schema:
                self.object(value, schema, owner, path, go_path)
            elif isinstance(schema.get("additionalProperties"), dict):
                for key, item in value.items():
                    if item is not None:
                        self.value(item, schema["additionalProperties"], owner, f"{path}.{key}", go_path)
        elif expected == "array":
            if not isinstance(value, list):
                raise self.wrong(value, owner, go_path, "[]" + _go_item(schema.get("items") or {}))
            items = schema.get("items")
            for i, item in enumerate(value):
                if items is not None and item is not None:
                    self.value(item, items, owner, f"{path}[{i}]", go_path)
        elif not _fits(value, expected):
            go_type = _GO_TYPES.get(schema.get("format", ""), {"boolean": "bool"}.get(expected, expected))
            raise self.wrong(value, owner, go_path, "int64" if go_type == "integer" else go_type)

    def wrong(self, value: Any, owner: str, go_path: str, go_type: str) -> Exception:
        kind, version = self.resource.kind, self.resource.api_version
        text = f"json: cannot unmarshal {_json_kind(value)} into Go struct field {owner}.{go_path} of type {go_type}"
        return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {text}')


def _fits(value: Any, expected: str) -> bool:
    if expected == "string":
        return isinstance(value, str)
    if expected == "boolean":
        return isinstance(value, bool)
    if expected == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _go_item(items: dict[str, Any]) -> str:
    reference = items.get("$ref", "")
    return f"v1.{reference.rpartition('.')[2]}" if reference else "string"
