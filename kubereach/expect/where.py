"""What an expectation is about: addresses of Services, and DNS servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubereach.kube.cluster import Cluster
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.model.address import Address
from kubereach.model.convergence import not_before
from kubereach.world.service import Service

#: addresses by the name of the node that they lead to
ByNode = Mapping[str, Sequence[Address]]
Where = Address | Service | Iterable[Address | Service]
Server = Address | Cluster | DnsReplica | Iterable[Address | DnsReplica]


def addresses_of(where: Where) -> list[Address]:
    """A Service stands for its cluster IP and first port."""
    if isinstance(where, Address):
        return [where]
    if isinstance(where, Service):
        return [where.vip()]
    return [address for one in where for address in addresses_of(one)]


def servers_of(by: Server, settled: float, earliest: float) -> list[Address]:
    """A cluster stands for its DNS Service. What they serve has settled at `settled`, and not before `earliest`."""
    limit = not_before(settled, earliest)
    if isinstance(by, Address):
        return [by]
    if isinstance(by, Cluster):
        dns = by.known_dns
        return [Address("dns", "dns", dns.address, 53, limit, dns.name)]
    if isinstance(by, DnsReplica):
        return [Address("dns", "dns", by.address, by.port, limit, by.pod)]
    return [address for one in by for address in servers_of(one, settled, earliest)]
