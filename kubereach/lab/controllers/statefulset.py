"""StatefulSets: pods with names that last, one after the other or all at once.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.lab.controllers.base import (
    Controller,
    Key,
    Object,
    available_in,
    being_deleted,
    controller_of,
    name_of,
    owned,
    pod_from,
    ready,
    short_hash,
)
from kubereach.lab.controllers.revisions import record_revision

_HASH = "controller-revision-hash"


class StatefulSetController(Controller):
    """Creates pods name-0, name-1, ... and replaces them from the highest down."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "statefulsets":
            yield name_of(new)
        elif resource == "pods" and (key := controller_of(new, "StatefulSet")):
            yield key

    def reconcile(self, namespace: str, name: str) -> None:
        stateful_set = self.registry.find("statefulsets", namespace, name)
        if stateful_set is None:
            return
        revision = f"{name}-{short_hash(stateful_set['spec']['template'])}"
        if not being_deleted(stateful_set):
            record_revision(self.registry, stateful_set, revision)
            self._scale(stateful_set, revision)
        self._report(stateful_set, revision)

    def _scale(self, stateful_set: Object, revision: str) -> None:
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
                self.registry.delete("pods", *name_of(pod))
            if not parallel and not (pod is not None and ready(pod) and not being_deleted(pod)):
                return  # the next one waits for this one
        extra = sorted((n for n in pods if n not in wanted), key=_ordinal, reverse=True)
        for pod_name in extra if parallel else extra[:1]:
            if not being_deleted(pods[pod_name]):
                self.registry.delete("pods", *name_of(pods[pod_name]))
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
        self.registry.create("pods", pod)

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
                self.registry.delete("pods", *name_of(pod))
                return
            if not ready(pod):
                return

    def _report(self, stateful_set: Object, revision: str) -> None:
        pods = owned(self.registry, "pods", stateful_set)
        seconds = stateful_set["spec"].get("minReadySeconds", 0)
        waits = [available_in(pod, seconds) for pod in pods]
        updated = [pod for pod in pods if pod["metadata"]["labels"].get(_HASH) == revision]
        old_status = stateful_set.get("status", {})
        current = old_status.get("currentRevision") or revision
        if len(updated) == stateful_set["spec"]["replicas"] and all(ready(p) for p in updated):
            current = revision
        status = {"observedGeneration": stateful_set["metadata"]["generation"], "replicas": len(pods)}
        counts = {
            "readyReplicas": sum(wait is not None for wait in waits),
            "currentReplicas": sum(pod["metadata"]["labels"].get(_HASH) == current for pod in pods),
            "updatedReplicas": len(updated),
        }
        status |= {key: value for key, value in counts.items() if value}
        status |= {"currentRevision": current, "updateRevision": revision, "collisionCount": 0}
        status["availableReplicas"] = sum(wait is not None and wait <= 0 for wait in waits)
        soon = [wait for wait in waits if wait is not None and wait > 0]
        if soon:
            self.enqueue_later(name_of(stateful_set), min(soon))
        self.registry.update(
            "statefulsets", *name_of(stateful_set), lambda o: o.update(status=status), subresource="status"
        )


def _ordinal(name: str) -> int:
    return int(name.rsplit("-", 1)[1])
