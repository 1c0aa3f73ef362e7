"""Flows: pings over one connection, or from one UDP port, for as long as they are wanted."""

from __future__ import annotations

import errno
import os
import socket
import time

from .identity import backend_lateness, is_beginning, not_ours, row_of, who_in
from .outcomes import empty_row, outcome_of
from .protocol import PATIENCE
from .sockets import has_arrived

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outcomes import Row, Rows
    from .series import Series


def flow(series: Series) -> Rows:
    """Ping over one connection, or from one UDP port, until the series is stopped or the connection breaks.

    A UDP socket may be taken away from under its client too, by who has led it to an endpoint that is gone (socket load
    balancers do that). A client with a fixed port then opens it again, and so does this one.
    """
    request = series.request
    udp = request.get("transport") == "udp"
    host, rows, run = request["host"], [], 0
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port, connected = 0, False
    sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    sock.settimeout(series.timeout)
    try:
        for number in range(series.count):
            last = series.stopped.is_set()
            begun = time.monotonic()
            token = b"kubereach flow %d.%d.%d" % (os.getpid(), series.id, number)
            try:
                if not connected:
                    sock.connect((host, series.port))
                    port, connected = sock.getsockname()[1], True
                row = ping(sock, token, udp, begun, series)
            except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
                row = empty_row("timeout", "", "connected" if connected and not udp else "")
            except OSError as error:
                row = empty_row(outcome_of(error.errno or 0), "", str(error))
                if udp and error.errno == errno.ECONNABORTED:
                    sock.close()
                    sock, connected = socket.socket(family, socket.SOCK_DGRAM), False
                    sock.settimeout(series.timeout)
                    sock.bind(("", port))
            rows.append((row, time.monotonic() - begun, begun))
            if number == 0:
                series.began(row[0])
            if last or (row[0] != "ok" and not udp):
                break
            if series.until:
                pods, times, latest = series.until
                wanted = row[0] == "ok" and row[1] in pods if pods else row[0] != "ok"
                run = run + 1 if wanted else 0
                if run >= times or (not wanted and begun >= latest):
                    break
            series.stopped.wait(max(0.0, begun + series.spacing - time.monotonic()))
    finally:
        sock.close()
    return rows


def ping(sock: socket.socket, token: bytes, udp: bool, begun: float, series: Series) -> Row:
    """One question over a socket that is connected, and its answer. Raises OSError."""
    sock.send(token if udp else token + b"\n")
    data = b""
    deadline, patient = begun + series.timeout, not udp
    while True:
        left = deadline - time.monotonic()
        try:
            if left <= 0 and data:
                raise socket.timeout  # noqa: UP041 - who goes on sending does not answer either
            sock.settimeout(max(0.001, left))
            part = sock.recv(65536)
        except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
            if not (patient and has_arrived(sock)):
                raise
            deadline, patient = begun + PATIENCE * series.timeout, False
            continue
        if not part and not udp:
            return empty_row("reset", "", "closed by the other side")
        data = part if udp else data + part
        if not udp and not data.endswith(b"\n") and is_beginning(data):
            continue
        try:
            who = who_in(data)
        except ValueError:
            return not_ours(data, series.nonce)
        series.backend_late = max(series.backend_late, backend_lateness(who))
        row = row_of(who, sock.getsockname()[0], series.nonce)
        if row[0] == "foreign" or who.get("echo", "").encode("utf-8", "replace") == token:
            return row
        data = b""  # the answer to an earlier question, which was given up
        if deadline <= time.monotonic():
            raise socket.timeout  # noqa: UP041
