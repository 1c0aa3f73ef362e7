"""Packets that arrive twice: sockets of answered datagrams are looked at once more before they are closed."""

from __future__ import annotations

from collections import deque

from .sockets import DSACKS, TOTAL_RETRANS, tcp_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .series import Attempt, Series

#: sockets that are kept open at a time. A second answer comes within moments of the first: while as many further probes
#: are answered it has time to, and nobody waits for it
KEPT = 16


class SecondAnswers:
    """The latest datagrams that were answered, with their sockets. Nothing polls these any more."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Attempt, int]] = deque()

    def keep(self, attempt: Attempt, index: int) -> None:
        """Take a probe of this index in its series, with its socket, to look for a second answer later."""
        self._kept.append((attempt, index))
        if len(self._kept) > KEPT:
            _look(*self._kept.popleft())

    def over(self, series: Series) -> None:
        """A series is to be answered: look at what is left of it."""
        mine = [one for one in self._kept if one[0].series is series]
        if mine:
            self._kept = deque(one for one in self._kept if one[0].series is not series)
            for one in mine:
                _look(*one)


def _look(attempt: Attempt, index: int) -> None:
    """Note a second answer to the same question, and close the socket."""
    sock = attempt.sock
    assert sock is not None
    try:
        if attempt.token in sock.recv(65536):
            attempt.series.duplicates.append(index)
    except OSError:
        pass  # nothing, as it should be; or an ICMP error
    sock.close()


def segment_arrived_twice(sock: socket.socket) -> bool:
    """Whether the other side has got a segment of ours twice (RFC 2883) that our kernel has not sent twice."""
    doubled = tcp_info(sock, DSACKS) or 0
    return doubled > 0 and doubled > (tcp_info(sock, TOTAL_RETRANS) or 0)
