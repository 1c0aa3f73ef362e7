"""A way that takes longer: packets to some nodes' pods leave by a link of our own, wait, and go on from there.

The kernels of many machines have neither netem nor rules for routes. Source:
https://docs.kernel.org/networking/tuntap.html, packet(7).
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from kubereach.selftest.lab_facts import Facts
from kubereach.selftest.random_fault import DELAY_SECONDS, INGRESS, PAIR, Place

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LINK, _UNDERLAY, _LARGEST, _IPV4 = "slow0", "eth0", 65536, 0x0800
#: packets that wait to be read: a busy machine must not make the slow way a lossy one
_QUEUE = 10000


def slow_ways(place: Place, facts: Facts) -> dict[str, list[str]]:
    """By the name of a node the names of those to whose pods its packets take longer."""
    names = [node.name for node in facts.nodes]
    mine = names[place.nodes[0]]
    others = [name for name in names if name != mine]
    if place.kind == PAIR:
        return {mine: [names[place.to]]}
    return {name: [mine] for name in others} if place.kind == INGRESS else {mine: others}


def link_address() -> bytes:
    """Of the calling thread's namespace: the underlay's."""
    from pyroute2.iproute.linux import IPRoute  # of the extra `lab`

    with IPRoute() as ip:
        text = ip.link("get", index=ip.link_lookup(ifname=_UNDERLAY)[0])[0].get_attr("IFLA_ADDRESS")
    return bytes.fromhex(text.replace(":", ""))


@dataclass
class SlowWay:
    """A link that packets to some ranges are led to; `over` are the link addresses of the nodes that have them."""

    over: Mapping[ipaddress.IPv4Network, bytes]
    link: int = -1
    underlay: socket.socket | None = None

    def open(self, source: str) -> None:
        """Make the link and its routes in the calling thread's namespace; `source` is its node's own address.

        Raises `OSError` where this machine has no TUN.
        """
        self.link = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(self.link, _TUNSETIFF, struct.pack("16sH", _LINK.encode(), _IFF_TUN | _IFF_NO_PI))
        self.underlay = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        from pyroute2.iproute.linux import IPRoute  # of the extra `lab`

        with IPRoute() as ip:
            index = ip.link_lookup(ifname=_LINK)[0]
            ip.link("set", index=index, state="up", txqlen=_QUEUE)
            for pods in self.over:
                ip.route("replace", dst=str(pods), oif=index, prefsrc=source)

    def carry(self) -> None:
        """Send every packet on after its time, for ever."""
        waiting: deque[tuple[float, bytes]] = deque()
        while True:
            left = waiting[0][0] - time.monotonic() if waiting else None
            if left is None or left > 0:
                readable, _, _ = select.select([self.link], [], [], left)
                if readable:
                    waiting.append((time.monotonic() + DELAY_SECONDS, os.read(self.link, _LARGEST)))
            else:
                self._send(waiting.popleft()[1])

    def _send(self, packet: bytes) -> None:
        if packet[0] >> 4 != 4:  # the link's own, of IPv6
            return
        target = ipaddress.IPv4Address(packet[16:20])
        for pods, link in self.over.items():
            if target in pods and self.underlay:
                self.underlay.sendto(packet, (_UNDERLAY, _IPV4, 0, 0, link))
