"""Columns of pods, of the workloads that make them, and of what goes into them."""

from __future__ import annotations

from typing import Any

from kubereach_lab.kubectl.columns.cells import (
    AGE,
    NAME,
    NONE,
    SELECTOR,
    TEMPLATE,
    Column,
    Printer,
    age,
    condition,
    container_cells,
    numbers,
    selector_cell,
    since,
    took,
)
from kubereach_lab.status import Object


def pod_status(pod: Object) -> tuple[str, int, int, int]:
    """The status word of a pod as kubectl prints it, its ready containers, all of them, and restarts."""
    spec, status = pod["spec"], pod.get("status") or {}
    word = status.get("reason") or status.get("phase", "Unknown")
    ready, restarts = 0, 0
    initialising = False
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for i, state in enumerate(status.get("initContainerStatuses") or ()):
        restarts += state.get("restartCount", 0)
        if state["name"] in sidecars and state.get("started"):
            ready += bool(state.get("ready"))
            continue
        terminated = (state.get("state") or {}).get("terminated")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        waiting = (state.get("state") or {}).get("waiting") or {}
        if terminated is not None:
            word = "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            word = "Init:" + waiting["reason"]
        else:
            word = f"Init:{i}/{len(spec.get('initContainers') or ())}"
        initialising = True
        break
    if not initialising:
        restarts, running = 0, False
        for state in reversed(status.get("containerStatuses") or []):
            restarts += state.get("restartCount", 0)
            current = state.get("state") or {}
            waiting, terminated = current.get("waiting") or {}, current.get("terminated")
            if waiting.get("reason"):
                word = waiting["reason"]
            elif terminated is not None:
                word = terminated.get("reason") or (
                    f"Signal:{terminated['signal']}"
                    if terminated.get("signal")
                    else f"ExitCode:{terminated.get('exitCode')}"
                )
            elif state.get("ready") and "running" in current:
                running = True
                ready += 1
        if word == "Completed" and running:
            word = "Running" if condition(status, "Ready") == "True" else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            word = "Terminating"
    return word, ready, len(sidecars) + len(spec.get("containers") or ()), restarts


def _pod(pod: Object) -> list[Any]:
    word, ready, total, restarts = pod_status(pod)
    status = pod.get("status") or {}
    gates = pod["spec"].get("readinessGates") or ()
    true = sum(condition(status, gate["conditionType"]) == "True" for gate in gates)
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        word,
        _restarts(status, restarts),
        age(pod),
        status.get("podIP") or NONE,
        pod["spec"].get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{true}/{len(gates)}" if gates else NONE,
    ]


def _restarts(status: Object, count: int) -> str:
    """How often, and how long ago the latest run ended."""
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ended = [
        ((state.get("lastState") or {}).get("terminated") or {}).get("finishedAt", "") for state in states
    ]
    latest = max(ended, default="")
    return f"{count} ({since(latest)} ago)" if count and latest else str(count)


def _pod_conditions(pod: Object) -> list[Object]:
    phase = (pod.get("status") or {}).get("phase")
    messages = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    if phase not in messages:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": messages[phase]}]


def _deployment(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{obj['spec']['replicas']}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj),
        *container_cells(obj),
        selector_cell(obj["spec"].get("selector")),
    ]


def _replicaset(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        obj["spec"]["replicas"],
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj),
        *container_cells(obj),
        selector_cell(obj["spec"].get("selector")),
    ]


def _statefulset(obj: Object) -> list[Any]:
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    return [obj["metadata"]["name"], f"{ready}/{obj['spec']['replicas']}", age(obj), *container_cells(obj)]


def _job(obj: Object) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    held = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    states = ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet")
    state = next((s for s in states if s in held), "Running")
    wanted = spec.get("completions", f"1 of {spec['parallelism']}" if spec["parallelism"] > 1 else 1)
    return [
        obj["metadata"]["name"],
        state,
        f"{status.get('succeeded', 0)}/{wanted}",
        took(status.get("startTime"), status.get("completionTime")),
        age(obj),
        *container_cells(obj),
        selector_cell(spec.get("selector")),
    ]


def _daemonset(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        selector_cell({"matchLabels": obj["spec"]["template"]["spec"].get("nodeSelector") or {}}),
        age(obj),
        *container_cells(obj),
        selector_cell(obj["spec"].get("selector")),
    ]


COLUMNS: dict[str, Printer] = {
    "pods": Printer(
        (
            NAME,
            Column("Ready", description="The aggregate readiness state of this pod for accepting traffic."),
            Column("Status", description="The aggregate status of the containers in this pod."),
            Column(
                "Restarts",
                description="The number of times the containers in this pod have been restarted and when the last "
                "container in this pod has restarted.",
            ),
            AGE,
            Column("IP", priority=1),
            Column("Node", priority=1),
            Column("Nominated Node", priority=1),
            Column("Readiness Gates", priority=1),
        ),
        _pod,
        _pod_conditions,
    ),
    "deployments": Printer(
        (
            NAME,
            Column("Ready"),
            Column("Up-to-date"),
            Column("Available"),
            AGE,
            *TEMPLATE,
            SELECTOR,
        ),
        _deployment,
    ),
    "replicasets": Printer(
        (NAME, *numbers("Desired", "Current", "Ready"), AGE, *TEMPLATE, SELECTOR), _replicaset
    ),
    "statefulsets": Printer((NAME, Column("Ready"), AGE, *TEMPLATE), _statefulset),
    "jobs": Printer(
        (NAME, Column("Status"), Column("Completions"), Column("Duration"), AGE, *TEMPLATE, SELECTOR),
        _job,
    ),
    "daemonsets": Printer(
        (
            NAME,
            *numbers("Desired", "Current", "Ready", "Up-to-date", "Available"),
            Column("Node Selector"),
            AGE,
            *TEMPLATE,
            SELECTOR,
        ),
        _daemonset,
    ),
    "controllerrevisions": Printer(
        (NAME, Column("Controller"), Column("Revision"), AGE),
        lambda obj: [
            obj["metadata"]["name"],
            next(
                (
                    f"{owner['kind'].lower()}.{owner['apiVersion'].partition('/')[0]}/{owner['name']}"
                    for owner in obj["metadata"].get("ownerReferences") or ()
                    if owner.get("controller")
                ),
                NONE,
            ),
            obj.get("revision", 0),
            age(obj),
        ],
    ),
}
