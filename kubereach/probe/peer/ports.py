"""The local ports that a prober's sockets take."""

from __future__ import annotations

import math
import os
import socket

#: of a whole, the larger part of its golden section
GOLDEN = 0.6180339887


def local_ports() -> tuple[int, int]:
    """First and last of the ports that this machine gives to clients."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:  # noqa: PTH123
            first, last = (int(word) for word in file.read().split())
        return first, last
    except (OSError, ValueError):
        return 49152, 65535


class LocalPorts:
    """Ports to probe from: each of them once before the first comes again, any few in a row from all over the range.

    The kernel's own choice for one destination are neighbours (inet_hash_connect), so that all probes of a series may
    lie in a small part of the range. Who loses what comes from some ports only (a balancer by hash, a firewall's or a
    masquerade's range) would be met by luck. A step of the golden section leaves no part of the range out for long.
    """

    def __init__(self) -> None:
        #: the range that this machine gives to clients: its first port, and how many there are
        self.first, last = local_ports()
        self.count = last - self.first + 1
        self._step = max(1, int(self.count * GOLDEN))
        while math.gcd(self._step, self.count) != 1:
            self._step += 1
        # beginning anywhere: what an earlier prober at this address has left in connection tracking is not met again
        self.port = self.first + int.from_bytes(os.urandom(4), "big") % self.count

    def bind(self, sock: socket.socket) -> int:
        """Give a socket a local port that this prober has not had before, or not for a long time.

        Gives its number; 0 if it is to be the kernel's choice.

        The kernel gives any that is free, also that of a connection which has just not been answered. The nodes'
        connection tracking remembers that one for two minutes (nf_conntrack_tcp_timeout_syn_sent), takes the new one
        for it, and leads it to the same endpoint, whatever has changed since. Any client may have that bad luck, and
        no service proxy can do anything about it; but it says nothing about the data plane as it is now.
        """
        for _ in range(16):
            self.port = self.first + (self.port - self.first + self._step) % self.count
            try:
                sock.bind(("", self.port))
            except OSError:
                continue  # somebody else on this machine has it
            return self.port
        return 0
