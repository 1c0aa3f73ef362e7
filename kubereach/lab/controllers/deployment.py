"""Deployments: a ReplicaSet for each template, and the way from one to the next.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.lab.controllers.base import (
    Controller,
    Key,
    Object,
    being_deleted,
    condition,
    controller_of,
    name_of,
    owned,
    owner_reference,
    scaled,
    short_hash,
)
from kubereach.lab.registry import now
from kubereach.lab.store import copy_object

_PREFIX = "deployment.kubernetes.io/"
_REVISION = f"{_PREFIX}revision"
_HASH = "pod-template-hash"


class DeploymentController(Controller):
    """Rolls out templates through ReplicaSets."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "deployments":
            yield name_of(new)
        elif resource == "replicasets" and (key := controller_of(new, "Deployment")):
            yield key

    def reconcile(self, namespace: str, name: str) -> None:
        deployment = self.registry.find("deployments", namespace, name)
        if deployment is None or being_deleted(deployment):
            return
        sets = owned(self.registry, "replicasets", deployment)
        current = self._current(deployment, sets)
        if current is None and not deployment["spec"].get("paused"):
            current = self._create(deployment, sets)
        others = [s for s in sets if current is None or s["metadata"]["uid"] != current["metadata"]["uid"]]
        if current is not None:
            if deployment["spec"].get("paused"):
                self._resize(deployment, current, deployment["spec"]["replicas"] - _wanted(others))
            elif deployment["spec"]["strategy"]["type"] == "Recreate":
                self._recreate(deployment, current, others)
            else:
                self._roll(deployment, current, others)
            self._clean(deployment, others)
        self._report(deployment)

    def _current(self, deployment: Object, sets: list[Object]) -> Object | None:
        wanted = short_hash(deployment["spec"]["template"])
        return next((s for s in sets if s["metadata"]["labels"].get(_HASH) == wanted), None)

    def _create(self, deployment: Object, sets: list[Object]) -> Object:
        template = copy_object(deployment["spec"]["template"])
        digest = short_hash(deployment["spec"]["template"])
        labels = {**(template["metadata"].get("labels") or {}), _HASH: digest}
        template["metadata"]["labels"] = labels
        selector = copy_object(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _HASH: digest}
        meta = deployment["metadata"]
        rolling = deployment["spec"]["strategy"]["type"] == "RollingUpdate"
        return self.registry.create(
            "replicasets",
            {
                "metadata": {
                    "name": f"{meta['name']}-{digest}",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": self._annotations(deployment, _revision(sets) + 1),
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": 0 if sets or not rolling else deployment["spec"]["replicas"],
                    "selector": selector,
                    "template": template,
                    "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
                },
            },
        )

    def _annotations(self, deployment: Object, revision: int) -> dict[str, str]:
        replicas = deployment["spec"]["replicas"]
        kept = {
            key: value
            for key, value in (deployment["metadata"].get("annotations") or {}).items()
            if key not in ("kubectl.kubernetes.io/last-applied-configuration", _REVISION)
        }
        return kept | {
            f"{_PREFIX}desired-replicas": str(replicas),
            f"{_PREFIX}max-replicas": str(replicas + self._surge(deployment)),
            _REVISION: str(revision),
        }

    def _surge(self, deployment: Object) -> int:
        rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
        return scaled(rolling.get("maxSurge", 0), deployment["spec"]["replicas"], up=True)

    def _unavailable(self, deployment: Object) -> int:
        rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
        most = scaled(rolling.get("maxUnavailable", 0), deployment["spec"]["replicas"], up=False)
        return most or (0 if self._surge(deployment) else 1)

    def _roll(self, deployment: Object, current: Object, others: list[Object]) -> None:
        """One step: the new set up as far as maxSurge lets it, then old ones down as far as maxUnavailable does."""
        replicas = deployment["spec"]["replicas"]
        room = replicas + self._surge(deployment) - _wanted(others) - current["spec"]["replicas"]
        size = min(replicas, current["spec"]["replicas"] + max(room, 0)) if others else replicas
        current = self._resize(
            deployment, current, size if current["spec"]["replicas"] < replicas else replicas
        )
        least = replicas - self._unavailable(deployment)
        # Counted by what was asked for, not by what is: the status of a set that was just resized is of before.
        spare = _wanted([current, *others]) - least - (current["spec"]["replicas"] - _serving(current))
        oldest_first = sorted(others, key=lambda s: str(s["metadata"]["creationTimestamp"]))
        for broken_ones in (True, False):  # those that serve nobody cost nothing, so they go first
            if not broken_ones:
                spare = min(spare, sum(map(_serving, [current, *oldest_first])) - least)
            for number, old in enumerate(oldest_first):
                here = old["spec"]["replicas"] - (_serving(old) if broken_ones else 0)
                cut = min(max(spare, 0), here)
                if cut > 0:
                    oldest_first[number] = self._resize(deployment, old, old["spec"]["replicas"] - cut)
                    spare -= cut

    def _recreate(self, deployment: Object, current: Object, others: list[Object]) -> None:
        for old in others:
            self._resize(deployment, old, 0)
        if all(not owned(self.registry, "pods", old) for old in others):
            self._resize(deployment, current, deployment["spec"]["replicas"])

    def _resize(self, deployment: Object, replica_set: Object, size: int) -> Object:
        def mutate(obj: Object) -> None:
            obj["spec"]["replicas"] = max(size, 0)
            annotations = obj["metadata"].setdefault("annotations", {})
            newest = _revision(owned(self.registry, "replicasets", deployment))
            revision = int(annotations.get(_REVISION, "0"))
            if obj["metadata"]["labels"].get(_HASH) == short_hash(deployment["spec"]["template"]):
                revision = revision if revision == newest else newest + 1
            annotations.update(self._annotations(deployment, revision))

        return self.registry.update("replicasets", *name_of(replica_set), mutate)

    def _clean(self, deployment: Object, others: list[Object]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = [s for s in others if not s["spec"]["replicas"] and not s.get("status", {}).get("replicas")]
        idle.sort(key=lambda s: int(s["metadata"]["annotations"].get(_REVISION, "0")))
        for old in idle[: max(len(idle) - limit, 0)]:
            self.registry.delete("replicasets", *name_of(old))

    def _report(self, deployment: Object) -> None:
        sets = owned(self.registry, "replicasets", deployment)
        current = self._current(deployment, sets)
        replicas = deployment["spec"]["replicas"]

        def total(field: str, of: list[Object]) -> int:
            return sum(int(s.get("status", {}).get(field, 0)) for s in of)

        counts = {
            "replicas": total("replicas", sets),
            "updatedReplicas": total("replicas", [current] if current else []),
            "readyReplicas": total("readyReplicas", sets),
            "availableReplicas": total("availableReplicas", sets),
        }
        status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
        status |= {key: value for key, value in counts.items() if value}
        status["terminatingReplicas"] = total("terminatingReplicas", sets)
        missing = replicas - counts["availableReplicas"]
        if missing > 0:
            status["unavailableReplicas"] = missing
        enough = counts["availableReplicas"] >= replicas - self._unavailable(deployment)
        done = counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == replicas
        words = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "ReplicaSet"
        conditions = [
            _condition(
                deployment,
                "Available",
                "True" if enough else "False",
                "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                f"Deployment {'has' if enough else 'does not have'} minimum availability.",
            )
        ]
        if deployment["spec"].get("paused"):
            conditions.append(
                _condition(deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
            )
        elif done:
            message = f"{words} has successfully progressed."
            conditions.append(
                _condition(deployment, "Progressing", "True", "NewReplicaSetAvailable", message)
            )
        else:
            message = f"{words} is progressing."
            conditions.append(_condition(deployment, "Progressing", "True", "ReplicaSetUpdated", message))
        status["conditions"] = conditions

        def mutate(obj: Object) -> None:
            if current is not None:
                revision = current["metadata"]["annotations"][_REVISION]
                obj["metadata"].setdefault("annotations", {})[_REVISION] = revision
            obj["status"] = status

        self.registry.update("deployments", *name_of(deployment), mutate, subresource="status")


def _serving(replica_set: Object) -> int:
    """Available pods, as far as they are still wanted."""
    available = int(replica_set.get("status", {}).get("availableReplicas", 0))
    return min(available, int(replica_set["spec"]["replicas"]))


def _wanted(sets: list[Object]) -> int:
    return sum(s["spec"]["replicas"] for s in sets)


def _revision(sets: list[Object]) -> int:
    return max((int((s["metadata"].get("annotations") or {}).get(_REVISION, "0")) for s in sets), default=0)


def _condition(obj: Object, kind: str, status: str, reason: str, message: str) -> Object:
    old = condition(obj, kind)
    same = old.get("status") == status
    unchanged = same and (old.get("reason"), old.get("message")) == (reason, message)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": old["lastUpdateTime"] if unchanged else now(),
        "lastTransitionTime": old["lastTransitionTime"] if same else now(),
        "reason": reason,
        "message": message,
    }
