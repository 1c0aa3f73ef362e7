"""Deployments: a ReplicaSet for each template, and the way from one to the next.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ and the deployment controller's sync,
rolling and progress steps, whose order decides what watchers and events tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone

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
    short_hash,
)
from kubereach_lab.controllers.rollout import (
    HASH,
    REVISION,
    annotate,
    revision_of,
    room_for_new,
    shares,
    spare_old,
    unavailable,
    wanted,
)
from kubereach_lab.store import copy_object
from kubereach_lab.times import now

_COMPONENT = "deployment-controller"
_AVAILABLE = "NewReplicaSetAvailable"
_TIMED_OUT = "ProgressDeadlineExceeded"


class DeploymentController(Controller):
    """Rolls out templates through ReplicaSets."""

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb
        if resource == "deployments":
            yield name_of(new)
        elif resource == "replicasets":
            for replica_set in (new, old):
                if replica_set is not None and (key := controller_of(replica_set, "Deployment")):
                    yield key

    def reconcile(self, namespace: str, name: str) -> None:
        deployment = self.registry.find("deployments", namespace, name)
        if deployment is None:
            return
        if being_deleted(deployment):
            self._report(deployment)
            return
        deployment = self._note_pause(deployment)
        sets = self._sets(deployment)
        paused = bool(deployment["spec"].get("paused"))
        if paused or _is_scaling(deployment, sets):
            if current := _current(deployment, sets):
                deployment, current = self._adjust(deployment, current, sets)
            self._scale(deployment, current)
            self._report(deployment)
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment)
        else:
            self._roll(deployment)

    def _sets(self, deployment: Object) -> list[Object]:
        """The Deployment's ReplicaSets, oldest first."""
        sets = owned(self.registry, "replicasets", deployment)
        return sorted(
            sets, key=lambda s: (s["metadata"]["creationTimestamp"], int(s["metadata"]["resourceVersion"]))
        )

    # the new set

    def _current_set(self, deployment: Object) -> tuple[Object, Object]:
        """(Deployment, ReplicaSet of its template), made if there is none."""
        sets = self._sets(deployment)
        current = _current(deployment, sets)
        if current is not None:
            return self._adjust(deployment, current, sets)
        template = copy_object(deployment["spec"]["template"])
        digest = short_hash(deployment["spec"]["template"])
        labels = {**(template["metadata"].get("labels") or {}), HASH: digest}
        template["metadata"]["labels"] = labels
        selector = copy_object(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
        meta = deployment["metadata"]
        spec = {"replicas": room_for_new(deployment, sets, 0), "selector": selector, "template": template}
        if seconds := deployment["spec"].get("minReadySeconds"):
            spec["minReadySeconds"] = seconds
        made: Object = {
            "metadata": {
                "name": f"{meta['name']}-{digest}",
                "namespace": meta["namespace"],
                "labels": labels,
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": spec,
        }
        annotate(made, deployment, _newest(sets) + 1)
        current = self.registry.create("replicasets", made)
        if spec["replicas"]:
            self._record_scaling(deployment, current, 0)
        message = f'Created new replica set "{current["metadata"]["name"]}"'

        def mutate(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION] = str(revision_of(current))
            if _has_deadline(obj):
                _set_condition(obj["status"], "Progressing", "True", "NewReplicaSetCreated", message)

        return self._write_status(deployment, mutate), current

    def _adjust(self, deployment: Object, current: Object, sets: list[Object]) -> tuple[Object, Object]:
        """Number a set that is used (again) as the newest revision, and the Deployment with it."""
        newest = _newest([s for s in sets if s is not current]) + 1

        def number(obj: Object) -> None:
            annotate(obj, deployment, newest, sizes=False)
            if seconds := deployment["spec"].get("minReadySeconds"):
                obj["spec"]["minReadySeconds"] = seconds
            else:
                obj["spec"].pop("minReadySeconds", None)

        current = self.registry.update("replicasets", *name_of(current), number)
        message = f'Found new replica set "{current["metadata"]["name"]}"'

        def mutate(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION] = str(revision_of(current))
            if _has_deadline(obj) and not condition(obj, "Progressing"):
                _set_condition(obj["status"], "Progressing", "True", "FoundNewReplicaSet", message)

        return self._write_status(deployment, mutate), current

    # the ways from old to new

    def _roll(self, deployment: Object) -> None:
        """One step: the new set up as far as maxSurge lets it, or old ones down as far as maxUnavailable does."""
        deployment, current = self._current_set(deployment)
        old = [s for s in self._sets(deployment) if s["metadata"]["uid"] != current["metadata"]["uid"]]
        size, replicas = current["spec"]["replicas"], deployment["spec"]["replicas"]
        if size != replicas:
            goal = replicas if size > replicas else room_for_new(deployment, [current, *old], size)
            if goal != size:
                self._resize(deployment, current, goal)
                self._report(deployment, current)
                return
        for replica_set, goal in spare_old(deployment, current, old):
            self._resize(deployment, replica_set, goal)
        self._clean(deployment, old)
        self._report(deployment, current)

    def _recreate(self, deployment: Object) -> None:
        sets = self._sets(deployment)
        current = _current(deployment, sets)
        old = [s for s in sets if s is not current]
        for replica_set in old:
            self._resize(deployment, replica_set, 0)
        if any(owned(self.registry, "pods", replica_set) for replica_set in old):
            self._report(deployment, current)
            return
        deployment, current = self._current_set(deployment)
        self._resize(deployment, current, deployment["spec"]["replicas"])
        self._clean(deployment, old)
        self._report(deployment, current)

    def _scale(self, deployment: Object, current: Object | None) -> None:
        """A new size without a new template, or a pause: each set keeps its share."""
        sets = self._sets(deployment)
        active = [s for s in sets if s["spec"]["replicas"]]
        if len(active) <= 1:
            for only in active or [s for s in [current or (sets[-1] if sets else None)] if s]:
                self._resize(deployment, only, deployment["spec"]["replicas"])
            return
        replicas = deployment["spec"]["replicas"]
        if current is not None and current["spec"]["replicas"] == replicas == _available(current):
            for replica_set in active:
                if replica_set["metadata"]["uid"] != current["metadata"]["uid"]:
                    self._resize(deployment, replica_set, 0)
        elif deployment["spec"]["strategy"]["type"] == "RollingUpdate":
            for replica_set, goal in shares(deployment, active):
                self._resize(deployment, replica_set, goal)

    def _resize(self, deployment: Object, replica_set: Object, size: int) -> None:
        before = replica_set["spec"]["replicas"]

        def mutate(obj: Object) -> None:
            obj["spec"]["replicas"] = size
            annotate(obj, deployment, revision_of(obj))

        resized = self.registry.update("replicasets", *name_of(replica_set), mutate)
        if size != before:
            self._record_scaling(deployment, resized, before)

    def _record_scaling(self, deployment: Object, replica_set: Object, before: int) -> None:
        size, name = replica_set["spec"]["replicas"], replica_set["metadata"]["name"]
        way = "up" if size > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {size}"
        self.registry.events.record(deployment, "Normal", "ScalingReplicaSet", message, _COMPONENT)

    def _clean(self, deployment: Object, old: list[Object]) -> None:
        if not _complete(deployment, deployment.get("status") or {}):
            return
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = [s for s in old if not s["spec"]["replicas"] and not s.get("status", {}).get("replicas")]
        idle.sort(key=revision_of)
        for replica_set in idle[: max(len(idle) - limit, 0)]:
            self.registry.delete("replicasets", *name_of(replica_set))

    # status

    def _note_pause(self, deployment: Object) -> Object:
        reason = condition(deployment, "Progressing").get("reason")
        paused = bool(deployment["spec"].get("paused"))
        if not _has_deadline(deployment) or reason == _TIMED_OUT or paused == (reason == "DeploymentPaused"):
            return deployment
        word = "paused" if paused else "resumed"

        def mutate(obj: Object) -> None:
            message = f"Deployment is {word}"
            _set_condition(obj["status"], "Progressing", "Unknown", f"Deployment{word.capitalize()}", message)

        return self._write_status(deployment, mutate)

    def _report(self, deployment: Object, current: Object | None = None) -> None:
        """Write the status; with `current`, a roll-out is going on, whose progress is told."""
        sets = self._sets(deployment)
        counted = [s for s in sets if current and s["metadata"]["uid"] == current["metadata"]["uid"]]
        updated = counted or [s for s in [_current(deployment, sets)] if s]
        before = deployment.get("status") or {}
        status = _counts(deployment, sets, updated)
        status["conditions"] = copy_object(before).get("conditions") or []
        replicas = deployment["spec"]["replicas"]
        enough = status.get("availableReplicas", 0) >= replicas - unavailable(deployment)
        _set_condition(
            status,
            "Available",
            "True" if enough else "False",
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        )
        if current is not None and _has_deadline(deployment):
            self._set_progressing(deployment, status, f'ReplicaSet "{current["metadata"]["name"]}"')
        self._write_status(deployment, lambda obj: obj.update(status=status))

    def _set_progressing(self, deployment: Object, status: Object, subject: str) -> None:
        progressing = condition(deployment, "Progressing")
        before = deployment.get("status") or {}
        count = status.get
        if count("replicas") == count("updatedReplicas") and progressing.get("reason") == _AVAILABLE:
            return
        if _complete(deployment, status):
            _set_condition(
                status, "Progressing", "True", _AVAILABLE, f"{subject} has successfully progressed."
            )
        elif _progresses(before, status):
            message = f"{subject} is progressing."
            _set_condition(status, "Progressing", "True", "ReplicaSetUpdated", message, again=True)
        elif progressing and progressing["reason"] not in (_AVAILABLE, _TIMED_OUT):
            since = datetime.fromisoformat(progressing["lastUpdateTime"].replace("Z", "+00:00"))
            left = deployment["spec"]["progressDeadlineSeconds"]
            left -= (datetime.now(timezone.utc) - since).total_seconds()
            if left > 0:
                self.enqueue_later(name_of(deployment), left)
                return
            _set_condition(
                status, "Progressing", "False", _TIMED_OUT, f"{subject} has timed out progressing."
            )

    def _write_status(self, deployment: Object, mutate: Callable[[Object], None]) -> Object:
        return self.registry.update("deployments", *name_of(deployment), mutate, subresource="status")


def _current(deployment: Object, sets: list[Object]) -> Object | None:
    digest = short_hash(deployment["spec"]["template"])
    return next((s for s in sets if s["metadata"]["labels"].get(HASH) == digest), None)


def _is_scaling(deployment: Object, sets: list[Object]) -> bool:
    """Whether a set that has pods was sized for another number of replicas."""
    key = "deployment.kubernetes.io/desired-replicas"
    desired = str(deployment["spec"]["replicas"])
    return any(
        s["spec"]["replicas"] and (s["metadata"].get("annotations") or {}).get(key, desired) != desired
        for s in sets
    )


def _newest(sets: list[Object]) -> int:
    return max(map(revision_of, sets), default=0)


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


def _complete(deployment: Object, status: Object) -> bool:
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [deployment["spec"]["replicas"]] * 3


def _has_deadline(deployment: Object) -> bool:
    """The largest number that the field takes stands for no deadline."""
    return bool(deployment["spec"].get("progressDeadlineSeconds", 2**31 - 1) != 2**31 - 1)


def _counts(deployment: Object, sets: list[Object], updated: list[Object]) -> Object:
    def total(field: str, of: list[Object]) -> int:
        return sum(int((s.get("status") or {}).get(field, 0)) for s in of)

    available = total("availableReplicas", sets)
    counts = {
        "replicas": total("replicas", sets),
        "updatedReplicas": total("replicas", updated),
        "readyReplicas": total("readyReplicas", sets),
        "availableReplicas": available,
        "unavailableReplicas": max(wanted(sets) - available, 0),
    }
    status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
    status |= {key: value for key, value in counts.items() if value}
    status["terminatingReplicas"] = total("terminatingReplicas", sets)
    return status


def _progresses(before: Object, after: Object) -> bool:
    def old(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(after) < old(before) or any(after.get(key, 0) > before.get(key, 0) for key in grown)


def _set_condition(
    status: Object, kind: str, value: str, reason: str, message: str, *, again: bool = False
) -> None:
    """Write a condition of a status, at the end if it changed; `again`: its time is renewed also if it did not."""
    conditions = status.setdefault("conditions", [])
    old: Object = next((c for c in conditions if c["type"] == kind), {})
    if (old.get("status"), old.get("reason")) == (value, reason) and not again:
        return
    stamp = now()
    since = old["lastTransitionTime"] if old.get("status") == value else stamp
    written = {
        "type": kind,
        "status": value,
        "lastUpdateTime": stamp,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
    status["conditions"] = [*(c for c in conditions if c["type"] != kind), written]
