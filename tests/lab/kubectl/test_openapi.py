"""The schemas that `kubectl explain` and `kubectl apply` read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab_access import LabAccess


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for below in value.values():
            yield from references(below)
    elif isinstance(value, list):
        for below in value:
            yield from references(below)


def test_openapi_v3_is_whole(lab: LabAccess) -> None:
    paths = lab.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"} <= paths.keys()
    for path, entry in paths.items():
        document = lab.get(entry["serverRelativeURL"])
        schemas = document.get("components", {}).get("schemas", {})
        wanted = {ref.removeprefix("#/components/schemas/") for ref in references(document)}
        assert wanted <= schemas.keys(), path
        for operations in document["paths"].values():
            if "patch" in operations:
                names = {parameter["name"] for parameter in operations["patch"]["parameters"]}
                assert "fieldValidation" in names
