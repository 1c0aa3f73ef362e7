"""Whether a node has room for what a pod requests.

Source: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from kubereach_lab.quantities import quantity

Object = dict[str, Any]


def requested(spec: Object) -> dict[str, Fraction]:
    """What a pod requests: its containers together, or the largest init container if that is more."""
    total: dict[str, Fraction] = {}
    for container in spec.get("containers") or ():
        for name, amount in _requests(container).items():
            total[name] = total.get(name, Fraction(0)) + amount
    for container in spec.get("initContainers") or ():
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, Fraction(0)), amount)
    for name, text in (spec.get("overhead") or {}).items():
        total[name] = total.get(name, Fraction(0)) + quantity(text)
    return total


def _requests(container: Object) -> dict[str, Fraction]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {name: quantity(text) for name, text in requests.items()}


def lacking(wanted: Mapping[str, Fraction], node: Object, others: Iterable[Object]) -> list[str]:
    """What a node has too little of for a pod beside `others`, in the scheduler's words; nothing if it fits."""
    room = {name: quantity(text) for name, text in node["status"].get("allocatable", {}).items()}
    count = 0
    for other in others:
        count += 1
        for name, amount in requested(other["spec"]).items():
            room[name] = room.get(name, Fraction(0)) - amount
    found = ["Too many pods"] if "pods" in room and count + 1 > room["pods"] else []
    return found + [
        f"Insufficient {name}" for name, amount in wanted.items() if amount and amount > room.get(name, 0)
    ]
