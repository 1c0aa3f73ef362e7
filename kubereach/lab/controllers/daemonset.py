"""DaemonSets: a pod on every node that the template allows.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.lab.controllers.base import (
    Controller,
    Key,
    Object,
    active,
    available_in,
    being_deleted,
    controller_of,
    name_of,
    owned,
    pod_from,
    scaled,
    short_hash,
)
from kubereach.lab.controllers.placement import node_allows
from kubereach.lab.controllers.revisions import record_revision

_HASH = "controller-revision-hash"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSetController(Controller):
    """Creates a pod for each node, bound to it by affinity."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "daemonsets":
            yield name_of(new)
        elif resource == "nodes":
            for daemon_set in self.registry.list("daemonsets"):
                yield name_of(daemon_set)
        elif resource == "pods" and (key := controller_of(new, "DaemonSet")):
            yield key

    def reconcile(self, namespace: str, name: str) -> None:
        daemon_set = self.registry.find("daemonsets", namespace, name)
        if daemon_set is None:
            return
        digest = short_hash(daemon_set["spec"]["template"])
        nodes = [node for node in self.registry.list("nodes") if self._wanted_on(daemon_set, node)]
        if not being_deleted(daemon_set):
            record_revision(self.registry, daemon_set, f"{name}-{digest}")
            self._place(daemon_set, nodes, digest)
        self._report(daemon_set, nodes, digest)

    def _wanted_on(self, daemon_set: Object, node: Object) -> bool:
        spec = daemon_set["spec"]["template"]["spec"]
        tolerations = [*(spec.get("tolerations") or []), *_tolerations()]
        return not node_allows({**spec, "tolerations": tolerations}, node)

    def _place(self, daemon_set: Object, nodes: list[Object], digest: str) -> None:
        pods = owned(self.registry, "pods", daemon_set)
        here: dict[str, list[Object]] = {}
        for pod in pods:
            here.setdefault(_node_of(pod), []).append(pod)
        names = {node["metadata"]["name"] for node in nodes}
        for name in names:
            for pod in here.get(name, []):
                if not being_deleted(pod) and pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                    self.registry.delete("pods", *name_of(pod))
            if not here.get(name):
                self._create(daemon_set, name, digest)
        for name, found in here.items():
            surplus = [pod for pod in found if active(pod)][(1 if name in names else 0) :]
            for pod in surplus:
                self.registry.delete("pods", *name_of(pod))
        self._update(daemon_set, [p for p in pods if _node_of(p) in names], len(nodes), digest)

    def _create(self, daemon_set: Object, node: str, digest: str) -> None:
        labels = {_HASH: digest, "pod-template-generation": str(daemon_set["metadata"]["generation"])}
        pod = pod_from(daemon_set, labels)
        pod["metadata"]["generateName"] = f"{daemon_set['metadata']['name']}-"
        spec = pod["spec"]
        affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchFields": [field]}]
        }
        spec["tolerations"] = [*(spec.get("tolerations") or []), *_tolerations(bool(spec.get("hostNetwork")))]
        self.registry.create("pods", pod)

    def _update(self, daemon_set: Object, pods: list[Object], total: int, digest: str) -> None:
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        most = scaled((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), total, up=True)
        seconds = daemon_set["spec"].get("minReadySeconds", 0)
        serving = [
            p for p in pods if active(p) and (wait := available_in(p, seconds)) is not None and wait <= 0
        ]
        allowed = max(most, 1) - (total - len(serving))
        for pod in pods:
            if pod["metadata"]["labels"].get(_HASH) == digest or being_deleted(pod):
                continue
            if pod in serving:
                if allowed <= 0:
                    continue
                allowed -= 1
            self.registry.delete("pods", *name_of(pod))

    def _report(self, daemon_set: Object, nodes: list[Object], digest: str) -> None:
        names = {node["metadata"]["name"] for node in nodes}
        pods = [pod for pod in owned(self.registry, "pods", daemon_set) if active(pod)]
        placed = [pod for pod in pods if _node_of(pod) in names]
        seconds = daemon_set["spec"].get("minReadySeconds", 0)
        waits = [available_in(pod, seconds) for pod in placed]
        soon = [wait for wait in waits if wait is not None and wait > 0]
        if soon:
            self.enqueue_later(name_of(daemon_set), min(soon))
        available = sum(wait is not None and wait <= 0 for wait in waits)
        status = {
            "currentNumberScheduled": len({_node_of(pod) for pod in placed}),
            "numberMisscheduled": len(pods) - len(placed),
            "desiredNumberScheduled": len(nodes),
            "numberReady": sum(wait is not None for wait in waits),
            "observedGeneration": daemon_set["metadata"]["generation"],
        }
        updated = sum(pod["metadata"]["labels"].get(_HASH) == digest for pod in placed)
        counts = {
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
        }
        status |= {key: value for key, value in counts.items() if value}
        self.registry.update(
            "daemonsets", *name_of(daemon_set), lambda o: o.update(status=status), subresource="status"
        )


def _node_of(pod: Object) -> str:
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


def _tolerations(host_network: bool = True) -> list[Object]:
    found = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED]
    if host_network:
        found.append(
            {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}
        )
    return found
