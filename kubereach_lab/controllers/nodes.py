"""Taints of cordoned nodes: ``spec.unschedulable`` and the taint of that name go together.

Source: https://kubernetes.io/docs/concepts/architecture/nodes/#manual-node-administration
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, name_of
from kubereach_lab.times import now

_KEY = "node.kubernetes.io/unschedulable"


class CordonController(Controller):
    """Adds the taint to nodes that are cordoned, and takes it from those that are not."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        if resource == "nodes" and verb != "DELETED" and _differs(new):
            yield name_of(new)

    def reconcile(self, namespace: str, name: str) -> None:
        node = self.registry.find("nodes", None, name)
        if node is not None and _differs(node):
            self.registry.update("nodes", None, name, _write)


def _tainted(node: Object) -> bool:
    return any(taint["key"] == _KEY for taint in node["spec"].get("taints") or [])


def _differs(node: Object) -> bool:
    return _tainted(node) != bool(node["spec"].get("unschedulable"))


def _write(node: Object) -> None:
    taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != _KEY]
    if node["spec"].get("unschedulable"):
        taints.append({"key": _KEY, "effect": "NoSchedule", "timeAdded": now()})
    if taints:
        node["spec"]["taints"] = taints
    else:
        node["spec"].pop("taints", None)
