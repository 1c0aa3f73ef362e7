"""A way that takes longer: packets with a mark leave by a link of our own, wait, and come back by it.

The kernels of many machines have no netem. Source: https://docs.kernel.org/networking/tuntap.html
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import time
from collections import deque
from pathlib import Path

from pyroute2.iproute.linux import IPRoute

from kubereach.selftest.nft_rules import SLOW_LINK, SLOW_MARK
from kubereach.selftest.random_fault import DELAY_SECONDS

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_ROUTES, _LARGEST = 77, 65536


def open_slow_way() -> int:
    """Make the link, and the routes for marked packets, in the calling thread's namespace; gives its descriptor.

    Raises `OSError` where this machine has no TUN.
    """
    link = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(link, _TUNSETIFF, struct.pack("16sH", SLOW_LINK.encode(), _IFF_TUN | _IFF_NO_PI))
    for name in ("all", SLOW_LINK):  # what comes back is from addresses that are reached elsewhere
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("0", encoding="ascii")
    with IPRoute() as ip:
        index = ip.link_lookup(ifname=SLOW_LINK)[0]
        ip.link("set", index=index, state="up")
        ip.route("add", dst="default", oif=index, table=_ROUTES)
        ip.rule("add", priority=10, table=_ROUTES, fwmark=SLOW_MARK, fwmask=SLOW_MARK)
    return link


def carry(link: int) -> None:
    """Give every packet back after its time, for ever."""
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        left = waiting[0][0] - time.monotonic() if waiting else None
        if left is None or left > 0:
            readable, _, _ = select.select([link], [], [], left)
            if readable:
                waiting.append((time.monotonic() + DELAY_SECONDS, os.read(link, _LARGEST)))
        else:
            os.write(link, waiting.popleft()[1])
