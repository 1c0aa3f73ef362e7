"""Load-balancer addresses of our own, for clusters where nobody gives any.

A Service with a ``loadBalancerClass`` of ours is left alone by every controller, and whoever may write its status says
which address it has. Service proxies then serve that address inside the cluster, as they do for any other.
Source: https://kubernetes.io/docs/concepts/services-networking/service/#load-balancer-class
"""

from __future__ import annotations

import ipaddress
import itertools
import secrets
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from kubereach.kube.client import Api, Object, object_path
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.model.settings import Settings

#: the class of Services that nobody but us takes charge of
OWN_CLASS = "kubereach.dev/self"
#: the finalizer of Services that a load balancer controller has taken charge of
CLEANUP = "service.kubernetes.io/load-balancer-cleanup"


class SelfBalancer:
    """Gives addresses of documentation ranges (RFC 5737, RFC 3849) to Services of our class."""

    def __init__(self, settings: Settings) -> None:
        """Raises `UsageError` for a range that is none."""
        #: whether every Service of type LoadBalancer is to be of our class
        self.on = settings.self_load_balancer
        #: held while a Service asks for a load balancer, and by who wants nobody to
        self.requesting = threading.RLock()
        self._lock = threading.Lock()
        self._addresses = {}
        for text in settings.self_load_balancer_range:
            try:
                network = ipaddress.ip_network(text.strip())
            except ValueError as error:
                raise UsageError(
                    f"self_load_balancer_range: {error}", "Example: 198.51.100.0/24,2001:db8:51::/112."
                ) from None
            self._addresses[f"IPv{network.version}"] = _from_anywhere(network)

    def claimed(self, obj: Object) -> Object:
        """A Service, or a change of one, with our class if it becomes a LoadBalancer that names none."""
        spec = obj.get("spec") or {}
        if not self.on or spec.get("type") != "LoadBalancer" or spec.get("loadBalancerClass"):
            return obj
        return {**obj, "spec": {**spec, "loadBalancerClass": OWN_CLASS}}

    def guard(self, obj: Object) -> AbstractContextManager[object]:
        """What has to be held while this Service, or change of one, is sent."""
        is_load_balancer = (obj.get("spec") or {}).get("type") == "LoadBalancer"
        return self.requesting if is_load_balancer else nullcontext()

    def serve(self, api: Api, service: Object) -> None:
        """Give addresses to a Service that is ours to serve and has none."""
        if self.on and service["spec"].get("loadBalancerClass") == OWN_CLASS and not ingress_of(service):
            self.assign(api, service)

    def assign(self, api: Api, service: Object, ip_mode: str = "") -> Object:
        """Write fresh addresses, one of each of its families, into a Service's status; gives the Service.

        Raises `CannotMeasure` for a family that there is no range for.
        """
        given = []
        for family in service["spec"].get("ipFamilies") or ["IPv4"]:
            if family not in self._addresses:
                raise CannotMeasure(
                    f"no {family} range for the load-balancer addresses that kubereach assigns",
                    "Add one with --set self_load_balancer_range.",
                )
            with self._lock:
                address = next(self._addresses[family])
            given.append({"ip": address, **({"ipMode": ip_mode} if ip_mode else {})})
        return write_ingress(api, service, given)


def _from_anywhere(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[str]:
    """The addresses of hosts in a network, again and again, beginning with any of them.

    No run takes the address of the run before, whose connections nodes may still track.
    """
    size = network.num_addresses
    for number in itertools.count(secrets.randbelow(size)):
        # the first address and the last are the network's own, where it has more than two
        if size <= 2 or 0 < number % size < size - 1:
            yield str(network[number % size])


def write_ingress(api: Api, service: Object, ingress: list[Object]) -> Object:
    """Write a Service's status.loadBalancer.ingress; gives the Service."""
    return api.patch(f"{object_path(service)}/status", {"status": {"loadBalancer": {"ingress": ingress}}})


def ingress_of(service: Object) -> list[Object]:
    """What a Service's status says of its load balancer."""
    found: list[Object] = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    return found
