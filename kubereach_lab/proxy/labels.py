"""The labels by which Services and EndpointSlices are kept from kube-proxy: what its watches leave out.

Source: cmd/kube-proxy/app/server.go of Kubernetes, and https://kubernetes.io/docs/reference/labels-annotations-taints/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubereach_lab import versions
from kubereach_lab.faults import HEALTHY, Faults

Object = dict[str, Any]

#: on a Service: the service proxy of that name serves it, and kube-proxy has none
_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
#: on an EndpointSlice: it is a headless Service's, which no proxy serves
_HEADLESS = "service.kubernetes.io/headless"


class Watched:
    """What kube-proxy of the minor version `minor` gets to see."""

    def __init__(self, minor: int, faults: Faults = HEALTHY) -> None:
        # one watch's labels were the other's as well
        both = minor < versions.HEADLESS_ON_SLICES_ALONE
        self._not_services = {_PROXY_NAME, _HEADLESS} if both else {_PROXY_NAME}
        self._not_slices = {_PROXY_NAME, _HEADLESS} if both else {_HEADLESS}
        if faults.proxy.labels_ignored:
            self._not_services = self._not_slices = set()

    def service(self, service: Object) -> bool:
        """Whether a Service is served."""
        return not (service["metadata"].get("labels") or {}).keys() & self._not_services

    def slices(self, slices: Iterable[Object]) -> list[Object]:
        """The EndpointSlices that are read."""
        return [
            part for part in slices if not (part["metadata"].get("labels") or {}).keys() & self._not_slices
        ]
