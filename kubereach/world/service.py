"""A Service as checks handle it: how it is reached, who must answer, and changes to it."""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.kube.client import Object
from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.convergence import CHANGED, DELETED
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import BALANCER
from kubereach.probe import Vantage, VantageGroup
from kubereach.world.connection import Connection
from kubereach.world.ip_family import InFamily
from kubereach.world.last_change import LastChange
from kubereach.world.objects import Objects
from kubereach.world.service_addresses import ServiceAddresses
from kubereach.world.service_endpoints import Endpoints
from kubereach.world.service_load_balancer import ServiceLoadBalancer
from kubereach.world.service_names import ServiceNames
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_pods import ServicePods
from kubereach.world.service_slices import ServiceSlices
from kubereach.world.service_spec import ServiceSpec
from kubereach.world.source_ranges import EVERYBODY, ranges_of
from kubereach.world.vantages import Vantages
from kubereach.world.workload import Workload


class Service:
    """A Service of the world, or one that a check has made. What it says is always what the API says now.

    It consists of what it is (`object`, `spec`, `names`), how it is reached (`addresses`, `load_balancer`) and who
    answers (`endpoints`, `pods`, `slices`, `workload`); what most checks ask for is here by a short name too. What it
    does itself are changes of the Service.
    """

    def __init__(
        self,
        connection: Connection,
        objects: Objects,
        vantages: Vantages,
        created: Object,
        settled: float,
        written: Iterable[str] = (),
    ) -> None:
        """`created` is the object, `written` the addresses of EndpointSlices that came with it.

        `settled` is time.monotonic() until which the data plane may take to follow its creation.
        """
        self._context = connection.context
        self._objects = objects
        self._last_change = change = LastChange(connection.context, settled)
        self.object = ServiceObject(connection.watch_cache, created)
        self.spec = ServiceSpec(self.object, connection.context.ip_version)
        self.names = ServiceNames(connection, self.object, self.spec)
        self.load_balancer = ServiceLoadBalancer(connection, objects.balancer, self.object, change)
        self.pods = ServicePods(connection, vantages, self.object, self.spec, change)
        self.slices = ServiceSlices(connection, self.object, change, written, lambda: self.endpoints)
        self.addresses = ServiceAddresses(
            self.object, self.spec, self.load_balancer, change, lambda: self.endpoints
        )
        #: the Deployment or StatefulSet that came with it
        self.workload = Workload(connection, self.object, self.spec, self.pods, change)

    def __repr__(self) -> str:
        return f"<Service {self.namespace}/{self.name}>"

    # what it is

    @property
    def name(self) -> str:
        return self.object.name

    @property
    def namespace(self) -> str:
        return self.object.namespace

    @property
    def fqdn(self) -> str:
        """Its name in DNS, with the final dot."""
        return self.names.fqdn

    @property
    def rdtype(self) -> str:
        """The type of the DNS records with addresses of its first family: A or AAAA."""
        return self.names.rdtype

    @property
    def cluster_ip(self) -> str:
        """The first cluster IP; empty when there is none."""
        return self.spec.cluster_ip

    @property
    def cluster_ips(self) -> frozenset[str]:
        return self.spec.cluster_ips

    @property
    def selector(self) -> dict[str, str]:
        """Its selector: another Service with the same one has all of its endpoints from the first moment on."""
        return self.spec.selector

    @property
    def endpoints(self) -> Endpoints:
        """Names of the pods that must serve at this moment, with their addresses and nodes."""
        return Endpoints.of(self.pods.serving(), self.spec.ip_version, self.slices.written)

    @property
    def settled(self) -> float:
        """time.monotonic() until which the data plane may take to follow its last change."""
        return self._last_change.settled

    @settled.setter
    def settled(self, until: float) -> None:
        self._last_change.settled = until

    # how it is reached; see `kubereach.world.service_addresses`

    def vip(self, port: str = "") -> Address:
        """The cluster IP and port."""
        return self.addresses.vip(port)

    def node_port(self, port: str = "") -> int:
        """The number of the node port of the named port, or of the first."""
        return self.spec.node_port(port)

    def on(self, node: Node, port: str = "") -> Address:
        """The node port on a node's address."""
        return self.addresses.on(node, port)

    def on_each(self, nodes: Iterable[Node], port: str = "") -> list[Address]:
        """The node port on each node's address."""
        return self.addresses.on_each(nodes, port)

    def ingress(self, port: str = "") -> Address:
        """The load balancer's address, which is waited for."""
        return self.addresses.ingress(port)

    def by_name(self, name: str, port: str = "") -> Address:
        """`name`, resolved by the vantage itself."""
        return self.addresses.by_name(name, port)

    def formerly(self, addresses: Iterable[Address]) -> list[Address]:
        """Addresses that it had before its last change."""
        return self.addresses.formerly(addresses)

    @property
    def second(self) -> InFamily:
        """Its addresses of the second IP family. Raises `NotConforming` when it has one family only."""
        families = self.spec.families
        if len(families) < 2:
            got = ", ".join(families) or "none"
            raise NotConforming([Failure("API", f"Service {self.name}", "two IP families", got)])
        return InFamily(self, families[1])

    # its pods; see `kubereach.world.service_pods`

    def own_pods(self, *names: str) -> VantageGroup:
        """Vantages inside its endpoints, or inside the named pods, ready or not."""
        return self.pods.vantages(names or self.endpoints)

    def take_in(self, *pods: str) -> None:
        """Let its selector find these pods too."""
        self.pods.take_in(*pods)

    def take_out(self, *pods: str) -> None:
        """Let its selector find these pods no more; they live on."""
        self.pods.take_out(*pods)

    def set_ready(self, on: bool, *pods: str) -> None:
        """Turn the readiness of these pods on or off."""
        self.pods.set_ready(on, *pods)

    # changes

    def changed(self, what: str = CHANGED) -> None:
        """From now on the data plane has the whole deadline to converge again; reports name `what`."""
        self._last_change.note(what)

    def patch(self, change: Object) -> None:
        """Change the live Service by a merge patch."""
        self._objects.patch(self.object.latest, change)
        self.changed()

    def set_label(self, key: str, value: str | None) -> None:
        """Give the live Service a label, or take it away."""
        self.patch({"metadata": {"labels": {key: value}}})

    def become(self, type_: str, external_name: str | None = None) -> None:
        """Turn it into another type, without what only its old type had, and wait until the API shows it.

        Becoming ExternalName it gives up its cluster IP, and gets one again afterwards.
        """
        spec: Object = {"type": type_, "externalName": external_name}
        if type_ in ("ClusterIP", "ExternalName"):
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in self.spec.ports]
        if type_ == "ExternalName":
            spec |= {"clusterIP": None, "clusterIPs": None}
        self.patch({"spec": spec})
        self.object.wait(lambda: self.spec.type == type_, 5)

    def set_ports(self, *ports: Object) -> None:
        """Give it just these ports, and wait until the API shows them."""
        self.patch({"spec": {"ports": list(ports)}})
        wanted = [(port["port"], port.get("protocol", "TCP")) for port in ports]

        def shown() -> bool:
            return [(port["port"], port.get("protocol", "TCP")) for port in self.spec.ports] == wanted

        self.object.wait(shown, 5)

    def allow_only(self, vantages: Iterable[Vantage]) -> None:
        """Let the load balancer take these clients alone."""
        self.patch({"spec": {"loadBalancerSourceRanges": ranges_of(vantages)}})

    def allow_everybody(self) -> None:
        """Let the load balancer take all clients, by ranges that have them all."""
        self.patch({"spec": {"loadBalancerSourceRanges": EVERYBODY}})

    def take_address(self, ip_mode: str) -> Address:
        """Give itself a load-balancer address of ours with this ipMode (VIP, Proxy). Raises `Unsupported`."""
        self.load_balancer.assign(ip_mode)
        return self.ingress()

    def delete(self) -> None:
        """Delete it and wait until it is gone, finalizers included.

        Raises `NotConforming` when a finalizer keeps it beyond ``load_balancer_deadline`` seconds.
        """
        self._objects.delete(self.object.remember())
        limit = self._context.settings.load_balancer_deadline
        gone = self.object.wait_until_gone(limit)
        self.changed(DELETED)
        if not gone:
            finalizers = ", ".join(self.object.latest["metadata"].get("finalizers") or ["none"])
            raise NotConforming(
                [
                    Failure(
                        "API",
                        f"Service {self.name}",
                        f"deleted within {limit:.0f} s",
                        "still exists",
                        (f"finalizers: {finalizers}",),
                        layer=BALANCER,
                    )
                ]
            )
