"""EndpointSlices by their labels: which Service they are of, and who writes them (KEP-752)."""

from __future__ import annotations

from kubereach_lab.registry import Registry
from kubereach_lab.status import Object

SERVICE = "kubernetes.io/service-name"
MANAGER = "endpointslice.kubernetes.io/managed-by"


def slices_of(registry: Registry, namespace: str, service: str) -> list[Object]:
    """The EndpointSlices of a Service, ordered by name."""
    return registry.list("endpointslices", namespace, labels={SERVICE: service})


def service_of(part: Object) -> str:
    """The name of an EndpointSlice's Service, "" if it has none."""
    return str((part["metadata"].get("labels") or {}).get(SERVICE, ""))


def is_written_by(manager: str, part: Object) -> bool:
    """Whether `manager` writes an EndpointSlice; those that no controller writes have none."""
    return bool((part["metadata"].get("labels") or {}).get(MANAGER) == manager)
