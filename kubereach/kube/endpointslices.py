"""What ties EndpointSlices to their Service.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership
"""

from __future__ import annotations

from kubereach.kube.client import Api, Object, path_of

#: the label with the Service's name
SERVICE = "kubernetes.io/service-name"


def service_of(part: Object) -> str:
    """The name of an EndpointSlice's Service; empty where it belongs to none."""
    return str((part["metadata"].get("labels") or {}).get(SERVICE, ""))


def slices_of(api: Api, namespace: str, service: str) -> list[Object]:
    """The EndpointSlices of a Service, as the API has them now. Raises `ApiError`."""
    path = path_of(("discovery.k8s.io/v1", "EndpointSlice"), namespace)
    return list(api.items(path, labelSelector=f"{SERVICE}={service}"))
