"""Links, addresses and routes: the underlay, a network namespace per node, one per pod.

As with kind: nodes hang on one bridge (the underlay), which is also where the outside is. A pod has a point-to-point
link to its node, which routes to it, so that every packet between two pods passes through the node's own rules, also
on one node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2.iproute.linux import IPRoute

from kubereach_lab import nftables, syscalls
from kubereach_lab.config import AddressPlan, LabConfig

T = TypeVar("T")
_SCOPE_LINK = 253
#: what the mode ipvs of kube-proxy gives Services' addresses to
_IPVS = "kube-ipvs0"
_NO_DAD = 0x02  # IFA_F_NODAD: nobody else can have the address, so that it need not be tried for a second
_NO_PREFIX_ROUTE = 0x200  # IFA_F_NOPREFIXROUTE: other pods of the node are reached through it, not directly
_NETNS = Path("/run/netns")
#: TCP connections that one client may have at a time through a node with a limit
_CONNECTIONS = 200
#: TCP connections that a node with a small table tracks at a time, and for how many seconds, closed or not
_TRACKED = 200
_TRACKED_SECONDS = 30
#: rules for what says that a packet is too large for a link, and for all fragments but first ones, by IP version
_TOO_LARGE = {
    4: "icmp type destination-unreachable icmp code frag-needed drop",
    6: "icmpv6 type packet-too-big drop",
}
_LATER_FRAGMENTS = {4: "ip frag-off & 0x1fff != 0 drop", 6: "frag frag-off != 0 drop"}
#: rules that note whose client has closed its side, and then drop what is more than an acknowledgement or an end
_HALF_CLOSED = """
                ct direction original tcp flags & fin == fin ct mark set 1
                ct direction reply ct mark 1 meta length > 100 drop
