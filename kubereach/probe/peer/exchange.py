"""One probe on its socket: connect, ask, hear the answer."""

from __future__ import annotations

import errno
import os
import socket
import time

from .answers import read
from .identity import not_ours
from .outcomes import empty_row, outcome_of
from .protocol import PATIENCE, SLOW_CONNECT
from .sockets import (
    IN,
    LINUX,
    NONBLOCK,
    SCTP,
    TCP_QUICKACK,
    TOTAL_RETRANS,
    has_arrived,
    tcp_info,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outcomes import Row
    from .ports import LocalPorts
    from .series import Attempt
    from .sockets import Poller


def begin(attempt: Attempt, ports: LocalPorts) -> Row | None:
    """Make the probe's socket, and connect it; a datagram is sent at once. Gives a row if it is over already."""
    series = attempt.series
    family, address = series.to[(series.started - 1) % len(series.to)]
    number = SCTP if series.kind == "sctp" else 0
    try:
        kind = socket.SOCK_DGRAM if series.datagrams else socket.SOCK_STREAM
        attempt.sock = sock = socket.socket(family, kind | NONBLOCK, number)
        if not NONBLOCK:
            sock.setblocking(False)
        attempt.port = ports.bind(sock)
        if series.tos:
            v6 = family == socket.AF_INET6
            sock.setsockopt(
                socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP,
                socket.IPV6_TCLASS if v6 else socket.IP_TOS,
                series.tos,
            )
        if TCP_QUICKACK is not None and not series.datagrams and not number:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 0)
    except OSError as error:
        return empty_row("local", "", str(error))
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        # said by the call itself, before there was any packet: by routes, or by who translates at the socket
        detail = f"connect() gave {errno.errorcode.get(code, code)}: {os.strerror(code)}"
        return empty_row(outcome_of(code), "", detail)
    if series.datagrams:
        try:
            sock.send(series.payload if series.kind == "dns" else attempt.token)
            if series.beside:
                sock.send(series.beside)
        except OSError as error:
            return empty_row(outcome_of(error.errno or 0), "", str(error))
        attempt.state = 1
    attempt.fd = sock.fileno()
    return None


def go_on(attempt: Attempt, events: int, poller: Poller) -> Row | None:
    """Do what the socket is ready for. Gives the row when the probe is over."""
    try:
        return _go_on(attempt, events, poller)
    except OSError as error:
        return empty_row(outcome_of(error.errno or 0), "", error.strerror or str(error))
    except Exception:
        # an answer that nobody has thought of: whatever it is, none of ours
        return not_ours(attempt.data, attempt.series.nonce)


def _go_on(attempt: Attempt, events: int, poller: Poller) -> Row | None:
    sock = attempt.sock
    series = attempt.series
    assert sock is not None
    if attempt.state == 0:
        # a connection that failed says so here
        try:
            if series.half_close:
                sock.send(attempt.token)  # its end is the connection's: the answer comes after that
                sock.shutdown(socket.SHUT_WR)
            else:
                sock.send(attempt.token + b"\n" if series.kind in ("tcp", "sctp") else series.payload)
        except BlockingIOError:
            return None  # not made yet: the event was of another one that had the same descriptor
        attempt.state = 1
        if not LINUX:
            attempt.slow = time.monotonic() - attempt.begun > SLOW_CONNECT
        poller.connected(attempt.fd)
        if not events & IN:
            return None
    while True:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return None
        row = read(attempt, data)
        # a connection's data and its end may have come at once, and that is told once; so may two datagrams
        if row is not None:
            return row


def is_patient(attempt: Attempt) -> bool:
    """Whether a probe whose time is over is waited for longer, once: its question has arrived, or may have."""
    series = attempt.series
    if attempt.arrived or attempt.state != 1:
        return False
    if series.kind == "sctp" or "timeout" in series.wanted or attempt.sock is None:
        return False
    # of a datagram it is not known: only a late answer tells, where there are answers at all
    answered = series.patient and any(row[0] in series.wanted for row in series.rows)
    attempt.arrived = answered if series.datagrams else has_arrived(attempt.sock)
    if attempt.arrived:
        attempt.longer += series.timeout * (PATIENCE - 1)
    return attempt.arrived


def retransmits(attempt: Attempt) -> int:
    """The retransmissions of a connection, where its series asks for them."""
    series = attempt.series
    if attempt.sock is None or not series.strict or series.kind == "sctp" or series.datagrams:
        return 0
    counted = tcp_info(attempt.sock, TOTAL_RETRANS)
    if counted is None:  # by how long it took to connect, then
        counted, series.timed = int(attempt.slow), True
    return counted
