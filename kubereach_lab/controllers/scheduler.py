"""Binds pods to nodes: those that may, then the one with the fewest of the pod's siblings.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.fitting import lacking, requested
from kubereach_lab.controllers.meta import Key, Object, name_of
from kubereach_lab.controllers.placement import node_allows
from kubereach_lab.controllers.pods import active
from kubereach_lab.selectors import matches_selector
from kubereach_lab.times import now

#: what is the cluster's own has its place
_SYSTEM = "kube-system"


class Scheduler(Controller):
    """Puts each new pod on a node, or says why it cannot."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del old
        if resource == "pods":
            if verb != "DELETED" and not new["spec"].get("nodeName"):
                yield name_of(new)
            elif verb == "DELETED":
                yield from self._waiting()
        elif resource == "nodes":
            yield from self._waiting()

    def _waiting(self) -> Iterable[Key]:
        return [
            name_of(pod) for pod in self.registry.list("pods", where=lambda p: not p["spec"].get("nodeName"))
        ]

    def reconcile(self, namespace: str, name: str) -> None:
        pod = self.registry.find("pods", namespace, name)
        if pod is None or pod["spec"].get("nodeName") or not active(pod):
            return
        if pod["spec"].get("schedulerName", "default-scheduler") != "default-scheduler":
            return
        if pod["spec"].get("schedulingGates"):
            return
        nodes = self.registry.list("nodes")
        pods = self.registry.list("pods", where=lambda p: active(p) and bool(p["spec"].get("nodeName")))
        refusals: Counter[str] = Counter()
        wanted, fitting = requested(pod["spec"]), []
        for node in nodes:
            reasons = [node_allows(pod["spec"], node) or _anti_affinity(pod, node, pods)]
            if not reasons[0]:
                here = (p for p in pods if p["spec"]["nodeName"] == node["metadata"]["name"])
                reasons = lacking(wanted, node, here)
            if self.registry.config.faults.node.full and namespace != _SYSTEM:
                reasons = ["Insufficient cpu"]
            refusals.update(reasons)
            if not reasons:
                fitting.append(node)
        if fitting:
            self._bind(pod, self._best(pod, fitting, pods))
        else:
            self._refuse(pod, len(nodes), refusals)

    @staticmethod
    def _best(pod: Object, nodes: list[Object], pods: list[Object]) -> str:
        owners = {o["uid"] for o in pod["metadata"].get("ownerReferences") or []}
        labels = pod["metadata"].get("labels") or {}

        def load(node: Object) -> tuple[int, int, str]:
            here = [p for p in pods if p["spec"]["nodeName"] == node["metadata"]["name"]]
            siblings = 0
            for other in here:
                same_owner = any(o["uid"] in owners for o in other["metadata"].get("ownerReferences") or [])
                siblings += same_owner or (bool(labels) and other["metadata"].get("labels") == labels)
            return siblings, len(here), node["metadata"]["name"]

        return str(min(nodes, key=load)["metadata"]["name"])

    def _bind(self, pod: Object, node: str) -> None:
        self.registry.update("pods", *name_of(pod), lambda p: p["spec"].update(nodeName=node))

        def scheduled(obj: Object) -> None:
            conditions = obj["status"].setdefault("conditions", [])
            conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
            conditions.append(
                {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
            )

        bound = self.registry.update("pods", *name_of(pod), scheduled, subresource="status")
        message = f"Successfully assigned {'/'.join(name_of(pod))} to {node}"
        self.registry.events.record(bound, "Normal", "Scheduled", message, "default-scheduler")

    def _refuse(self, pod: Object, nodes: int, refusals: Counter[str]) -> None:
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(refusals.items()))
        message = f"0/{nodes} nodes are available: {reasons}. no new claims to deallocate, preemption: 0/{nodes} nodes"
        message += " are available: " + f"{nodes} Preemption is not helpful for scheduling."

        def unschedulable(obj: Object) -> None:
            conditions = obj["status"].setdefault("conditions", [])
            old: Object = next((c for c in conditions if c["type"] == "PodScheduled"), {})
            conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
            conditions.append(
                {
                    "type": "PodScheduled",
                    "observedGeneration": obj["metadata"].get("generation", 1),
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": old.get("lastTransitionTime", now()),
                    "reason": "Unschedulable",
                    "message": message,
                }
            )

        before = pod["metadata"]["resourceVersion"]
        after = self.registry.update("pods", *name_of(pod), unschedulable, subresource="status")
        if after["metadata"]["resourceVersion"] != before:
            self.registry.events.record(after, "Warning", "FailedScheduling", message, "default-scheduler")


def _anti_affinity(pod: Object, node: Object, pods: list[Object]) -> str:
    """Required pod anti-affinity, of the pod against those on the nodes of its topology."""
    rules = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or []
    for rule in rules:
        key = rule["topologyKey"]
        here = (node["metadata"].get("labels") or {}).get(key)
        spaces = rule.get("namespaces") or [pod["metadata"]["namespace"]]
        for other in pods:
            if other["metadata"]["namespace"] not in spaces:
                continue
            if key == "kubernetes.io/hostname" and other["spec"]["nodeName"] != here:
                continue
            if matches_selector(rule.get("labelSelector") or {}, other["metadata"].get("labels") or {}):
                return "node(s) didn't match pod anti-affinity rules"
    return ""
