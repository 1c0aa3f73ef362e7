"""The ways to reach a Service: its addresses, and the one that its load balancer gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from kubereach.kube.client import Object
from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.check import LOADBALANCER
from kubereach.model.errors import Failure, NotConforming, Unsupported
from kubereach.model.finding import BALANCER
from kubereach.model.ip import loopback
from kubereach.world.load_balancer_own import CLEANUP, ingress_of
from kubereach.world.load_balancer_pending import diagnose
from kubereach.world.service_pods import ServicePods

#: ports of the kubelet and of kube-proxy's health check, on all addresses of a node
_OF_NODES = (10250, 10256)


class ServiceWays(ServicePods):
    """A Service with its addresses, for all that vantages can be pointed at."""

    @property
    def way(self) -> str:
        """The way of reaching that this Service's name stands for."""
        if self.type == "ExternalName":
            return "externalname"
        return "headless" if self.is_headless else "clusterip"

    def _address(self, way: str, host: str, port: Object, number: int, note: str = "") -> Address:
        # the protocol that a backend speaks on the port is told by its name, see manifests/backend.yaml
        kind = {"UDP": "udp", "SCTP": "sctp"}.get(
            port.get("protocol", "TCP"), "tcp" if port.get("name", "").startswith("line") else "http"
        )
        targets, version = self._targets(port), self.ip_version
        return Address(way, kind, host, number, self.settled, note, targets=targets, family=version)

    def vip(self, port: str = "") -> Address:
        """The cluster IP and port. Raises `NotConforming` when the Service has no cluster IP."""
        if not self.cluster_ip:
            raise NotConforming([Failure("API", f"Service {self.name}", "a cluster IP", "none allocated")])
        found = self._port(port)
        return self._address("clusterip", self.cluster_ip, found, found["port"], self.name)

    def undeclared(self) -> list[Address]:
        """Ports of its cluster IP that it does not declare, and that somebody may answer at all the same.

        The number after its first one, those that its pods listen on, and those of programs on every node.
        """
        spec, vip = self.obj["spec"], self.vip()
        of_pods = {
            (int(port["containerPort"]), port.get("protocol", "TCP"))
            for pod in self._pods()
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or ()
        }
        numbers = {(self.port() + 1, "TCP"), *((number, "TCP") for number in _OF_NODES), *of_pods}
        numbers -= {(port["port"], port.get("protocol", "TCP")) for port in spec["ports"]}
        kinds = {"TCP": "http", "UDP": "udp"}
        return [
            replace(vip.at_port(number), kind=kinds[protocol], targets=())
            for number, protocol in sorted(numbers)
            if protocol in kinds
        ]

    def on(self, node: Node, port: str = "") -> Address:
        """The node port on a node's address of its first IP family. Raises `CannotMeasure` when the node has none."""
        host, note = node.address_of(self.ip_version), f"{self.name} on {node.short}"
        return self._address("nodeport", host, self._port(port), self.node_port(port), note)

    def on_localhost(self, port: str = "") -> Address:
        """The node port on the loopback address of whoever tries it."""
        host = loopback(self.ip_version)
        return self._address("nodeport", host, self._port(port), self.node_port(port), self.name)

    def on_each(self, nodes: Iterable[Node], port: str = "") -> list[Address]:
        """The node port on each node's address."""
        return [self.on(node, port) for node in nodes]

    def other_ways(self, nodes: Iterable[Node]) -> list[Address]:
        """The ways to it beside the load balancer's address: its cluster IP, and node ports if it has any."""
        return [self.vip(), *(self.on_each(nodes) if self.node_ports else ())]

    def health_check_on(self, node: Node) -> Address:
        """Its health-check node port on a node's address. Raises `NotConforming` when the cluster gave none."""
        number = self.obj["spec"].get("healthCheckNodePort")
        if not number:
            raise NotConforming(
                [Failure("API", f"Service {self.name}", "a health-check node port", "none allocated")]
            )
        host, note = node.address_of(self.ip_version), f"{self.name} on {node.short}"
        return Address("health-check", "http", host, int(number), self.settled, note)

    def external_ip(self, port: str = "") -> Address:
        """The first of its external addresses."""
        found = self._port(port)
        return self._address(
            "external-ip", self.obj["spec"]["externalIPs"][0], found, found["port"], self.name
        )

    def by_name(self, name: str, port: str = "") -> Address:
        """`name`, resolved by the vantage itself, and the Service's port."""
        found = self._port(port)
        return self._address(self.way, name, found, found["port"])

    def formerly(self, addresses: Iterable[Address]) -> list[Address]:
        """Addresses that it had before its last change, which the data plane may take a while to follow."""
        return [replace(address, settled=self.settled) for address in addresses]

    # pods, without the Service between

    def each_pod(self, port: str = "") -> list[Address]:
        """The named port of each of its pods, at the pod's own address: nothing is translated on the way."""
        of, found = self.address_of, self.vip(port)
        return [
            replace(found, way="pod", host=of[pod], port=number, note=pod, targets=())
            for pod, number in found.targets
        ]

    def each_pod_by_node(self, port: str = "") -> dict[str, list[Address]]:
        """The same, by the node that the pod is on."""
        by_name = {address.note: address for address in self.each_pod(port)}
        return {node: [by_name[pod] for pod in sorted(pods)] for node, pods in self.endpoints_by_node.items()}

    # load balancer

    def ingress(self, port: str = "") -> Address:
        """The load balancer's address; waits for one. Raises `Unsupported` or `NotConforming` when none comes."""
        found = self._port(port)
        return self._address("loadbalancer", self.load_balancer_address(), found, found["port"], self.name)

    def load_balancer_address(self) -> str:
        """The address in status.loadBalancer, waited for by watch up to ``load_balancer_deadline`` seconds.

        Raises `Unsupported` when no controller took charge of this Service or of any, `NotConforming` when one did and
        failed.
        A verdict once found is not waited for again.
        """
        if self._pending:
            raise Unsupported(self._pending, feature=LOADBALANCER)

        if not self._assigned():
            limit = self._world.context.settings.load_balancer_deadline
            if not self._world.board.wait(lambda: bool(self._assigned()), limit):
                self._no_address(limit)
            self.changed()
        return self._assigned()

    def load_balancer_address_that(self, suits: Callable[[str], bool]) -> str:
        """The load balancer's address, given time to become one that `suits`: ``converge_deadline`` seconds.

        Its controller may write one after the other. Gives the last, whether it suits or not; raises as
        `load_balancer_address` does.
        """
        first = self.load_balancer_address()
        limit = self._world.context.settings.converge_deadline
        self._world.board.wait(lambda: suits(self._assigned()), limit)
        if self._assigned() != first:
            self.changed()
        return self._assigned()

    def ingress_of_family(self, version: int) -> str:
        """The load balancer's address of an IP version (4 or 6), waited for in the same way; "" if none comes.

        Controllers may write the two families one after the other.
        """
        self.load_balancer_address()

        def found() -> str:
            given = [str(one.get("ip") or "") for one in ingress_of(self.obj)]
            return next((ip for ip in given if ip and (":" in ip) == (version == 6)), "")

        self._world.board.wait(lambda: bool(found()), self._world.context.settings.converge_deadline)
        return found()

    def _assigned(self) -> str:
        """What status.loadBalancer has now; "" if nothing."""
        given = ingress_of(self.obj) or [{}]
        return str(given[0].get("ip") or given[0].get("hostname") or "")

    def _served_alike(self) -> list[str]:
        """The run's other Services that this one's load balancer has given an address: the feature is there."""
        spec = self.obj["spec"]
        return sorted(
            service["metadata"]["name"]
            for service in self._world.board.all("Service")
            if service["spec"].get("type") == "LoadBalancer"
            and service["spec"].get("loadBalancerClass") == spec.get("loadBalancerClass")
            and ingress_of(service)
        )

    def _no_address(self, waited: float) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        found = self._world.api.find(path, fieldSelector=f"involvedObject.name={self.name}") or {}
        said = [f"{event.get('reason')}: {event.get('message')}" for event in found.get("items") or ()]
        pending = diagnose(self._world.api)
        taken = CLEANUP in (self.obj["metadata"].get("finalizers") or ())
        served = self._served_alike()
        if served:
            said.append(f"{', '.join(served)} got an address, so that there is a controller")
        if said or taken:
            raise NotConforming(
                [
                    Failure(
                        "API",
                        f"LoadBalancer Service {self.name}",
                        f"an address within {waited:.0f} s",
                        "still pending, though a controller has taken charge of it",
                        (*(said or ["no event says why"]), *pending.lines, pending.remedy),
                        layer=BALANCER,
                    )
                ]
            )
        self._pending = (
            f"after {waited:.0f} s no address, no event and no finalizer; {'; '.join(pending.lines)}. "
            f"{pending.remedy}"
        )
        raise Unsupported(self._pending, feature=LOADBALANCER)
