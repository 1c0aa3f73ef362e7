"""Which nodes a pod may run on.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def node_allows(spec: Object, node: Object) -> str:
    """ "" if a pod with this spec may be put on the node, or why not, in the scheduler's words."""
    for taint in _taints(node):
        if not any(_tolerates(toleration, taint) for toleration in spec.get("tolerations") or []):
            if taint["key"] == "node.kubernetes.io/unschedulable":
                return "node(s) were unschedulable"
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required and not any(_term(term, node) for term in required["nodeSelectorTerms"]):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _taints(node: Object) -> list[Object]:
    found = [
        t for t in node.get("spec", {}).get("taints") or [] if t["effect"] in ("NoSchedule", "NoExecute")
    ]
    if node.get("spec", {}).get("unschedulable"):
        found.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return found


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if not toleration.get("key"):
        return bool(toleration.get("operator") == "Exists")
    if toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _term(term: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    expressions, matched_fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    return bool(expressions or matched_fields) and (
        all(_expression(e, labels) for e in expressions)
        and all(_expression(e, fields) for e in matched_fields)
    )


def _expression(expression: Object, labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    try:
        number = int(labels[key])
    except (KeyError, ValueError):
        return False
    return number > int(values[0]) if operator == "Gt" else number < int(values[0])
