"""What controllers ask of objects: whose they are, what their conditions say, and what tells two templates apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kubereach_lab.registry import Registry
from kubereach_lab.times import now

Object = dict[str, Any]
Key = tuple[str, str]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def name_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller_of(obj: Object, kind: str) -> Key | None:
    """(namespace, name) of the controlling owner, if it is of this kind."""
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner["kind"] == kind:
            return obj["metadata"].get("namespace", ""), owner["name"]
    return None


def owner_reference(owner: Object) -> Object:
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(registry: Registry, resource: str, owner: Object) -> list[Object]:
    """Objects in the owner's namespace that it controls."""
    uid = owner["metadata"]["uid"]
    return [
        obj
        for obj in registry.iterate(resource, owner["metadata"]["namespace"])
        for reference in obj["metadata"].get("ownerReferences") or ()
        if reference["uid"] == uid and reference.get("controller")
    ]


def being_deleted(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def condition(obj: Object, kind: str) -> Object:
    """The condition of this type; empty if there is none."""
    for found in obj.get("status", {}).get("conditions") or []:
        if found["type"] == kind:
            return dict(found)
    return {}


def written_condition(obj: Object, kind: str, status: str, reason: str, message: str) -> Object:
    """The condition as it is to be written: its transition is now unless it has this status already."""
    old = condition(obj, kind)
    same = old.get("status") == status
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": old["lastTransitionTime"] if same else now(),
        "reason": reason,
        "message": message,
    }


def short_hash(value: object) -> str:
    """Ten characters that tell a template from another, in the alphabet of generated names."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """An absolute number, or a percentage of `total` rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total
    return -(-share // 100) if up else share // 100
