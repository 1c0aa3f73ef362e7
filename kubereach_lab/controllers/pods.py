"""The pods of an owner: which count, how they are made of its template, created and deleted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from kubereach_lab.controllers.meta import Object, being_deleted, condition, name_of, owner_reference
from kubereach_lab.registry import Registry
from kubereach_lab.status import StatusError
from kubereach_lab.store import copy_object


def active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return not being_deleted(pod) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def available_in(pod: Object, seconds: int) -> float | None:
    """Seconds until a ready pod counts as available: 0 or less if it does, None if it is not ready."""
    if not ready(pod):
        return None
    if not seconds:
        return 0
    since = datetime.fromisoformat(condition(pod, "Ready")["lastTransitionTime"].replace("Z", "+00:00"))
    return seconds - (datetime.now(timezone.utc) - since).total_seconds()


def pod_from(owner: Object, labels: dict[str, str] | None = None) -> Object:
    """A pod as the owner's template says, owned by it, not yet named."""
    template = copy_object(owner["spec"]["template"])
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": meta.get("annotations") or {},
            "finalizers": meta.get("finalizers") or [],
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": template["spec"],
    }


def create_pod(registry: Registry, owner: Object, pod: Object, component: str) -> Object:
    """Create a pod of an owner and tell it in an Event. Raises `StatusError`, told in an Event too."""
    try:
        created = registry.create("pods", pod)
    except StatusError as error:
        registry.events.record(owner, "Warning", "FailedCreate", f"Error creating: {error}", component)
        raise
    message = f"Created pod: {created['metadata']['name']}"
    registry.events.record(owner, "Normal", "SuccessfulCreate", message, component)
    return created


def create_pods(
    registry: Registry, owner: Object, count: int, component: str, finalizers: tuple[str, ...] = ()
) -> None:
    """Create pods with generated names, held by `finalizers` besides the template's. See `create_pod`."""
    for _ in range(count):
        pod = pod_from(owner)
        pod["metadata"]["generateName"] = f"{owner['metadata']['name']}-"
        pod["metadata"]["finalizers"] += finalizers
        create_pod(registry, owner, pod, component)


def delete_pods(registry: Registry, owner: Object, pods: Iterable[Object], component: str) -> None:
    """Delete pods of an owner and tell it in an Event for each."""
    for pod in pods:
        registry.delete("pods", *name_of(pod))
        message = f"Deleted pod: {pod['metadata']['name']}"
        registry.events.record(owner, "Normal", "SuccessfulDelete", message, component)
