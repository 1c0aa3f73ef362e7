"""Which pods serve a Service, at which addresses and ports: told from the pods, not from EndpointSlices.

It is what the EndpointSlice controller has to make of them. Source:
https://kubernetes.io/docs/concepts/services-networking/service/#services-in-kubernetes
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.kube.client import Object
from kubereach.kube.watch_cache import is_ready


def selector_of(service: Object) -> dict[str, str]:
    """The labels that a Service selects pods by; empty where somebody writes its EndpointSlices by hand."""
    return dict(service["spec"].get("selector") or {})


def selected(service: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that the Service's selector matches, ready or not; none without a selector."""
    wanted = selector_of(service)
    return [pod for pod in pods if wanted and wanted.items() <= (pod["metadata"].get("labels") or {}).items()]


def serving(service: Object, pods: Iterable[Object]) -> list[Object]:
    """Those of the selected pods that must serve: the ready ones, and no pod that is being deleted.

    With publishNotReadyAddresses those too that have an address and are not ready. Source:
    https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec
    """
    unready_too = service["spec"].get("publishNotReadyAddresses", False)
    return [
        pod
        for pod in selected(service, pods)
        if is_ready(pod)
        or (unready_too and addresses_of(pod) and not pod["metadata"].get("deletionTimestamp"))
    ]


def addresses_of(pod: Object) -> tuple[str, ...]:
    """The pod's IP addresses, of both families where it has both, the first family's first; empty before it has any."""
    status = pod.get("status") or {}
    found = [one["ip"] for one in status.get("podIPs") or ()]
    return tuple(found or filter(None, [status.get("podIP")]))


def port_at(pod: Object, port: Object) -> int:
    """The number that a port of a Service leads to at a pod; 0 where no container gives its targetPort's name to one.

    Without a targetPort it is the Service's own number; a name means what the pod gives it to. Source:
    https://kubernetes.io/docs/concepts/services-networking/service/#field-spec-ports
    """
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    declared = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
    return next((int(one["containerPort"]) for one in declared if one.get("name") == target), 0)
