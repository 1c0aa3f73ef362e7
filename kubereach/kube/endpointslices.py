"""What ties EndpointSlices to their Service, and what they say of an endpoint.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership
"""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.kube.client import Api, Object, path_of

#: the label with the Service's name
SERVICE = "kubernetes.io/service-name"


def service_of(part: Object) -> str:
    """The name of an EndpointSlice's Service; empty where it belongs to none."""
    return str((part["metadata"].get("labels") or {}).get(SERVICE, ""))


def belonging_to(service: str, slices: Iterable[Object]) -> list[Object]:
    """Those of a namespace's EndpointSlices that belong to the Service of this name."""
    return [part for part in slices if service_of(part) == service]


def slices_of(api: Api, namespace: str, service: str) -> list[Object]:
    """The EndpointSlices of a Service, as the API has them now. Raises `ApiError`."""
    path = path_of(("discovery.k8s.io/v1", "EndpointSlice"), namespace)
    return list(api.items(path, labelSelector=f"{SERVICE}={service}"))


def is_called_ready(endpoint: Object) -> bool:
    """Whether an EndpointSlice says that one of its endpoints is ready: unset means so.

    Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ready
    """
    return (endpoint.get("conditions") or {}).get("ready") is not False
