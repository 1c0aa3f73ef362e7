"""Tables: what ``kubectl get`` prints, made by the server (KEP-58 server-side printing)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubereach_lab.kubectl.columns import COLUMNS, Column, Printer
from kubereach_lab.partial import partial_metadata
from kubereach_lab.resources import Resource
from kubereach_lab.status import Object

_NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
_CREATED = Column("Created At", description="CreationTimestamp is a timestamp representing the server time.")


def _default_row(obj: Object) -> list[Any]:
    metadata = obj["metadata"]
    return [metadata["name"], metadata.get("creationTimestamp", "<unknown>")]


_DEFAULT = Printer((_NAME, _CREATED), _default_row)


def table(
    resource: Resource,
    items: list[Object],
    metadata: Object,
    version: str,
    query: Mapping[str, str],
    *,
    with_columns: bool = True,
) -> Object:
    """A Table of `items`. `query` may hold includeObject: None, Metadata (the default) or Object."""
    printer = COLUMNS.get(resource.name, _DEFAULT)
    included = query.get("includeObject", "Metadata")
    rows: list[Object] = []
    for obj in items:
        shown: Any = None
        if included == "Object":
            shown = obj
        elif included != "None":
            shown = partial_metadata(obj, version)
        conditions = printer.conditions(obj)
        rows.append(
            {
                "cells": printer.row(obj),
                **({"conditions": conditions} if conditions else {}),
                "object": shown,
            }
        )
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": [column.as_dict() for column in printer.columns] if with_columns else None,
        "rows": rows,
    }


def empty_table(resource: Resource, obj: Object, version: str) -> Object:
    """A bookmark in a watch of Tables: one row that only carries `obj`, whose metadata is the bookmark."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]},
        "columnDefinitions": None,
        "rows": [
            {
                "cells": [None] * len(COLUMNS.get(resource.name, _DEFAULT).columns),
                "object": partial_metadata(obj, version),
            }
        ],
    }
