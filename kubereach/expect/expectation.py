"""`expect(...)`: what checks say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import ip_address

from kubereach.expect import (
    affinity,
    balance,
    dns,
    flows,
    health,
    load,
    negative,
    node_mesh,
    proxies,
    reach,
    routes,
    sctp,
    signals,
    sources,
    tls,
    tracking,
)
from kubereach.kube.cluster import Cluster, Node
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.address import Address
from kubereach.model.convergence import not_before
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import DNS, NODE
from kubereach.model.outcome import NXDOMAIN, UNANSWERED
from kubereach.model.tally import judged
from kubereach.probe import Vantage, VantageGroup
from kubereach.world.service import Service

Where = Address | Service | Iterable[Address | Service]
Server = Cluster | DnsReplica | Iterable[DnsReplica]


def expect(who: Vantage | VantageGroup) -> Expectation:
    """Say what must hold for a vantage, or for every vantage of a group at the same time."""
    return Expectation(who.members if isinstance(who, VantageGroup) else (who,))


class Expectation:
    """What must hold for every one of some vantages.

    Each method raises `NotConforming` with one failure for each vantage and address that misses, or `CannotMeasure`.
    `within` is the seconds that the path has to converge; without it, until what it leads to has settled, see
    `kubereach.world`. A path that has had its time must work at once.
    """

    def __init__(self, vantages: Sequence[Vantage]) -> None:
        self._vantages = tuple(vantages)

    # connections

    def to_reach(
        self,
        where: Where,
        *,
        backends: Collection[str] | Mapping[str, Collection[str]] | None = None,
        every: bool = False,
        source: str | None = None,
        within: float | None = None,
    ) -> None:
        """The address answers; then so many times in a row that a loss of ``settings.loss`` would have been noticed.

        `backends`: names of the pods that may answer, and nobody else (by the vantage's node, if it is a mapping);
        `every`: each of them does. `source`: the client's address that the backends must have seen, `OWN` for the
        vantage's own. A connection that needed a
        retransmission is a miss.
        """
        reach.reach(self._vantages, addresses_of(where), backends, every, source, within)

    def to_reach_other_nodes(self, where: Mapping[str, Sequence[Address]]) -> None:
        """Each vantage reaches the addresses that are given for other nodes than its own, by the nodes' names.

        On large clusters each tries the next ten nodes, so that each node is tried by ten.
        """
        node_mesh.mesh(self._vantages, where)

    def to_be_refused(self, where: Where, *, control: Where, within: float | None = None) -> None:
        """Connections are refused, not ignored. `control` is what the same vantages must reach, before and after."""
        negative.negative(self._vantages, addresses_of(where), None, addresses_of(control), within)

    def not_to_be_answered(self, where: Where, *, control: Where, within: float | None = None) -> None:
        """Nobody answers, in whatever way: refused, timed out, unreachable or denied by the node's own rules.

        What is taken and then reset was answered: somebody is there.
        """
        negative.negative(self._vantages, addresses_of(where), UNANSWERED, addresses_of(control), within)

    def to_keep_reaching(
        self, where: Where, *, backends: Collection[str] | None = None, drain: float | None = None
    ) -> AbstractContextManager[None]:
        """While the block runs, new connections are made all the time, and none of them is lost or late.

        A packet that had to be sent again counts as lost. `backends`: the pods that may answer. `drain`: seconds for
        which the pods wait before they end. Where connections are lost and a change has taken longer than that to be
        followed, the pods may have ended before the service proxies could know: `CannotMeasure`.
        """
        return flows.keep_reaching(self._vantages, addresses_of(where), backends, drain)

    def flow(
        self, where: Where, *, every: float = flows.PING, count: int = 1
    ) -> AbstractContextManager[flows.Flow]:
        """Open a TCP connection (port ``line``) or a UDP flow from one port (``datagram``), with a ping every so often.

        `every` is seconds; `count` of them are opened from each vantage to each address.
        Change something in the block, then say what must have become of the flow: `Flow.must_stay`, `Flow.must_move`.
        """
        return flows.flow(self._vantages, addresses_of(where), every, count)

    def to_stick(
        self, where: Where, *, count: int = 50, pause: float = 0.0, kept: affinity.Stuck | None = None
    ) -> dict[tuple[str, str], str]:
        """Each vantage is answered by one endpoint alone, over `count` connections, `pause` seconds apart.

        Gives that endpoint for each (vantage, address); `kept` is what it was before and still must be.
        """
        return affinity.stick(self._vantages, addresses_of(where), count, pause, kept)

    def to_be_let_go(self, where: Where, *, after: float, kept: affinity.Stuck, endpoints: int) -> None:
        """After so many seconds of silence some of the vantages are at another of `endpoints` than `kept` says.

        Each may be at the same one by chance: all of `n` stay of `k` endpoints with a probability of ``k ** -n``.
        Raises `CannotMeasure` where that is more than 1e-9: then it takes more addresses.
        """
        affinity.moved(self._vantages, addresses_of(where), after, kept, endpoints)

    def to_be_told_apart(self, kept: affinity.Stuck, *, endpoints: int) -> None:
        """Several vantages of one node are clients of their own: not every Service of `kept` has them at one endpoint.

        Raises `CannotMeasure` where luck may do that with a probability of more than 1e-9.
        """
        affinity.apart(self._vantages, kept, endpoints)

    def to_be_told_health(self, service: Service, *, nodes: Sequence[Node]) -> None:
        """The Service's health-check node port answers 200 on the nodes with ready endpoints, 503 on all others."""
        good = [
            service.addresses.health_check_on(node).host
            for node in nodes
            if node.name in service.endpoints.by_node
        ]
        health.told(self._vantages, [service.addresses.health_check_on(node) for node in nodes], good)

    def to_report_source(self, where: Where) -> None:
        """Every connection is answered; as whom the backends saw the vantages is told in the report."""
        sources.told(self._vantages, addresses_of(where))

    def to_report(self, where: Where) -> None:
        """Nothing is demanded: whether the vantages are answered there is told in the report."""
        sources.reported(self._vantages, addresses_of(where))

    def to_agree(self, where: Where) -> None:
        """All vantages are answered there, or none is; which of the two is told in the report."""
        sources.alike(self._vantages, addresses_of(where))

    def to_be_balanced(self, where: Where, *, backends: Collection[str], count: int = 200) -> None:
        """Over `count` connections of each vantage every backend gets its share, within what chance allows.

        The distribution is told in the report. A fair balancer fails with a probability below 1e-9.
        """
        balance.balanced(self._vantages, addresses_of(where), backends, count)

    def to_speak_sctp(self, port: int) -> None:
        """The vantages, which are backends, serve SCTP on `port`, as they see it themselves. Raises `Unsupported`."""
        sctp.served(self._vantages, port)

    def to_take_a_burst(self, where: Where, *, count: int) -> None:
        """So many connections at once from one client, one vantage after the other, are all answered."""
        load.burst(self._vantages, addresses_of(where), count)

    def to_transfer(self, where: Where, *, size: int) -> None:
        """So many bytes get to a backend over one HTTP connection, and back again, unchanged."""
        load.transfer(self._vantages, addresses_of(where), size)

    def to_carry(self, where: Where, *, size: int) -> None:
        """Datagrams of so many bytes are answered by as many; if not, the failure says which size still is."""
        load.datagrams(self._vantages, addresses_of(where), size)

    def to_trust(self, where: Where, *, ca: str, within: float | None = None) -> None:
        """A TLS server has a certificate for the name or address that it is called by, signed by `ca` (PEM)."""
        tls.trusted(self._vantages, addresses_of(where), ca, within)

    # nodes

    def to_have_one_proxy_mode(self, others: Mapping[str, object]) -> None:
        """The service proxy of every node says the same of its mode; `others` are what stands for one, by node.

        The mode is told in the report. Raises `Unsupported` where neither is known.
        """
        proxies.modes(self._vantages, others)

    def to_have_healthy_proxies(self, cluster: Cluster) -> None:
        """kube-proxy answers 200 on every node. Raises `Unsupported` where no node has one."""
        proxies.healthy(self._vantages, {node.name: node for node in cluster.nodes})

    def to_have_room_for_connections(self) -> None:
        """No more than ``settings.conntrack_share`` of the tracked connections that a node may have are in use."""
        tracking.used(self._vantages, self._vantages[0].context.settings.conntrack_share)

    def to_signal(self, where: Where) -> None:
        """Latency, traffic, errors and saturation of each path are told; errors stay below ``settings.loss``."""
        signals.signals(self._vantages, addresses_of(where))

    # names

    def to_have_a_route(self, where: Where) -> None:
        """Packets to the addresses leave the vantages' machines. Raises `Unsupported` where the kernel has no route."""
        routes.needed(self._vantages, addresses_of(where))

    def to_hear_a_name_server(self) -> None:
        """One of the name servers that each vantage has answers, whatever. Raises `Unsupported` where none does."""
        routes.heard(self._vantages)

    def to_find(self, name: str) -> None:
        """The vantage's own resolver finds the name, whatever its addresses; they are told in the report."""
        dns.find(self._vantages, name)

    def to_report_records(self, rdtype: str, name: str, *, by: Cluster, longest: int = 0) -> None:
        """There are such records, which the report tells with the seconds that they may be kept: `longest` at most."""
        dns.report(self._vantages, self._servers(by, 0.0), rdtype, name, longest)

    def to_resolve(
        self,
        name: str | Sequence[str],
        addresses: Collection[str],
        *,
        settled: float = 0.0,
        within: float | None = None,
    ) -> None:
        """The vantage's own resolver finds exactly these addresses (of one family) for the name, or for each name.

        `settled` is when a Service's last change has settled: ``service.settled``.
        """
        limit = not_before(settled, self._vantages[0].context.settled)
        family = 6 if any(":" in address for address in addresses) else 4
        dns.resolve(self._vantages, _names(name), addresses, family, limit, within)

    def not_to_resolve(self, name: str | Sequence[str], *, control: str, settled: float = 0.0) -> None:
        """The vantage's own resolver knows no such name (NXDOMAIN); `control` is a name that it must know."""
        dns.not_resolve(self._vantages, _names(name), control, frozenset({NXDOMAIN}), settled)

    def not_to_know(self, name: str | Sequence[str], *, control: str = "") -> None:
        """The vantage's own resolver does not find the name, for whatever reason.

        For names that are asked of resolvers outside the cluster as well: what those say is not the cluster's doing.
        """
        dns.not_resolve(self._vantages, _names(name), control, dns.UNKNOWN_NAME, 0.0)

    def to_be_told(
        self,
        rdtype: str,
        name: str,
        records: Collection[str],
        *,
        by: Server,
        rcode: str = "NOERROR",
        transport: str = "udp",
        truncated: bool = False,
        thorough: bool = False,
        settled: float = 0.0,
        within: float | None = None,
    ) -> None:
        """A DNS server answers a query with exactly these records of the type asked for.

        `by` is the cluster (its DNS Service), a replica, or several. Records are texts as in
        `kubereach.probe.dns_message`: addresses, names with their final dot, ``port target`` for SRV. No records mean
        that there are none (NODATA). `truncated`: over UDP the answer must say that it is incomplete. `thorough`: as
        many queries in a row as probes of a path, so that loss is noticed.
        """
        servers = self._servers(by, settled)
        dns.told(
            self._vantages, servers, rdtype, name, records, rcode, transport, truncated, thorough, within
        )

    def to_find_members(
        self,
        service: Service,
        port: int,
        *,
        by: Server,
        addresses: Collection[str] | None = None,
        names: Collection[str] | None = None,
    ) -> None:
        """The SRV records of a headless Service's port: one target for each address, and each target is one of them.

        How a target without a hostname is called is the server's own choice, so they are told by their addresses;
        `names` are the targets where endpoints have hostnames.
        """
        wanted = frozenset(service.endpoints.addresses if addresses is None else addresses)
        server = self._servers(by, service.settled)[0]
        members = None if names is None else frozenset(names)
        found = dns.srv_targets(self._vantages, server, service.names.srv(), port, len(wanted), members)
        of = service.endpoints.address_of
        whose = {f"{pod}.{service.fqdn}": address for pod, address in of.items()} if names is not None else {}
        targets = found[self._vantages[0].name]
        pointed = {target: self._address_of(target, server, wanted, whose.get(target)) for target in targets}
        if frozenset(pointed.values()) != wanted:
            missing = ", ".join(sorted(wanted - frozenset(pointed.values())))
            raise NotConforming(
                [
                    Failure(
                        self._vantages[0].name,
                        f"dns SRV {service.names.srv()}",
                        f"a target for each of {', '.join(sorted(wanted))}",
                        f"none for {missing}",
                        tuple(f"{target} is {address}" for target, address in sorted(pointed.items())),
                        layer=DNS,  # every name and every address is one that it was told
                    )
                ]
            )

    def _address_of(self, target: str, server: Address, wanted: frozenset[str], own: str | None) -> str:
        """The one address of an SRV target, which must be among `wanted`, and `own` where that is known."""
        allowed = frozenset({own}) if own else wanted
        return dns.one_address(self._vantages, server, target, allowed)

    def to_be_configured(
        self, *, nameservers: Collection[str], search: Sequence[str], ndots: int | None
    ) -> None:
        """/etc/resolv.conf has exactly these name servers, search list (in order) and ndots (None: whatever).

        A link-local name server stands for the cluster's own: that is how NodeLocal DNSCache is set up.
        """
        judged(len(self._vantages), len(self._vantages))
        failures = []
        for vantage in self._vantages:
            found = ResolvConf.parse(vantage.read_file("/etc/resolv.conf"))
            servers = tuple(nameservers)
            local = all(ip_address(address).is_link_local for address in found.nameservers)
            wanted = ResolvConf(
                found.nameservers if local and found.nameservers else servers,
                # a node's own search list may follow the cluster's
                tuple(search) + found.search[len(search) :],
                found.ndots if ndots is None else ndots,
            )
            if found != wanted:
                where = f"{vantage.pod} /etc/resolv.conf" if vantage.pod else "/etc/resolv.conf"
                failures.append(Failure(vantage.name, where, _conf(wanted), _conf(found), layer=NODE))
        if failures:
            raise NotConforming(failures)

    def not_to_be_configured(self, *, search: str) -> None:
        """/etc/resolv.conf has name servers, and not `search` in its search list: of an empty file that is no merit."""
        judged(len(self._vantages), len(self._vantages))
        failures = []
        for vantage in self._vantages:
            found = ResolvConf.parse(vantage.read_file("/etc/resolv.conf"))
            if not found.nameservers or search in found.search:
                expected = f"the node's name servers, and no search for {search}"
                where = f"{vantage.pod} /etc/resolv.conf" if vantage.pod else "/etc/resolv.conf"
                failures.append(Failure(vantage.name, where, expected, _conf(found), layer=NODE))
        if failures:
            raise NotConforming(failures)

    def _servers(self, by: Server, settled: float) -> list[Address]:
        limit = not_before(settled, self._vantages[0].context.settled)
        if isinstance(by, Cluster):
            dns = by.known_dns
            return [Address("dns", "dns", dns.address, 53, limit, dns.name)]
        replicas = [by] if isinstance(by, DnsReplica) else list(by)
        return [Address("dns", "dns", r.address, r.port, limit, r.pod) for r in replicas]


def addresses_of(where: Where) -> list[Address]:
    """A Service stands for its cluster IP and first port."""
    if isinstance(where, Address):
        return [where]
    if isinstance(where, Service):
        return [where.vip()]
    return [address for one in where for address in addresses_of(one)]


def _names(name: str | Sequence[str]) -> list[str]:
    return [name] if isinstance(name, str) else list(name)


def _conf(conf: ResolvConf) -> str:
    servers, search = " ".join(conf.nameservers) or "none", " ".join(conf.search) or "none"
    return f"nameservers {servers}; search {search}; ndots {conf.ndots}"
