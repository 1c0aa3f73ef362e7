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
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2.iproute.linux import IPRoute

from kubereach.lab import syscalls
from kubereach.lab.config import UNDERLAY, LabConfig

T = TypeVar("T")
_SCOPE_LINK = 253
_NO_PREFIX_ROUTE = 0x200  # IFA_F_NOPREFIXROUTE: other pods of the node are reached through it, not directly
_BRIDGE = "underlay"
_NETNS = Path("/run/netns")


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
            NetworkError: `nft` refused them.
        """
        await self.do(_nft, rules)

    async def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket in this namespace."""
        return await self.do(_listen, address, port)

    async def connect(self, address: str, port: int) -> socket.socket:
        """A TCP connection that starts in this namespace. Raises OSError."""
        connection = await self.do(_tcp_socket)
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


def _nft(rules: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworkError(f"nft: {done.stderr.strip()}\n{rules}")


def _listen(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port), backlog=512)


def _tcp_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def sysctl(name: str, value: str) -> None:
    """Set a network sysctl of the calling thread's namespace."""
    Path("/proc/sys/net", name).write_text(value)


class Outside(Host):
    """Where the lab's processes are: the host that the nodes' underlay hangs on, and their default gateway."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__("outside", None)
        self._config = config
        self._routes: dict[str, str] = {}

    async def start(self) -> None:
        await self.do(self._bridge)

    def _bridge(self) -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.link("add", ifname=_BRIDGE, kind="bridge")
            index = ip.link_lookup(ifname=_BRIDGE)[0]
            ip.addr("add", index=index, address=self._config.outside_address, prefixlen=UNDERLAY.prefixlen)
            ip.link("set", index=index, state="up")
        # Packets that no node captured end here, as at a router that knows no way: they are not sent back.
        sysctl("ipv4/ip_forward", "0")

    async def announce(self, address: str, node: str) -> None:
        """Route a load-balancer address to the node with this address; "" withdraws it.

        One node for each address, as load balancers of layer 2 do it: over several next hops, any change of routes
        makes the kernel choose again for connections that are open, and another node knows nothing of them.
        """
        if self._routes.get(address, "") != node:
            await self.do(self._route, address, node)

    def _route(self, address: str, node: str) -> None:
        with IPRoute() as ip:
            if node:
                ip.route("replace", dst=f"{address}/32", gateway=node)
                self._routes[address] = node
            elif self._routes.pop(address, None):
                ip.route("del", dst=f"{address}/32")


class NodeNetwork(Host):
    """A node's network namespace, with its link to the underlay, its pods' links and its rules."""

    def __init__(self, config: LabConfig, number: int) -> None:
        super().__init__(config.node_names[number], _NETNS / config.node_names[number])
        self._config = config
        self.number = number
        self.address = config.node_addresses[number]
        self._range = config.pod_range(number)
        self._next = 2
        self._used: set[str] = set()
        self._ip: Any = None
        self._namespace = -1

    async def start(self) -> None:
        await super().start()
        await self.do(self._connect)

    def _connect(self) -> None:
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._ip = ip = IPRoute()
        outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)  # the main thread's: the outside
        ip.link("set", index=1, state="up")
        link = f"node{self.number}"
        ip.link("add", ifname="eth0", kind="veth", peer={"ifname": link, "net_ns_fd": outside})
        os.close(outside)
        eth0 = ip.link_lookup(ifname="eth0")[0]
        ip.addr("add", index=eth0, address=self.address, prefixlen=UNDERLAY.prefixlen)
        ip.link("set", index=eth0, state="up")
        ip.route("add", dst="default", gateway=self._config.outside_address)
        for other, address in enumerate(self._config.node_addresses):
            if other != self.number:
                ip.route("add", dst=str(self._config.pod_range(other)), gateway=address)
        sysctl("ipv4/ip_forward", "1")
        _nft(_pod_network_rules(self._config))

    @property
    def bridge_port(self) -> str:
        """The name of this node's link as the outside sees it."""
        return f"node{self.number}"

    def take_address(self) -> str:
        """The next free pod address of this node. Raises NetworkError when the range is used up."""
        for _ in range(self._range.num_addresses):
            candidate = str(self._range[self._next])
            # like host-local: the range is walked round, so that an address does not come back at once
            self._next = 2 if self._next >= self._range.num_addresses - 2 else self._next + 1
            if candidate not in self._used:
                self._used.add(candidate)
                return candidate
        raise NetworkError(f"no pod address is free on {self.name}")

    async def add_pod(self, name: str, address: str) -> Path:
        """Make a pod's network namespace with its link and routes; returns the namespace's path."""
        return await self.do(self._add_pod, name, address)

    def _add_pod(self, name: str, address: str) -> Path:
        path = _NETNS / f"pod-{name}"
        link = f"veth{name[:8]}"
        gateway = str(self._range[1])
        try:
            new_namespace(path)
            with IPRoute() as pod:
                # Made in the pod and handed to the node, so that one namespace needs naming.
                pod.link(
                    "add", ifname="eth0", kind="veth", peer={"ifname": link, "net_ns_fd": self._namespace}
                )
                eth0 = pod.link_lookup(ifname="eth0")[0]
                pod.link("set", index=1, state="up")
                pod.addr(
                    "add",
                    index=eth0,
                    address=address,
                    prefixlen=self._range.prefixlen,
                    flags=_NO_PREFIX_ROUTE,
                )
                pod.link("set", index=eth0, state="up")
                pod.route("add", dst=f"{gateway}/32", oif=eth0, scope=_SCOPE_LINK)
                pod.route("add", dst=str(self._range), gateway=gateway, prefsrc=address)
                pod.route("add", dst="default", gateway=gateway)
            sysctl("ipv4/ip_unprivileged_port_start", "0")  # as container runtimes do
        finally:
            syscalls.setns(self._namespace, syscalls.CLONE_NEWNET)
        index = self._ip.link_lookup(ifname=link)[0]
        self._ip.addr("add", index=index, address=gateway, prefixlen=32)
        self._ip.link("set", index=index, state="up")
        self._ip.route("add", dst=f"{address}/32", oif=index, scope=_SCOPE_LINK)
        return path

    async def remove_pod(self, name: str, address: str) -> None:
        """Undo add_pod; the address is free again."""
        await self.do(self._remove_pod, name)
        self._used.discard(address)

    def _remove_pod(self, name: str) -> None:
        for index in self._ip.link_lookup(ifname=f"veth{name[:8]}"):
            self._ip.link("del", index=index)
        path = _NETNS / f"pod-{name}"
        if path.exists():
            with contextlib.suppress(OSError):  # no mount is there if making it failed half-way
                syscalls.unmount(str(path))
            path.unlink()


def attach_node(node: NodeNetwork) -> None:
    """Put a node's link on the underlay; runs in the outside's thread."""
    with IPRoute() as ip:
        bridge = ip.link_lookup(ifname=_BRIDGE)[0]
        port = ip.link_lookup(ifname=node.bridge_port)[0]
        ip.link("set", index=port, master=bridge, state="up")


def _pod_network_rules(config: LabConfig) -> str:
    """What kind's CNI does besides routing: what leaves the pod network is masqueraded to the node's address."""
    return f"""
        table ip kubereach-pod-network {{
            chain postrouting {{
                type nat hook postrouting priority srcnat + 10;
                ip saddr {config.pod_cidr} ip daddr != {config.pod_cidr} masquerade fully-random
            }}
        }}
    """