"""
#: bytes of a packet on a route that is narrower than all others
_NARROW = 1400


class NetworkError(Exception):
    """The kernel refused a rule or a link; the text is what it said."""


class Host:
    """A network namespace and the one thread that lives in it; what must happen there is run there.

    A socket stays in the namespace that it was made in, whoever uses it afterwards.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        """`path` is where to name a new namespace; None means the one that the lab itself is in (the outside)."""
        self.name = name
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def start(self) -> None:
        if self.path is not None:
            await self.do(self._make)

    def _make(self) -> None:
        assert self.path is not None
        new_namespace(self.path)

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` in this namespace's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def nft(self, rules: str) -> None:
        """Apply rules in one transaction: all of them or none.

        Raises:
            NetworkError: nftables refused them.
        """
        await self.do(nft, rules)

    async def listen(self, address: str, port: int, *, dual_stack: bool = False) -> socket.socket:
        """A listening TCP socket in this namespace; with `dual_stack`, and "" as the address, of both families."""
        return await self.do(_listen, address, port, dual_stack)

    async def connect(self, address: str, port: int) -> socket.socket:
        """A TCP connection that starts in this namespace. Raises OSError."""
        connection = await self.do(_tcp_socket, socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
        except BaseException:
            connection.close()
            raise
        return connection


def new_namespace(path: Path) -> None:
    """Move the calling thread into a new network namespace and give it a name."""
    syscalls.unshare(syscalls.CLONE_NEWNET)
    path.touch()
    syscalls.mount("/proc/thread-self/ns/net", str(path), None, syscalls.MS_BIND)


def nft(rules: str) -> None:
    """Apply rules in the calling thread's namespace. Raises NetworkError."""
    reason = nftables.refusal(rules)
    if reason:
        raise NetworkError(f"nft: {reason}\n{rules}")


def _listen(address: str, port: int, dual_stack: bool) -> socket.socket:
    family = socket.AF_INET6 if dual_stack or ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=512, dualstack_ipv6=dual_stack)


def _tcp_socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def sysctl(name: str, value: str) -> None:
    """Set a network sysctl of the calling thread's namespace."""
    Path("/proc/sys/net", name).write_text(value)


def begin_ipv6(*, forwarding: bool) -> None:
    """Make IPv6 ready in the calling thread's namespace, for links that are still to be made."""
    sysctl("ipv6/conf/all/disable_ipv6", "0")
    for where in ("all", "default"):
        sysctl(f"ipv6/conf/{where}/forwarding", str(int(forwarding)))
    sysctl("ipv6/conf/default/disable_ipv6", "0")
    sysctl("ipv6/conf/default/accept_dad", "0")  # of link-local addresses: they are not waited for either
    sysctl("ipv6/conf/default/accept_ra", "0")


def _family(plan: AddressPlan) -> int:
    return socket.AF_INET if plan.version == 4 else socket.AF_INET6


def _host(plan: AddressPlan, address: str) -> str:
    """The range of this address alone."""
    return f"{address}/{plan.pods.max_prefixlen}"


def add_address(ip: Any, plan: AddressPlan, index: int, address: str, length: int, flags: int = 0) -> None:
    if plan.version == 6:
        flags |= _NO_DAD
    more = {"flags": flags} if flags else {}
    ip.addr("add", index=index, address=address, prefixlen=length, **more)


class NodeNetwork(Host):
    """A node's network namespace, with its link to the underlay, its pods' links and its rules."""

    def __init__(self, config: LabConfig, number: int) -> None:
        super().__init__(config.node_names[number], _NETNS / config.node_names[number])
        self._config = config
        self.number = number
        #: one of each family, the primary one first
        self.addresses = [plan.node_address(number) for plan in config.plans]
        self.address = self.addresses[0]
        self._ranges = [plan.pod_range(number) for plan in config.plans]
        self._next = 2
        self._used: set[str] = set()
        self._ip: Any = None
        self._namespace = -1
        #: addresses of kube-ipvs0 by IP version
        self._bound: dict[int, frozenset[str]] = {}

    async def start(self) -> None:
        await super().start()
        await self.do(self._connect)

    def _connect(self) -> None:
        if self._config.has_ipv6:
            begin_ipv6(forwarding=True)
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._ip = ip = IPRoute()
        outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)  # the main thread's: the outside
        ip.link("set", index=1, state="up")
        link = f"node{self.number}"
        ip.link("add", ifname="eth0", kind="veth", peer={"ifname": link, "net_ns_fd": outside})
        os.close(outside)
        eth0 = ip.link_lookup(ifname="eth0")[0]
        ip.link("set", index=eth0, state="up")
        last_number = self._config.nodes - 1
        for plan in self._config.plans:
            add_address(ip, plan, eth0, plan.node_address(self.number), plan.underlay.prefixlen)
            ip.route("add", family=_family(plan), dst="default", gateway=plan.outside)
            for other in range(self._config.nodes):
                if other != self.number:
                    narrow = self._config.faults.net.mtu_of_pair and (self.number, other) == (0, last_number)
                    more = {"metrics": {"mtu": _NARROW}} if narrow else {}
                    ip.route("add", dst=str(plan.pod_range(other)), gateway=plan.node_address(other), **more)
        last = self.number == last_number
        sysctl("ipv4/ip_forward", "0" if last and self._config.faults.node.forwarding_off else "1")
        if self._config.faults.node.conntrack_forgets:
            sysctl("netfilter/nf_conntrack_tcp_timeout_established", "1")
        if self._config.proxy_mode == "iptables" or self._config.faults.proxy.localhost_on_one_node:
            sysctl("ipv4/conf/all/route_localnet", "1")
        nft("".join(_pod_network_rules(self._config, plan, self.number) for plan in self._config.plans))

    async def bind(self, plan: AddressPlan, addresses: Collection[str]) -> None:
        """Make just these the family's addresses of kube-ipvs0, which belong to the node itself then."""
        await self.do(self._bind, plan, frozenset(addresses))

    def _bind(self, plan: AddressPlan, addresses: frozenset[str]) -> None:
        # a bridge without ports: the kernel of this machine may have no dummy links
        found = self._ip.link_lookup(ifname=_IPVS)
        if not found:
            self._ip.link("add", ifname=_IPVS, kind="bridge")
            found = self._ip.link_lookup(ifname=_IPVS)
            self._ip.link("set", index=found[0], state="up")
        bound = self._bound.get(plan.version, frozenset())
        for address in bound - addresses:
            self._ip.addr("delete", index=found[0], address=address, prefixlen=plan.pods.max_prefixlen)
        for address in addresses - bound:
            add_address(self._ip, plan, found[0], address, plan.pods.max_prefixlen)
        self._bound[plan.version] = addresses

    @property
    def bridge_port(self) -> str:
        """The name of this node's link as the outside sees it."""
        return f"node{self.number}"

    def take_addresses(self) -> tuple[str, ...]:
        """A free pod address of each family, the primary one first. Raises NetworkError when the range is used up."""
        size = min(pods.num_addresses for pods in self._ranges)
        for _ in range(size):
            candidates = tuple(str(pods[self._next]) for pods in self._ranges)
            # like host-local: the range is walked round, so that an address does not come back at once
            self._next = 2 if self._next >= size - 2 else self._next + 1
            if candidates[0] not in self._used:
                self._used.add(candidates[0])
                return candidates
        raise NetworkError(f"no pod address is free on {self.name}")

    async def add_pod(self, name: str, addresses: Sequence[str]) -> Path:
        """Make a pod's network namespace with its link and routes; returns the namespace's path.

        `addresses` are what `take_addresses` gave.
        """
        return await self.do(self._add_pod, name, addresses)

    def _add_pod(self, name: str, addresses: Sequence[str]) -> Path:
        path = _NETNS / f"pod-{name}"
        link = f"veth{name[:8]}"
        plans = list(zip(self._config.plans, self._ranges, addresses, strict=True))
        try:
            new_namespace(path)
            if self._config.has_ipv6:
                begin_ipv6(forwarding=False)
            with IPRoute() as pod:
                # Made in the pod and handed to the node, so that one namespace needs naming.
                pod.link(
                    "add", ifname="eth0", kind="veth", peer={"ifname": link, "net_ns_fd": self._namespace}
                )
                eth0 = pod.link_lookup(ifname="eth0")[0]
                pod.link("set", index=1, state="up")
                pod.link("set", index=eth0, state="up")
                for plan, pods, address in plans:
                    gateway = str(pods[1])
                    add_address(pod, plan, eth0, address, pods.prefixlen, _NO_PREFIX_ROUTE)
                    pod.route("add", dst=_host(plan, gateway), oif=eth0, scope=_SCOPE_LINK)
                    pod.route("add", dst=str(pods), gateway=gateway, prefsrc=address)
                    pod.route("add", family=_family(plan), dst="default", gateway=gateway)
            sysctl("ipv4/ip_unprivileged_port_start", "0")  # as container runtimes do
        finally:
            syscalls.setns(self._namespace, syscalls.CLONE_NEWNET)
        index = self._ip.link_lookup(ifname=link)[0]
        self._ip.link("set", index=index, state="up")
        for plan, pods, address in plans:
            add_address(self._ip, plan, index, str(pods[1]), plan.pods.max_prefixlen)
            self._ip.route("add", dst=_host(plan, address), oif=index, scope=_SCOPE_LINK)
        return path

    async def remove_pod(self, name: str, addresses: Sequence[str]) -> None:
        """Undo add_pod; the addresses are free again."""
        await self.do(self._remove_pod, name)
        self._used.discard(addresses[0])

    def _remove_pod(self, name: str) -> None:
        for index in self._ip.link_lookup(ifname=f"veth{name[:8]}"):
            self._ip.link("del", index=index)
        path = _NETNS / f"pod-{name}"
        if path.exists():
            with contextlib.suppress(OSError):  # no mount is there if making it failed half-way
                syscalls.unmount(str(path))
            path.unlink()


def _pod_network_rules(config: LabConfig, plan: AddressPlan, number: int) -> str:
    """What kind's CNI does besides routing: what leaves the pod network is masqueraded to the node's address."""
    ip, pods, faults = plan.nft, plan.pods, config.faults
    between_nodes = _lost_between_nodes(config, plan, number)
    inside = f'oifname "eth0" {ip} saddr {pods} {ip} daddr {pods} masquerade' if faults.net.snat else ""
    limit = f"add @clients {{ {ip} saddr ct count over {_CONNECTIONS} }} reject with tcp reset"
    limited = f"ct state new meta l4proto tcp {limit}" if faults.node.connection_limit else ""
    if faults.node.conntrack_small and number == config.nodes - 1:
        flow = f"{ip} saddr . th sport . {ip} daddr . th dport"
        limited = f"ct state new meta l4proto tcp add @tracked {{ {flow} }} accept; ct state new meta l4proto tcp drop"
    own, address = plan.pod_range(number), plan.node_address(number)
    closed = faults.node.closed_to_own_pods and number == config.nodes - 1
    incoming = f"ct state new {ip} saddr {own} {ip} daddr {address} meta l4proto tcp drop" if closed else ""
    silent = _TOO_LARGE[plan.version] if faults.net.mtu_of_pair and number == 0 else ""
    second = faults.net.second_fragments_lost and number == config.nodes - 1
    fragments = _LATER_FRAGMENTS[plan.version] if second else ""
    if faults.node.half_closed_cut and number == config.nodes - 1:
        limited = _HALF_CLOSED
    leaving = f'ct state new oifname "eth0" {ip} saddr {pods} {ip} daddr != {pods}'
    no_egress = f"{leaving} drop" if faults.net.no_egress else ""
    dns = _lost_dns(config, plan, number)
    return f"""
        table {ip} kubereach-pod-network {{
            chain postrouting {{
                type nat hook postrouting priority srcnat + 10;
                {ip} saddr {pods} {ip} daddr != {pods} masquerade fully-random
                {inside}
            }}
            set tracked {{
                type ipv{plan.version}_addr . inet_service . ipv{plan.version}_addr . inet_service
                flags dynamic; timeout {_TRACKED_SECONDS}s; size {_TRACKED}
            }}
            set asked {{
                type ipv{plan.version}_addr . inet_service; flags dynamic; timeout 1s; size 65535;
            }}
            set clients {{ type ipv{plan.version}_addr; flags dynamic; size 65535; }}
            chain forward {{
                type filter hook forward priority filter + 10;
                {between_nodes}
                {limited}
                {no_egress}
                {dns}
            }}
            chain input {{
                type filter hook input priority filter + 10;
                {incoming}
            }}
            chain output {{
                type filter hook output priority filter + 10;
                {between_nodes}
                {silent}
            }}
            chain fragments {{
                type filter hook prerouting priority -450; # before connection tracking puts them together
                {fragments}
            }}
        }}
    """


def _lost_dns(config: LabConfig, plan: AddressPlan, number: int) -> str:
    """The rules by which node number `number` loses packets of DNS, if faults ask for it; a UDP header has 8 bytes."""
    ip, faults, last = plan.nft, config.faults, number == config.nodes - 1
    rules = []
    if faults.dns.tcp_lost:
        rules.append("tcp dport 53 drop")
    if faults.net.large_dns_answers_lost:
        rules.append("udp sport 53 udp length > 520 drop")
    if faults.net.large_dns_answers_lost_on_one_node and last:
        rules.append('oifname "veth*" udp sport 53 udp length > 520 drop')
    if faults.node.dns_second_query_lost and last:
        often = "limit rate over 200/second burst 1 packets"
        rules.append(f'iifname "veth*" udp dport 53 update @asked {{ {ip} saddr . udp sport {often} }} drop')
    return "\n                ".join(rules)


def _lost_between_nodes(config: LabConfig, plan: AddressPlan, number: int) -> str:
    """The rules by which node number `number` loses packets on the way to other nodes' pods, if faults ask for it."""
    ip, faults, last = plan.nft, config.faults, config.nodes - 1
    to_pods = f'oifname "eth0" {ip} daddr {plan.pods}'
    rules = []
    if faults.net.mtu:
        rules.append(f"{to_pods} meta length > 1400 drop")
    if faults.net.loss_5_percent:
        rules.append(f"{to_pods} numgen random mod 100 < 5 drop")
    if faults.net.node_pair_cut and number == 0 < last:
        rules.append(f'oifname "eth0" {ip} daddr {plan.pod_range(last)} drop')
    if faults.net.large_lost_on_one_node and number == last:
        rules.append("meta length > 1300 drop")
    if faults.node.marked_lost and number == last:
        rules.append(f"{ip} dscp ef drop")
    if faults.net.one_way and number == last:
        rules.append(f"{to_pods} ct direction reply drop")
    return "\n                ".join(rules)
