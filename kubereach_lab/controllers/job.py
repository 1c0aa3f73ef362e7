"""Jobs: pods that run until enough of them succeeded.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/ and KEP-2307: a pod is counted once, when it
ended, and the finalizer that it is made with holds it until then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timezone

from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.meta import Key, Object, being_deleted, condition, controller_of, name_of
from kubereach_lab.controllers.pods import active, create_pods, delete_pods, ready
from kubereach_lab.registry import Registry
from kubereach_lab.times import now

_FINALIZER = "batch.kubernetes.io/job-tracking"
_COMPONENT = "job-controller"
#: seconds before a failed pod is followed by another, doubling with each failure in a row
_BACK_OFF, _LONGEST_BACK_OFF = 10.0, 600.0


class JobController(Controller):
    """Creates pods as parallelism and completions say, counts how they end, and gives up after backoffLimit."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        #: Job's uid -> (failures in a row, when the last one was seen)
        self._failures: dict[str, tuple[int, float]] = {}

    def keys(self, verb: str, resource: str, new: Object, old: Object | None) -> Iterable[Key]:
        del verb, old
        if resource == "jobs":
            yield name_of(new)
        elif resource == "pods" and (key := controller_of(new, "Job")):
            yield key

    def reconcile(self, namespace: str, name: str) -> None:
        job = self.registry.find("jobs", namespace, name)
        pods = self.registry.list(
            "pods", namespace, where=lambda p: controller_of(p, "Job") == (namespace, name)
        )
        if job is None or being_deleted(job):
            for pod in pods:
                self._release(pod)
            return
        pods = [
            p
            for p in pods
            if any(o["uid"] == job["metadata"]["uid"] for o in p["metadata"]["ownerReferences"])
        ]
        ended = [
            pod for pod in pods if _has_ended(pod) and _FINALIZER in (pod["metadata"].get("finalizers") or [])
        ]
        status = self._counted(job, pods, ended)
        if _finished(job) is None:
            self._proceed(job, pods, status)
        self.write_status("jobs", job, status)
        for pod in ended:
            self._release(pod)
        self._expire(job, status)

    def _counted(self, job: Object, pods: list[Object], ended: list[Object]) -> Object:
        """The status after these pods ended."""
        status: Object = {**(job.get("status") or {})}
        running = [pod for pod in pods if active(pod)]
        good = sum(pod.get("status", {}).get("phase") == "Succeeded" for pod in ended)
        uid = job["metadata"]["uid"]
        if good:
            self._failures.pop(uid, None)
        elif ended:
            self._failures[uid] = (self._failures.get(uid, (0, 0.0))[0] + len(ended), time.monotonic())
        counts = {
            "active": len(running),
            "succeeded": status.get("succeeded", 0) + good,
            "failed": status.get("failed", 0) + len(ended) - good,
        }
        for key, count in counts.items():
            status.pop(key, None)
            if count:
                status[key] = count
        status["ready"] = sum(map(ready, running))
        status["terminating"] = sum(being_deleted(pod) and not _has_ended(pod) for pod in pods)
        status["uncountedTerminatedPods"] = {}
        if "startTime" not in status and not job["spec"]["suspend"]:
            status["startTime"] = now()
        return status

    def _proceed(self, job: Object, pods: list[Object], status: Object) -> None:
        spec = job["spec"]
        running = [pod for pod in pods if active(pod)]
        succeeded, wanted = status.get("succeeded", 0), spec.get("completions")
        # without a number of completions, one success ends it, as soon as the others have ended
        done = succeeded >= wanted if wanted is not None else succeeded > 0 and not running
        if done:
            self._end(
                job, status, "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
            )
            delete_pods(self.registry, job, running, _COMPONENT)
        elif (why := _given_up(job, status, running)) is not None:
            self._end(job, status, "Failed", *why)
            delete_pods(self.registry, job, running, _COMPONENT)
        elif spec["suspend"]:
            _set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended")
            status.pop("startTime", None)
            delete_pods(self.registry, job, running, _COMPONENT)
        else:
            if condition({"status": status}, "Suspended").get("status") == "True":
                _set_condition(status, "Suspended", "False", "JobResumed", "Job resumed")
            self._scale(job, status, running)

    def _scale(self, job: Object, status: Object, running: list[Object]) -> None:
        spec = job["spec"]
        room = spec["parallelism"]
        if spec.get("completions") is not None:
            room = min(room, spec["completions"] - status.get("succeeded", 0))
        elif status.get("succeeded"):
            room = len(running)
        delete_pods(self.registry, job, running[max(room, 0) :], _COMPONENT)
        missing = room - len(running)
        if missing > 0 and not self._must_wait(job):
            create_pods(self.registry, job, missing, _COMPONENT, (_FINALIZER,))
            status["active"] = len(running) + missing

    def _must_wait(self, job: Object) -> bool:
        count, since = self._failures.get(job["metadata"]["uid"], (0, 0.0))
        if not count:
            return False
        left = since + min(_BACK_OFF * 2 ** (count - 1), _LONGEST_BACK_OFF) - time.monotonic()
        if left > 0:
            self.enqueue_later(name_of(job), left)
        return bool(left > 0)

    def _end(self, job: Object, status: Object, kind: str, reason: str, message: str) -> None:
        before = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        for condition_type in (before, kind):
            _set_condition(status, condition_type, "True", reason, message)
        if kind == "Complete":
            status["completionTime"] = now()
            self.registry.events.record(job, "Normal", "Completed", "Job completed", _COMPONENT)
        else:
            self.registry.events.record(job, "Warning", reason, message, _COMPONENT)
        self._failures.pop(job["metadata"]["uid"], None)

    def _release(self, pod: Object) -> None:
        if _FINALIZER not in (pod["metadata"].get("finalizers") or []):
            return

        def mutate(obj: Object) -> None:
            obj["metadata"]["finalizers"] = [f for f in obj["metadata"]["finalizers"] if f != _FINALIZER]

        self.registry.update("pods", *name_of(pod), mutate)

    def _expire(self, job: Object, status: Object) -> None:
        """Deadlines that come without any other change: the Job's own, and its removal after it ended."""
        spec = job["spec"]
        since = _finished({"status": status})
        if since is None:
            if (limit := spec.get("activeDeadlineSeconds")) is not None and "startTime" in status:
                self.enqueue_later(name_of(job), max(limit - _age(status["startTime"]), 0.01))
        elif (kept := spec.get("ttlSecondsAfterFinished")) is not None:
            left = kept - _age(since)
            if left > 0:
                self.enqueue_later(name_of(job), left)
            else:
                self.registry.delete("jobs", *name_of(job), propagation="Foreground")


