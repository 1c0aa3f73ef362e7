"""What a Service's spec says: its type, its cluster IPs, their families, its selector and its ports."""

from __future__ import annotations

from kubereach.kube.client import Object
from kubereach.kube.endpoints import selector_of
from kubereach.model.errors import CannotMeasure, Failure, NotConforming
from kubereach.model.finding import BALANCER
from kubereach.model.tally import judged
from kubereach.world.service_object import ServiceObject


class ServiceSpec:
    """A typed view of the spec, always as the API has it now. `ip_version` is the cluster's first one, 4 or 6."""

    def __init__(self, obj: ServiceObject, ip_version: int) -> None:
        self._object = obj
        self._ip_version = ip_version

    @property
    def _spec(self) -> Object:
        spec: Object = self._object.latest["spec"]
        return spec

    @property
    def type(self) -> str:
        return str(self._spec.get("type", "ClusterIP"))

    @property
    def is_headless(self) -> bool:
        return bool(self._spec.get("clusterIP") == "None")

    @property
    def external_name(self) -> str:
        """spec.externalName, with the final dot, in lower case."""
        return str(self._spec.get("externalName", "")).rstrip(".").lower() + "."

    @property
    def external_ips(self) -> tuple[str, ...]:
        return tuple(self._spec.get("externalIPs") or ())

    @property
    def selector(self) -> dict[str, str]:
        """Its selector: another Service with the same one has all of its endpoints from the first moment on."""
        return selector_of(self._object.latest)

    @property
    def affinity_timeout(self) -> int:
        """sessionAffinityConfig.clientIP.timeoutSeconds; 0 when there is none."""
        config = self._spec.get("sessionAffinityConfig") or {}
        return int((config.get("clientIP") or {}).get("timeoutSeconds") or 0)

    # cluster IPs and their families

    @property
    def cluster_ips(self) -> frozenset[str]:
        found = self._spec.get("clusterIPs") or [self._spec.get("clusterIP", "")]
        return frozenset(ip for ip in found if ip and ip != "None")

    @property
    def cluster_ip(self) -> str:
        """The first cluster IP; empty when there is none."""
        ip = str(self._spec.get("clusterIP", ""))
        return "" if ip == "None" else ip

    @property
    def families(self) -> tuple[str, ...]:
        """Its IP families, the primary one first, by the cluster IPs that it has; if it has none, by its spec."""
        ips = [ip for ip in self._spec.get("clusterIPs") or () if ip != "None"]
        return tuple("IPv6" if ":" in ip else "IPv4" for ip in ips) or tuple(
            self._spec.get("ipFamilies") or ()
        )

    @property
    def ip_version(self) -> int:
        """The IP version (4 or 6) of its first family; the cluster's where it has none, as an ExternalName Service."""
        first = self.families[:1]
        return self._ip_version if not first else 6 if first[0] == "IPv6" else 4

    def must_have_families(self, *families: str) -> None:
        """Its cluster IPs are of these families, in this order. Raises `NotConforming`."""
        judged()
        if not self._object.wait(lambda: self.families == families, 2):
            got = ", ".join(self.families) or "none"
            expected = f"cluster IPs of {', '.join(families)}"
            raise NotConforming([Failure("API", f"Service {self._object.name}", expected, got)])

    # ports

    @property
    def ports(self) -> list[Object]:
        return list(self._spec.get("ports") or ())

    @property
    def node_ports(self) -> tuple[int, ...]:
        return tuple(port["nodePort"] for port in self.ports if port.get("nodePort"))

    def port(self, name: str = "") -> Object:
        """The named port, or the first. Raises `CannotMeasure`."""
        for port in self.ports:
            if not name or port.get("name") == name:
                return port
        where = f"{self._object.namespace}/{self._object.name}"
        raise CannotMeasure(f"the Service {where} has no port {name or 'at all'}")

    def port_number(self, name: str = "") -> int:
        """The number of the named port, or of the first."""
        return int(self.port(name)["port"])

    def node_port(self, name: str = "") -> int:
        """The node port of the named port, or of the first. Raises `NotConforming` when the cluster gave none."""
        number = self.port(name).get("nodePort")
        if not number:
            # whoever provides load balancers may be the one who asks for none
            layer = BALANCER if self.type == "LoadBalancer" else ""
            where = f"{self.type} Service {self._object.name}"
            raise NotConforming([Failure("API", where, "a node port", "none allocated", layer=layer)])
        return int(number)

    def health_check_node_port(self) -> int:
        """spec.healthCheckNodePort. Raises `NotConforming` when the cluster gave none."""
        number = self._spec.get("healthCheckNodePort")
        if not number:
            where = f"Service {self._object.name}"
            raise NotConforming([Failure("API", where, "a health-check node port", "none allocated")])
        return int(number)
