"""What the operating system offers for sockets, and what of it not every system, or not every Python, has."""

from __future__ import annotations

import select
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCTP = 132  # socket.IPPROTO_SCTP, which not every Python has
IN = 1  # EPOLLIN and POLLIN
OUT = 4  # EPOLLOUT and POLLOUT

#: offset of tcpi_total_retrans in Linux's struct tcp_info (include/uapi/linux/tcp.h): eight one-byte fields, then the
#: 24th 32-bit field. It counts SYN retransmissions too.
TOTAL_RETRANS = 100
#: that of tcpi_unacked, the packets sent that nobody has acknowledged: the fifth 32-bit field
UNACKED = 24
#: that of tcpi_dsack_dups, the segments that the other side says it has got twice (since Linux 4.19)
DSACKS = 216
#: socket.TCP_INFO is 11 on Linux; Python has the name there only
TCP_INFO = getattr(socket, "TCP_INFO", 11)
LINUX = sys.platform.startswith("linux")
#: turned off, a client's kernel sends no packet that only acknowledges: what comes next carries it. A probe then takes
#: 8 packets instead of 10, and its backend wakes up once instead of twice (tcp(7); retransmissions are as ever)
TCP_QUICKACK = getattr(socket, "TCP_QUICKACK", None) if LINUX else None
#: flags of calls on sockets that need not be non-blocking themselves
DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)


class Poller:
    """epoll where there is one, else poll: the outside vantage also runs on machines that are not Linux."""

    #: ready (descriptor, events); at most so many seconds, negative means for ever
    wait: Callable[[float], list[tuple[int, int]]]
    #: must be called before a descriptor is closed
    forget: Callable[[int], object]
    #: must be called for a descriptor that stays open
    leave: Callable[[int], object]

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll is not None else select.poll()
        chosen = self._epoll if self._epoll is not None else self._poll
        assert chosen is not None
        self.add = chosen.register
        self.change = chosen.modify
        self.leave = chosen.unregister
        if self._epoll is not None:
            self.wait = self._epoll.poll
            self.forget = lambda _: None  # it does so by itself
        elif self._poll is not None:
            poll = self._poll.poll
            self.wait = lambda seconds: poll(None if seconds < 0 else seconds * 1000.0)
            self.forget = self._poll.unregister

    def add_both(self, fd: int) -> None:
        """Wait for a connection to be made, and then, once `connected` is called, for what comes in on it.

        With epoll each of them is told once (EPOLLET), so that nothing needs to be called in between.
        """
        self.add(fd, IN | OUT | select.EPOLLET if self._epoll is not None else OUT)

    def connected(self, fd: int) -> None:
        if self._poll is not None:
            self._poll.modify(fd, IN)


def tcp_info(sock: socket.socket, offset: int) -> int | None:
    """The number at an offset of what the kernel tells of a TCP connection (tcp(7), TCP_INFO); None if it does not."""
    if not LINUX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, offset + 4)
    except OSError:
        return None  # a sandbox's kernel that is not Linux
    return int(struct.unpack_from("I", info, offset)[0]) if len(info) >= offset + 4 else None


def has_arrived(sock: socket.socket) -> bool:
    """Whether the other side's kernel has acknowledged all that was sent on a TCP connection; false if unknown."""
    return tcp_info(sock, UNACKED) == 0
