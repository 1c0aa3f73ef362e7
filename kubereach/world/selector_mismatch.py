"""Why a selector finds no pods: which pods come nearest to it, and which of their labels differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubereach.kube.client import Object

#: pods that are told of
_MOST = 3


def differences(selector: Mapping[str, str], pods: Iterable[Object]) -> list[str]:
    """A line for each of the pods that come nearest to `selector`: ``pod web-1: app is web, not wbe``.

    Pods that differ in the same way are told of once, with their number. Nothing if a pod matches, and a line that says
    so when no pod has any of the keys.
    """
    differing: dict[tuple[str, ...], list[str]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        wrong = tuple(
            f"{key} is {labels[key]}, not {value}" if key in labels else f"{key} is missing, not {value}"
            for key, value in sorted(selector.items())
            if labels.get(key) != value
        )
        if not wrong:
            return []
        if any(key in labels for key in selector):
            differing.setdefault(wrong, []).append(str(pod["metadata"]["name"]))
    if not differing:
        return [f"no pod of the namespace has a label {' or '.join(sorted(selector))}"]
    # nearest first: fewest labels that differ, and of those rather a wrong value than none
    nearest = sorted(differing, key=lambda wrong: (len(wrong), sum("is missing" in one for one in wrong)))
    return [f"{_pods(differing[wrong])}: {'; '.join(wrong)}" for wrong in nearest[:_MOST]]


def _pods(names: list[str]) -> str:
    more = f" and {len(names) - 1} like it" if len(names) > 1 else ""
    return f"pod {min(names)}{more}"
