"""The addresses of one IP family of a Service, where it has two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import BALANCER, NETWORK

if TYPE_CHECKING:
    from kubereach.world.service import Service


class InFamily:
    """A Service as clients of one IP family see it; `name` is IPv4 or IPv6."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self.name = name
        #: 4 or 6
        self.version = 6 if name == "IPv6" else 4
        self.rdtype = "AAAA" if name == "IPv6" else "A"

    def _is_own(self, address: str) -> bool:
        return (":" in address) == (self.version == 6)

    @property
    def cluster_ips(self) -> frozenset[str]:
        """Its cluster IP of the family, if it has one."""
        return self._service.names.records(self.rdtype)

    @property
    def pod_ips(self) -> frozenset[str]:
        """The addresses of the family of its pods. Raises `NotConforming` when a pod has none that must have one."""
        found: dict[str, list[str]] = {}
        for pod, ips in self._service.endpoints.ips_of.items():
            found[pod] = [ip for ip in ips if self._is_own(ip)]
        lacking = sorted(pod for pod, ips in found.items() if not ips)
        if lacking:
            where = f"status.podIPs of {', '.join(lacking)}"
            expected = f"an {self.name} address, which every pod of a dual-stack Service needs"
            raise NotConforming([Failure("API", where, expected, "none", layer=NETWORK)])
        return frozenset(ip for ips in found.values() for ip in ips)

    def vip(self, port: str = "") -> Address:
        """The cluster IP of the family. Raises `NotConforming` when there is none."""
        for address in self.cluster_ips:
            return replace(self._service.vip(port), host=address, family=self.version)
        raise self._missing("a cluster IP")

    def on_each(self, nodes: Iterable[Node], port: str = "") -> list[Address]:
        """The node port on each node's address of the family. Raises `CannotMeasure` when a node has none."""
        version = self.version
        on = self._service.on
        return [replace(on(node, port), host=node.address_of(version), family=version) for node in nodes]

    def ingress(self, port: str = "") -> Address:
        """The load balancer's address of the family. Raises `NotConforming` when it has another one only."""
        first = self._service.ingress(port)
        if given := self._service.load_balancer.address_of_family(self.version):
            return replace(first, host=given, family=self.version)
        raise self._missing("a load-balancer address", BALANCER)

    def by_name(self, name: str, port: str = "") -> Address:
        """`name`, of which the vantage takes the addresses of the family."""
        return replace(self._service.by_name(name, port), family=self.version)

    def _missing(self, what: str, layer: str = "") -> NotConforming:
        where = f"{self._service.spec.type} Service {self._service.name}"
        return NotConforming([Failure("API", where, f"{what} of {self.name}", "none", layer=layer)])
