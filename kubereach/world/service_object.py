"""A Service as the API has it now: what it is, its numbers and its names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kubereach.kube.client import Object
from kubereach.kube.endpoints import selector_of
from kubereach.model import dns_names
from kubereach.model.convergence import CHANGED, Settling
from kubereach.model.errors import CannotMeasure, Failure, NotConforming
from kubereach.model.finding import BALANCER
from kubereach.model.tally import judged

if TYPE_CHECKING:
    from kubereach.world.vantages import Vantages


class ServiceObject:
    """The object, always as the API has it: the handle is made once, the Service may change under it."""

    def __init__(self, world: Vantages, created: Object, settled: float, written: Iterable[str] = ()) -> None:
        self._world = world
        self._created = created
        #: time.monotonic() until which the data plane may take to follow the last change
        self.settled = settled
        self._written = frozenset(written)
        self._pending = ""

    def __repr__(self) -> str:
        return f"<Service {self.namespace}/{self.name}>"

    # what it is

    @property
    def obj(self) -> Object:
        """The object as the API has it; as it last was, once it is gone."""
        return self._live() or self._created

    def _live(self) -> Object | None:
        """The object on the board, unless that is another one of the same name, made before or after."""
        meta = self._created["metadata"]
        found = self._world.board.get("Service", meta["namespace"], meta["name"])
        return found if found and found["metadata"]["uid"] == meta["uid"] else None

    def changed(self, what: str = CHANGED) -> None:
        """From now on the data plane has the whole deadline to converge again; `what` is told by reports."""
        self.settled = Settling.after(what, self._world.context.settings.converge_deadline)

    @property
    def name(self) -> str:
        return str(self._created["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self._created["metadata"]["namespace"])

    @property
    def type(self) -> str:
        return str(self.obj["spec"].get("type", "ClusterIP"))

    @property
    def is_headless(self) -> bool:
        return bool(self.obj["spec"].get("clusterIP") == "None")

    @property
    def external_name(self) -> str:
        """spec.externalName, with the final dot, in lower case."""
        return str(self.obj["spec"].get("externalName", "")).rstrip(".").lower() + "."

    @property
    def cluster_ips(self) -> frozenset[str]:
        spec = self.obj["spec"]
        found = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
        return frozenset(ip for ip in found if ip and ip != "None")

    def records(self, rdtype: str) -> frozenset[str]:
        """Its cluster IPs as A or AAAA records; empty for the family that it does not have."""
        return frozenset(ip for ip in self.cluster_ips if (":" in ip) == (rdtype == "AAAA"))

    @property
    def cluster_ip(self) -> str:
        """The first cluster IP; empty when there is none."""
        ip = str(self.obj["spec"].get("clusterIP", ""))
        return "" if ip == "None" else ip

    @property
    def selector(self) -> dict[str, str]:
        """Its selector: another Service with the same one has all of its endpoints from the first moment on."""
        return selector_of(self.obj)

    @property
    def affinity_timeout(self) -> int:
        """sessionAffinityConfig.clientIP.timeoutSeconds; 0 when there is none."""
        config = self.obj["spec"].get("sessionAffinityConfig") or {}
        return int((config.get("clientIP") or {}).get("timeoutSeconds") or 0)

    @property
    def families(self) -> tuple[str, ...]:
        """Its IP families, the primary one first, by the cluster IPs that it has; if it has none, by its spec."""
        spec = self.obj["spec"]
        ips = [ip for ip in spec.get("clusterIPs") or () if ip != "None"]
        return tuple("IPv6" if ":" in ip else "IPv4" for ip in ips) or tuple(spec.get("ipFamilies") or ())

    @property
    def ip_version(self) -> int:
        """The IP version (4 or 6) of its first family; the cluster's where it has none, as an ExternalName Service."""
        first = self.families[:1]
        return self._world.cluster.ip_version if not first else 6 if first[0] == "IPv6" else 4

    @property
    def rdtype(self) -> str:
        """The type of the DNS records with addresses of its first family: A or AAAA."""
        return "AAAA" if self.ip_version == 6 else "A"

    def must_have(self, *families: str) -> None:
        """Its cluster IPs are of these families, in this order. Raises `NotConforming`."""
        judged()
        if not self._world.board.wait(lambda: self.families == families, 2):
            had = ", ".join(self.families) or "none"
            asked = f"cluster IPs of {', '.join(families)}"
            raise NotConforming([Failure("API", f"Service {self.name}", asked, had)])

    # ports

    @property
    def node_ports(self) -> tuple[int, ...]:
        return tuple(p["nodePort"] for p in self.obj["spec"].get("ports", []) if p.get("nodePort"))

    def _port(self, name: str) -> Object:
        ports: list[Object] = self.obj["spec"].get("ports", [])
        for port in ports:
            if not name or port.get("name") == name:
                return port
        raise CannotMeasure(f"the Service {self.namespace}/{self.name} has no port {name or 'at all'}")

    def port(self, name: str = "") -> int:
        """The number of the named port, or of the first."""
        return int(self._port(name)["port"])

    def node_port(self, name: str = "") -> int:
        """The node port of the named port, or of the first. Raises `NotConforming` when the cluster gave none."""
        number = self._port(name).get("nodePort")
        if not number:
            # whoever provides load balancers may be the one who asks for none
            layer = BALANCER if self.type == "LoadBalancer" else ""
            where = f"{self.type} Service {self.name}"
            raise NotConforming([Failure("API", where, "a node port", "none allocated", layer=layer)])
        return int(number)

    # names

    @property
    def fqdn(self) -> str:
        return dns_names.fqdn(self.name, self.namespace, self._world.cluster.domain)

    @property
    def qualified(self) -> tuple[str, ...]:
        """Every form of its name that must work from any namespace."""
        return dns_names.qualified(self.name, self.namespace, self._world.cluster.domain)

    @property
    def reverse(self) -> str:
        """The name of its cluster IP's PTR record."""
        return dns_names.reverse(self.cluster_ip)

    def srv(self, port: str = "", protocol: str = "") -> str:
        """The name of a named port's SRV records."""
        found = self._port(port)
        protocol = protocol or found.get("protocol", "TCP")
        return dns_names.srv(found["name"], protocol, self.name, self.namespace, self._world.cluster.domain)

    def member(self, pod: str) -> str:
        """The name of one pod of a StatefulSet behind this headless Service."""
        return f"{pod}.{self.fqdn}"
