"""The three kinds of PATCH: JSON patch (RFC 6902), JSON merge patch (RFC 7396), strategic merge patch.

Strategic merge: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/
strategic-merge-patch.md. Which lists are merged, and by which key, is in the published schemas
(``x-kubernetes-patch-strategy``, ``x-kubernetes-patch-merge-key``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonpatch

from kubereach_lab.status import unprocessable
from kubereach_lab.store import copy_value

#: looks up the schema of a property: (schema of the object, name) -> schema of the property, or None
Lookup = Callable[[Any, str], Any]

_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with the merge patch applied; null removes a key, lists are replaced. `target` is not changed."""
    if not isinstance(patch, dict):
        return copy_value(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """`target` with the operations of a JSON patch applied in order. Raises `StatusError` 422."""
    try:
        # a copy, since what is added becomes part of the result
        return jsonpatch.JsonPatch(copy_value(operations)).apply(target)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        raise unprocessable() from error


def strategic_merge(target: Any, patch: Any, schema: Any, lookup: Lookup) -> Any:
    """`target` with the strategic merge patch applied. `target` is not changed.

    `schema` describes `target`; `lookup` finds the schema of one of its properties.
    """
    if not isinstance(patch, dict):
        return copy_value(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    base = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    if (retained := patch.get("$retainKeys")) is not None:
        base = {key: value for key, value in base.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVE):
            name = key[len(_DELETE_PRIMITIVE) :]
            base[name] = [item for item in base.get(name) or () if item not in value]
        if key.startswith("$"):
            continue
        if value is None:
            base.pop(key, None)
            continue
        below = lookup(schema, key)
        if isinstance(value, list):
            base[key] = _merge_list(base.get(key), value, patch.get(_ORDER + key), below, lookup)
        else:
            base[key] = strategic_merge(base.get(key), value, below, lookup)
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if name != key and name not in patch and isinstance(base.get(name), list):
            base[name] = _merge_list(base[name], [], order, lookup(schema, name), lookup)
    return base


def left_by_merging(patch: Any) -> Any:
    """What a server's refusal shows of a strategic merge patch: its merging consumes the lists whose order is given."""
    if not isinstance(patch, dict):
        return patch
    ordered = {key.removeprefix(_ORDER) for key in patch if key.startswith(_ORDER)}
    return {
        key: left_by_merging(value)
        for key, value in patch.items()
        if key not in ordered and not key.startswith(_ORDER)
    }


def _merge_key(schema: Any) -> str:
    return str(schema.get("x-kubernetes-patch-merge-key", "")) if isinstance(schema, dict) else ""


def _merge_list(
    items: Any, patch: list[Any], order: list[Any] | None, schema: Any, lookup: Lookup
) -> list[Any]:
    strategy = schema.get("x-kubernetes-patch-strategy", "") if isinstance(schema, dict) else ""
    replaced = any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch)
    if "merge" not in strategy.split(",") or replaced:
        plain = [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
        return [strategic_merge(None, item, None, lookup) for item in plain]
    key = _merge_key(schema)

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    before = [identity(item) for item in items or ()]
    merged = {identity(item): item for item in items or ()}
    for item in patch:
        name = identity(item)
        if not key:
            merged[name] = item
        elif item.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = strategic_merge(merged.get(name), item, lookup(schema, ""), lookup)
    named = [
        name for name in (identity(item) for item in (patch if order is None else order)) if name in merged
    ]
    named = list(dict.fromkeys(named))
    others = [name for name in before if name in merged and name not in named]
    return [merged[name] for name in _interleaved(others, named, before)]


def _interleaved(others: list[Any], named: list[Any], before: list[Any]) -> list[Any]:
    """Items that the patch names keep its order; the others stay in front of those that they were in front of."""
    result: list[Any] = []
    others = list(others)
    for name in named:
        if name in before:
            while others and before.index(others[0]) < before.index(name):
                result.append(others.pop(0))
        result.append(name)
    return result + others
