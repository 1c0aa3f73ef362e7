"""The local ports that a prober's sockets take."""

from __future__ import annotations

import os
import socket


def local_ports() -> tuple[int, int]:
    """First and last of the ports that this machine gives to clients."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:  # noqa: PTH123
            first, last = (int(word) for word in file.read().split())
        return first, last
    except (OSError, ValueError):
        return 49152, 65535


class LocalPorts:
    """Ports to probe from, each of them once before the first comes again."""

    def __init__(self) -> None:
        self._first, self._last = local_ports()
        # beginning anywhere: what an earlier prober at this address has left in connection tracking is not met again
        count = self._last - self._first + 1
        self.port = self._first + int.from_bytes(os.urandom(4), "big") % count

    def bind(self, sock: socket.socket) -> None:
        """Give a socket a local port that this prober has not had before, or not for a long time.

        The kernel gives any that is free, also that of a connection which has just not been answered. The nodes'
        connection tracking remembers that one for two minutes (nf_conntrack_tcp_timeout_syn_sent), takes the new one
        for it, and leads it to the same endpoint, whatever has changed since. Any client may have that bad luck, and
        no service proxy can do anything about it; but it says nothing about the data plane as it is now.
        """
        for _ in range(16):
            self.port = self.port + 1 if self.port < self._last else self._first
            try:
                sock.bind(("", self.port))
            except OSError:
                continue  # somebody else on this machine has it
            return
