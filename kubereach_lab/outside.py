"""The outside: where the lab's own processes and its clients are, with the bridge that joins it and the nodes."""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path
from typing import Any

from pyroute2.iproute.linux import IPRoute

from kubereach_lab import middlebox
from kubereach_lab.config import LabConfig
from kubereach_lab.network import Host, NodeNetwork, add_address, begin_ipv6, nft, sysctl

_BRIDGE = "underlay"
_NOWHERE = "nowhere"
_NOWHERE_TABLE = 100
_RESOLV_CONF = Path("/etc/resolv.conf")
_RESOLVER = re.compile(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", re.MULTILINE)


class Outside(Host):
    """Where the lab's processes are: the host that the nodes' underlay hangs on, and their default gateway."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__("outside", None)
        self._config = config
        self._routes: dict[str, str] = {}

    async def start(self) -> None:
        await self.do(self._bridge)
        if self._config.faults.net.middlebox:
            for plan in self._config.plans:
                await self.do(middlebox.catch, plan)
                await middlebox.serve(plan)

    def _bridge(self) -> None:
        if self._config.has_ipv6:
            begin_ipv6(forwarding=False)
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.link("add", ifname=_BRIDGE, kind="bridge")
            index = ip.link_lookup(ifname=_BRIDGE)[0]
            ip.link("set", index=index, state="up")
            _plain_bridge()
            nowhere = _make_nowhere(ip)
            for plan in self._config.plans:
                add_address(ip, plan, index, plan.outside, plan.underlay.prefixlen)
                # An address of the pool that no node serves: what is sent to it is lost further on.
                ip.route("add", dst=str(plan.load_balancers), oif=nowhere, prefsrc=plan.outside)
                # The same of a cluster IP: the outside has a way to its own router, which knows none.
                routed = self._config.faults.net.service_range_routed
                way = (
                    {"gateway": plan.node_address(0)} if routed else {"oif": nowhere, "prefsrc": plan.outside}
                )
                ip.route("add", dst=str(plan.services), **way)
            if self._config.faults.dns.known_outside:
                self._forward_dns(ip)
            if self._config.has_ipv6:
                # IPv4 drops what it has no route for unless it is a router; IPv6 would say so.
                ip.route("add", family=socket.AF_INET6, dst="::/0", table=_NOWHERE_TABLE, type="blackhole")
                ip.rule("add", family=socket.AF_INET6, iifname=_BRIDGE, table=_NOWHERE_TABLE, priority=32767)
        # Packets that no node captured end here, as at a router that knows no way: they are not sent back.
        sysctl("ipv4/ip_forward", "0")

    def _forward_dns(self, ip: Any) -> None:
        """Whatever name server is asked, the cluster's answers."""
        dns = self._config.dns_address
        node = self._config.node_addresses[0]
        # a packet needs a route before it can be translated
        configured = {s for s in _RESOLVER.findall(_RESOLV_CONF.read_text()) if not s.startswith("127.")}
        for server in {dns, *configured}:
            ip.route("replace", dst=f"{server}/32", gateway=node)
        sysctl(f"ipv4/conf/{_BRIDGE}/route_localnet", "1")
        nft(f"""
            table ip kubereach-dns {{
                chain output {{ type nat hook output priority -100; udp dport 53 dnat to {dns}; }}
                chain postrouting {{ type nat hook postrouting priority srcnat; ip daddr {dns} masquerade; }}
            }}
        """)

    async def announce(self, address: str, node: str) -> None:
        """Route a load-balancer address to the node with this address; "" withdraws it.

        One node for each address, as load balancers of layer 2 do it: over several next hops, any change of routes
        makes the kernel choose again for connections that are open, and another node knows nothing of them.
        """
        if self._routes.get(address, "") != node:
            await self.do(self._route, address, node)

    def _route(self, address: str, node: str) -> None:
        range_ = f"{address}/128" if ":" in address else f"{address}/32"
        with IPRoute() as ip:
            if node:
                ip.route("replace", dst=range_, gateway=node)
                self._routes[address] = node
            elif self._routes.pop(address, None):
                ip.route("del", dst=range_)


def _plain_bridge() -> None:
    """The underlay is a switch: if the machine has br_netfilter, frames would pass through IP's hooks for nothing."""
    for knob in ("iptables", "ip6tables", "arptables"):
        with contextlib.suppress(OSError):  # not the module, or none of ours to set
            Path(f"/proc/sys/net/bridge/bridge-nf-call-{knob}").write_text("0")


def _make_nowhere(ip: Any) -> int:
    """A link that swallows what is sent over it; returns its index.

    A blackhole route would tell the sender. Frames without a neighbour's address are nobody's at the other end.
    """
    ip.link("add", ifname=_NOWHERE, kind="veth", peer={"ifname": f"{_NOWHERE}-end"})
    index = int(ip.link_lookup(ifname=_NOWHERE)[0])
    end = ip.link_lookup(ifname=f"{_NOWHERE}-end")[0]
    ip.link("set", index=index, state="up", arp=False)
    ip.link("set", index=end, state="up", arp=False)
    return index


def attach_node(node: NodeNetwork) -> None:
    """Put a node's link on the underlay; runs in the outside's thread."""
    with IPRoute() as ip:
        bridge = ip.link_lookup(ifname=_BRIDGE)[0]
        port = ip.link_lookup(ifname=node.bridge_port)[0]
        ip.link("set", index=port, master=bridge, state="up")
