"""The names that cluster DNS gives to a Service, and the records that they have."""

from __future__ import annotations

from kubereach.model import dns_names
from kubereach.world.connection import Connection
from kubereach.world.service_object import ServiceObject
from kubereach.world.service_spec import ServiceSpec


class ServiceNames:
    """A Service's names in the cluster's domain. Source: see `kubereach.model.dns_names`."""

    def __init__(self, connection: Connection, obj: ServiceObject, spec: ServiceSpec) -> None:
        self._connection = connection
        self._object = obj
        self._spec = spec

    @property
    def _whole(self) -> tuple[str, str, str]:
        """Name, namespace and the cluster's domain, which is known for sure only once pods have said it."""
        return self._object.name, self._object.namespace, self._connection.cluster.domain

    @property
    def fqdn(self) -> str:
        """The whole name, with the final dot."""
        return dns_names.fqdn(*self._whole)

    @property
    def qualified(self) -> tuple[str, ...]:
        """Every form of the name that must work from any namespace."""
        return dns_names.qualified(*self._whole)

    @property
    def reverse(self) -> str:
        """The name of the cluster IP's PTR record."""
        return dns_names.reverse(self._spec.cluster_ip)

    def srv(self, port: str = "") -> str:
        """The name of the SRV records of the named port, or of the first."""
        found = self._spec.port(port)
        return dns_names.srv(found["name"], found.get("protocol", "TCP"), *self._whole)

    def pod(self, hostname: str) -> str:
        """The name of one pod behind this headless Service: one of a StatefulSet, or with this hostname."""
        return f"{hostname}.{self.fqdn}"

    @property
    def rdtype(self) -> str:
        """The type of the records with addresses of its first family: A or AAAA."""
        return "AAAA" if self._spec.ip_version == 6 else "A"

    def records(self, rdtype: str) -> frozenset[str]:
        """Its cluster IPs as A or AAAA records; empty for the family that it does not have."""
        return frozenset(ip for ip in self._spec.cluster_ips if dns_names.rdtype(ip) == rdtype)
