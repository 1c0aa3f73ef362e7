"""The status of a pod as the kubelet reports it.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubereach_lab.times import now

Object = dict[str, Any]


@dataclass
class ContainerState:
    """One container of a pod, as far as its status shows it."""

    name: str
    image: str
    #: ``{"waiting": {...}}``, ``{"running": {...}}`` or ``{"terminated": {...}}``
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    identity: str = ""
    mounts: list[Object] = field(default_factory=list)
    #: an init container that goes on beside the others
    sidecar: bool = False

    @property
    def running(self) -> bool:
        return "running" in self.state

    def as_status(self) -> Object:
        status: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": f"lab://{self.image}" if self.identity else "",
            "started": self.started,
        }
        if self.identity:
            status |= {"containerID": self.identity, "resources": {}}
            # who the process is within the lab, which maps the user that started it to root
            status["user"] = {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}}
        if self.mounts:
            status["volumeMounts"] = self.mounts
        return status


def phase(pod: Object, init: list[ContainerState], containers: list[ContainerState]) -> str:
    """Pending, Running, Succeeded or Failed."""
    policy = pod["spec"].get("restartPolicy", "Always")
    ended = [c.state["terminated"]["exitCode"] for c in containers if "terminated" in c.state]
    deleted = "deletionTimestamp" in pod["metadata"]
    if (
        any("terminated" in c.state and c.state["terminated"]["exitCode"] for c in init if not c.sidecar)
        and policy == "Never"
    ):
        return "Failed"
    if containers and len(ended) == len(containers) and (policy != "Always" or deleted):
        failed = any(ended)
        if not failed or policy == "Never" or deleted:
            return "Failed" if failed else "Succeeded"
    if any(c.running or "terminated" in c.state or c.last for c in containers):
        return "Running"
    return "Pending"


def _initialised(init: ContainerState) -> bool:
    if init.sidecar:
        return init.started
    return "terminated" in init.state and init.state["terminated"]["exitCode"] == 0


def conditions(
    pod: Object, new_phase: str, sandbox: bool, init: list[ContainerState], containers: list[ContainerState]
) -> list[Object]:
    """The kubelet's conditions, keeping the transition times of those that stay as they are; others' are kept."""
    old = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions", [])}
    generation = pod["metadata"].get("generation", 1)
    finished = new_phase in ("Succeeded", "Failed")
    unready = [c.name for c in [*(i for i in init if i.sidecar), *containers] if not c.ready]
    why: Object = {}
    if finished:
        why = {"reason": "PodCompleted" if new_phase == "Succeeded" else "PodFailed"}
    elif unready:
        why = {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
    pending_init = [c.name for c in init if not _initialised(c)]
    init_why: Object = {"reason": "PodCompleted"} if new_phase == "Succeeded" else {}
    if pending_init:
        message = f"containers with incomplete status: [{' '.join(pending_init)}]"
        init_why = {"reason": "ContainersNotInitialized", "message": message}
    ready_why = dict(why)
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if not why and old.get(kind, {}).get("status") != "True":
            ready_why = {
                "reason": "ReadinessGatesNotReady",
                "message": f'corresponding condition of pod readiness gate "{kind}" does not exist.'
                if kind not in old
                else f'the status of pod readiness gate "{kind}" is not "True", but {old[kind].get("status")}',
            }
    wanted = [
        ("PodReadyToStartContainers", sandbox, {}),
        ("Initialized", not pending_init, init_why),
        ("Ready", not ready_why and not finished, ready_why),
        ("ContainersReady", not why and not finished, why),
        ("PodScheduled", True, {}),
    ]
    result = []
    for kind, holds, explanation in wanted:
        status = "True" if holds else "False"
        same = old.get(kind, {}).get("status") == status
        result.append(
            {
                "type": kind,
                "observedGeneration": generation,
                "status": status,
                "lastProbeTime": None,
                "lastTransitionTime": old[kind].get("lastTransitionTime", now()) if same else now(),
                **explanation,
            }
        )
    ours = {kind for kind, _, _ in wanted}
    return [*(condition for kind, condition in old.items() if kind not in ours), *result]
