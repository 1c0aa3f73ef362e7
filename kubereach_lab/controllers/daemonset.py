"""DaemonSets: a pod on every node that the template allows.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach_lab.controllers.meta import Key, Object, being_deleted, name_of, owned, scaled
from kubereach_lab.controllers.placement import node_allows
from kubereach_lab.controllers.pods import active, available_in, create_pod, delete_pods, pod_from
from kubereach_lab.controllers.revisions import RevisionedController

_COMPONENT = "daemonset-controller"
_HASH = "controller-revision-hash"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSetController(RevisionedController):
    """Creates a pod for each node, bound to it by affinity."""

    resource, kind = "daemonsets", "DaemonSet"

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        if resource == "nodes":
            yield from map(name_of, self.registry.list("daemonsets"))
        yield from super().keys(verb, resource, new, old)

    def sync(self, owner: Object, digest: str) -> None:
        self._place(owner, self._nodes(owner), digest)

    def _nodes(self, daemon_set: Object) -> list[Object]:
        return [node for node in self.registry.list("nodes") if self._wanted_on(daemon_set, node)]

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
            ended = [pod for pod in here.get(name, []) if not being_deleted(pod) and not active(pod)]
            delete_pods(self.registry, daemon_set, ended, _COMPONENT)
            if not here.get(name):
                self._create(daemon_set, name, digest)
        for name, found in here.items():
            surplus = [pod for pod in found if active(pod)][(1 if name in names else 0) :]
            delete_pods(self.registry, daemon_set, surplus, _COMPONENT)
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
        create_pod(self.registry, daemon_set, pod, _COMPONENT)

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
            delete_pods(self.registry, daemon_set, [pod], _COMPONENT)

    def status(self, owner: Object, digest: str) -> Object:
        nodes = self._nodes(owner)
        names = {node["metadata"]["name"] for node in nodes}
        pods = [pod for pod in owned(self.registry, "pods", owner) if active(pod)]
        placed = [pod for pod in pods if _node_of(pod) in names]
        ready_ones, available = self.availability(owner, placed)
        status = {
            "currentNumberScheduled": len({_node_of(pod) for pod in placed}),
            "numberMisscheduled": len(pods) - len(placed),
            "desiredNumberScheduled": len(nodes),
            "numberReady": ready_ones,
            "observedGeneration": owner["metadata"]["generation"],
        }
        counts = {
            "updatedNumberScheduled": sum(pod["metadata"]["labels"].get(_HASH) == digest for pod in placed),
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
        }
        return status | {key: value for key, value in counts.items() if value}


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
