"""The addresses of a Service: all that vantages can be pointed at to reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from kubereach.kube.client import Object
from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.ip import loopback
from kubereach.world.last_change import LastChange
from kubereach.world.service_endpoints import Endpoints
from kubereach.world.service_load_balancer import ServiceLoadBalancer
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_spec import ServiceSpec

#: ports of the kubelet and of kube-proxy's health check, on all addresses of a node
_OF_NODES = (10250, 10256)


class ServiceAddresses:
    """Each address knows the pods that its port leads to, and until when the Service's last change may settle.

    `endpoints` gives those of the moment. A port is named; without a name it is the first.
    """

    def __init__(
        self,
        obj: ServiceObject,
        spec: ServiceSpec,
        load_balancer: ServiceLoadBalancer,
        last_change: LastChange,
        endpoints: Callable[[], Endpoints],
    ) -> None:
        self._object = obj
        self._spec = spec
        self._load_balancer = load_balancer
        self._last_change = last_change
        self._endpoints = endpoints

    def _address(self, way: str, host: str, port: Object, number: int, note: str = "") -> Address:
        """`host` and `number`, which lead to a port of the Service; `way` is what reports call this way to it."""
        # the protocol that a backend speaks on the port is told by its name, see manifests/backend.yaml
        kind = {"UDP": "udp", "SCTP": "sctp"}.get(
            port.get("protocol", "TCP"), "tcp" if port.get("name", "").startswith("line") else "http"
        )
        targets, settled = self._endpoints().ports_at(port), self._last_change.settled
        return Address(way, kind, host, number, settled, note, targets=targets, family=self._spec.ip_version)

    def vip(self, port: str = "") -> Address:
        """The cluster IP and port. Raises `NotConforming` when the Service has no cluster IP."""
        if not self._spec.cluster_ip:
            where = f"Service {self._object.name}"
            raise NotConforming([Failure("API", where, "a cluster IP", "none allocated")])
        found = self._spec.port(port)
        return self._address("clusterip", self._spec.cluster_ip, found, found["port"], self._object.name)

    def undeclared(self) -> list[Address]:
        """Ports of its cluster IP that it does not declare, and that somebody may answer at all the same.

        The number after its first one, those that its pods listen on, and those of programs on every node.
        """
        vip, of_pods = self.vip(), self._endpoints().container_ports
        numbers = {
            (self._spec.port_number() + 1, "TCP"),
            *((number, "TCP") for number in _OF_NODES),
            *of_pods,
        }
        numbers -= {(port["port"], port.get("protocol", "TCP")) for port in self._spec.ports}
        kinds = {"TCP": "http", "UDP": "udp"}
        return [
            replace(vip.at_port(number), kind=kinds[protocol], targets=())
            for number, protocol in sorted(numbers)
            if protocol in kinds
        ]

    def on(self, node: Node, port: str = "") -> Address:
        """The node port on a node's address of its first IP family. Raises `CannotMeasure` when the node has none."""
        host, note = node.address_of(self._spec.ip_version), f"{self._object.name} on {node.short}"
        return self._address("nodeport", host, self._spec.port(port), self._spec.node_port(port), note)

    def on_each(self, nodes: Iterable[Node], port: str = "") -> list[Address]:
        """The node port on each node's address."""
        return [self.on(node, port) for node in nodes]

    def on_localhost(self, port: str = "") -> Address:
        """The node port on the loopback address of whoever tries it."""
        host, number = loopback(self._spec.ip_version), self._spec.node_port(port)
        return self._address("nodeport", host, self._spec.port(port), number, self._object.name)

    def ingress(self, port: str = "") -> Address:
        """The load balancer's address; waits for one. Raises `Unsupported` or `NotConforming` when none comes."""
        found, host = self._spec.port(port), self._load_balancer.address()
        return self._address("loadbalancer", host, found, found["port"], self._object.name)

    def beside_the_load_balancer(self, nodes: Iterable[Node]) -> list[Address]:
        """Its addresses that are not its load balancer's: the cluster IP, and node ports if it has any."""
        return [self.vip(), *(self.on_each(nodes) if self._spec.node_ports else ())]

    def health_check_on(self, node: Node) -> Address:
        """Its health-check node port on a node's address. Raises `NotConforming` when the cluster gave none."""
        number = self._spec.health_check_node_port()
        host, note = node.address_of(self._spec.ip_version), f"{self._object.name} on {node.short}"
        return Address("health-check", "http", host, number, self._last_change.settled, note)

    def external_ip(self, port: str = "") -> Address:
        """The first of its external addresses."""
        found = self._spec.port(port)
        host = self._spec.external_ips[0]
        return self._address("external-ip", host, found, found["port"], self._object.name)

    def by_name(self, name: str, port: str = "") -> Address:
        """`name`, resolved by the vantage itself, and the Service's port."""
        found = self._spec.port(port)
        way = "headless" if self._spec.is_headless else "clusterip"
        way = "externalname" if self._spec.type == "ExternalName" else way
        return self._address(way, name, found, found["port"])

    def formerly(self, addresses: Iterable[Address]) -> list[Address]:
        """Addresses that it had before its last change, which the data plane may take a while to follow."""
        return [replace(address, settled=self._last_change.settled) for address in addresses]

    # pods, without the Service between

    def each_pod(self, port: str = "") -> list[Address]:
        """The named port of each of its pods, at the pod's own address: nothing is translated on the way."""
        of, found = self._endpoints().address_of, self.vip(port)
        return [
            replace(found, way="pod", host=of[pod], port=number, note=pod, targets=())
            for pod, number in found.targets
        ]

    def each_pod_by_node(self, port: str = "") -> dict[str, list[Address]]:
        """The same, by the node that the pod is on."""
        by_name = {address.note: address for address in self.each_pod(port)}
        return {
            node: [by_name[pod] for pod in sorted(pods)] for node, pods in self._endpoints().by_node.items()
        }
