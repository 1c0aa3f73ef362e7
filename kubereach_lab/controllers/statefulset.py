"""StatefulSets: pods with names that last, one after the other or all at once.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from kubereach_lab.controllers.meta import Object, being_deleted, name_of, owned
from kubereach_lab.controllers.pods import pod_from, ready
from kubereach_lab.controllers.revisions import RevisionedController

_HASH = "controller-revision-hash"


class StatefulSetController(RevisionedController):
    """Creates pods name-0, name-1, ... and replaces them from the highest down."""

    resource, kind = "statefulsets", "StatefulSet"

    def sync(self, owner: Object, digest: str) -> None:
        stateful_set, revision = owner, _revision(owner, digest)
        spec = stateful_set["spec"]
        name = stateful_set["metadata"]["name"]
        start = (spec.get("ordinals") or {}).get("start", 0)
        pods = {pod["metadata"]["name"]: pod for pod in owned(self.registry, "pods", stateful_set)}
        wanted = [f"{name}-{ordinal}" for ordinal in range(start, start + spec["replicas"])]
        parallel = spec.get("podManagementPolicy") == "Parallel"
        for ordinal, pod_name in enumerate(wanted, start):
            pod = pods.get(pod_name)
            if pod is None:
                self._create(stateful_set, pod_name, ordinal, revision)
            elif not being_deleted(pod) and pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                self._delete(stateful_set, pod)
            if not parallel and not (pod is not None and ready(pod) and not being_deleted(pod)):
                return  # the next one waits for this one
        extra = sorted((n for n in pods if n not in wanted), key=_ordinal, reverse=True)
        for pod_name in extra if parallel else extra[:1]:
            if not being_deleted(pods[pod_name]):
                self._delete(stateful_set, pods[pod_name])
        if not extra:
            self._update(stateful_set, [pods[n] for n in wanted if n in pods], revision)

    def _create(self, stateful_set: Object, name: str, ordinal: int, revision: str) -> None:
        labels = {
            _HASH: revision,
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        pod = pod_from(stateful_set, labels)
        pod["metadata"]["name"] = name
        pod["metadata"]["generateName"] = f"{stateful_set['metadata']['name']}-"
        pod["spec"]["hostname"] = name
        if stateful_set["spec"].get("serviceName"):
            pod["spec"]["subdomain"] = stateful_set["spec"]["serviceName"]
        self._record_success(stateful_set, "create", self.registry.create("pods", pod))

    def _update(self, stateful_set: Object, pods: list[Object], revision: str) -> None:
        strategy = stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        for pod in sorted(pods, key=lambda p: _ordinal(p["metadata"]["name"]), reverse=True):
            if being_deleted(pod):
                return
            if _ordinal(pod["metadata"]["name"]) < partition:
                return
            if pod["metadata"]["labels"].get(_HASH) != revision:
                self._delete(stateful_set, pod)
                return
            if not ready(pod):
                return

    def status(self, owner: Object, digest: str) -> Object:
        revision = _revision(owner, digest)
        pods = owned(self.registry, "pods", owner)
        ready_ones, available = self.availability(owner, pods)
        updated = [pod for pod in pods if pod["metadata"]["labels"].get(_HASH) == revision]
        current = owner.get("status", {}).get("currentRevision") or revision
        if len(updated) == owner["spec"]["replicas"] and all(ready(p) for p in updated):
            current = revision
        status = {"observedGeneration": owner["metadata"]["generation"], "replicas": len(pods)}
        counts = {
            "readyReplicas": ready_ones,
            "currentReplicas": sum(pod["metadata"]["labels"].get(_HASH) == current for pod in pods),
            "updatedReplicas": len(updated),
        }
        status |= {key: value for key, value in counts.items() if value}
        status |= {"currentRevision": current, "updateRevision": revision, "collisionCount": 0}
        status["availableReplicas"] = available
        return status

    def _delete(self, stateful_set: Object, pod: Object) -> None:
        self.registry.delete("pods", *name_of(pod))
        self._record_success(stateful_set, "delete", pod)

    def _record_success(self, stateful_set: Object, verb: str, pod: Object) -> None:
        name = stateful_set["metadata"]["name"]
        message = f"{verb} Pod {pod['metadata']['name']} in StatefulSet {name} successful"
        self.registry.events.record(
            stateful_set, "Normal", f"Successful{verb.capitalize()}", message, "statefulset-controller"
        )


def _revision(stateful_set: Object, digest: str) -> str:
    return f"{stateful_set['metadata']['name']}-{digest}"


def _ordinal(name: str) -> int:
    return int(name.rsplit("-", 1)[1])
