"""ReplicaSets: as many pods as asked for.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import (
    Key,
    Object,
    being_deleted,
    condition,
    controller_of,
    name_of,
    owned,
    owner_reference,
)
from kubereach_lab.controllers.pods import active, create_pods, delete_pods, ready
from kubereach_lab.registry import Registry
from kubereach_lab.selectors import matches_selector

_COMPONENT = "replicaset-controller"


class ReplicaSetController(Controller):
    """Creates, adopts and deletes pods."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        #: uid of a pod -> which one it was, for those whose times fall into the same second
        self._made: dict[str, int] = {}
        self._count = 0

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        if resource == "pods" and verb == "ADDED":
            self._count += 1
            self._made[new["metadata"]["uid"]] = self._count
        elif resource == "pods" and verb == "DELETED":
            self._made.pop(new["metadata"]["uid"], None)
        if resource == "replicasets":
            yield name_of(new)
        elif resource == "pods":
            for pod in (new, old):
                if pod is not None and (key := controller_of(pod, "ReplicaSet")):
                    yield key
            if not new["metadata"].get("ownerReferences"):
                labels = new["metadata"].get("labels") or {}
                for found in self.registry.list("replicasets", new["metadata"]["namespace"]):
                    if matches_selector(found["spec"]["selector"], labels):
                        yield name_of(found)

    def reconcile(self, namespace: str, name: str) -> None:
        replica_set = self.registry.find("replicasets", namespace, name)
        if replica_set is None:
            return
        if not being_deleted(replica_set):
            self._adopt(replica_set)
            self._scale(replica_set)
        self._report(replica_set)

    def _adopt(self, replica_set: Object) -> None:
        selector = replica_set["spec"]["selector"]
        for pod in self.registry.list("pods", replica_set["metadata"]["namespace"], where=active):
            if not pod["metadata"].get("ownerReferences") and matches_selector(
                selector, pod["metadata"].get("labels") or {}
            ):
                self.registry.update(
                    "pods",
                    *name_of(pod),
                    lambda p: p["metadata"].update(ownerReferences=[owner_reference(replica_set)]),
                )

    def _scale(self, replica_set: Object) -> None:
        pods = owned(self.registry, "pods", replica_set)
        selector = replica_set["spec"]["selector"]
        for pod in pods:
            if active(pod) and not matches_selector(selector, pod["metadata"].get("labels") or {}):
                self.registry.update(  # relabelled: it is let go
                    "pods", *name_of(pod), lambda p: p["metadata"].pop("ownerReferences", None)
                )
        pods = [
            pod
            for pod in pods
            if active(pod) and matches_selector(selector, pod["metadata"].get("labels") or {})
        ]
        missing = replica_set["spec"]["replicas"] - len(pods)
        create_pods(self.registry, replica_set, missing, _COMPONENT)
        if missing < 0:
            pods.sort(key=lambda pod: self._worth(pod, pods))
            delete_pods(self.registry, replica_set, pods[:-missing], _COMPONENT)

    def _worth(self, pod: Object, pods: list[Object]) -> tuple[object, ...]:
        """The order in which pods go when there are too many, the first one first.

        Those that serve nobody, then those on nodes with more of them, then those that are ready or exist for the
        shortest time (ActivePodsWithRanks of pkg/controller/controller_utils.go).
        """
        node = pod["spec"].get("nodeName", "")
        cost = int(
            (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
        )
        phases = ("Pending", "Unknown", "Running")
        phase = pod.get("status", {}).get("phase", "Pending")
        return (
            bool(node),
            phases.index(phase) if phase in phases else 0,
            ready(pod),
            cost,
            -sum(other["spec"].get("nodeName") == node and ready(other) for other in pods),
            _reversed(condition(pod, "Ready").get("lastTransitionTime", "")) if ready(pod) else (),
            -max(
                (c["restartCount"] for c in pod.get("status", {}).get("containerStatuses") or []), default=0
            ),
            _reversed(pod["metadata"]["creationTimestamp"]),
            -self._made.get(pod["metadata"]["uid"], 0),
        )

    def _report(self, replica_set: Object) -> None:
        pods = owned(self.registry, "pods", replica_set)
        current = [pod for pod in pods if active(pod)]
        template = replica_set["spec"]["template"]["metadata"].get("labels") or {}
        ready_ones, available = self.availability(replica_set, current)
        labelled = [p for p in current if template.items() <= (p["metadata"].get("labels") or {}).items()]
        counts = {
            "replicas": len(current),
            "fullyLabeledReplicas": len(labelled),
            "readyReplicas": ready_ones,
            "availableReplicas": available,
        }
        status = {key: value for key, value in counts.items() if value or key == "replicas"}
        status["terminatingReplicas"] = sum(being_deleted(pod) for pod in pods)
        status["observedGeneration"] = replica_set["metadata"]["generation"]
        self.write_status("replicasets", replica_set, status)


def _reversed(stamp: str) -> tuple[int, ...]:
    """Sorts later times first."""
    return tuple(-ord(character) for character in stamp)