def _has_ended(pod: Object) -> bool:
    """Finished, or deleted before any kubelet had it."""
    finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return finished or (being_deleted(pod) and not pod["spec"].get("nodeName"))


def _finished(job: Object) -> str | None:
    """When the Job ended, None if it goes on."""
    for kind in ("Complete", "Failed"):
        if (found := condition(job, kind)).get("status") == "True":
            return str(found["lastTransitionTime"])
    return None


def _given_up(job: Object, status: Object, running: list[Object]) -> tuple[str, str] | None:
    """(reason, message) if the Job failed for good."""
    spec = job["spec"]
    failures = status.get("failed", 0)
    if spec["template"]["spec"]["restartPolicy"] == "OnFailure":
        failures += sum(
            c["restartCount"] for p in running for c in p["status"].get("containerStatuses") or []
        )
    if failures > spec["backoffLimit"]:
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    limit = spec.get("activeDeadlineSeconds")
    if limit is not None and "startTime" in status and _age(status["startTime"]) >= limit:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _age(stamp: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(stamp.replace("Z", "+00:00"))).total_seconds()


def _set_condition(status: Object, kind: str, value: str, reason: str, message: str) -> None:
    conditions = status.get("conditions") or []
    if any((c["type"], c["status"]) == (kind, value) for c in conditions):
        return
    stamp = now()
    written = {
        "type": kind,
        "status": value,
        "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }
    status["conditions"] = [*(c for c in conditions if c["type"] != kind), written]
