"""Transfers: many bytes up and then down again, which must arrive as they were sent."""

from __future__ import annotations

import hashlib
import socket
import time

from .answers import size_in
from .identity import backend_lateness, row_of, who_in
from .outcomes import empty_row, outcome_of, shown
from .pattern import piece
from .protocol import HEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from .outcomes import Row, Rows
    from .series import Series


def transfers(series: Series) -> Rows:
    """One transfer; or one with each of several pods behind an address, over connection after connection.

    A connection to a pod that has had its transfer ends there, and is no probe.
    """
    rows: Rows = []
    #: pods that have had their transfer, whatever came of it
    met: set[str] = set()
    for _ in range(series.count):
        begun = time.monotonic()
        row = transfer(series, met)
        if row is not None:
            rows.append((row, time.monotonic() - begun, begun))
            met |= {row[1]} - {""}
        missed = sum(row[0] != "ok" for row, _, _ in rows)
        enough = series.stop_after and missed >= series.stop_after
        if len(met) >= series.pods or enough or series.stopped.is_set():
            break
    return rows


def transfer(series: Series, met: Container[str] = ()) -> Row | None:
    """Ask who is there, upload and download; None if it is one of `met`.

    What was stalled, lost or changed is told in the detail, with the pod that it happened with.
    """
    host, size = series.request["host"], series.size
    sent, got = hashlib.sha256(), hashlib.sha256()
    doing, moved = "connecting", 0
    latest = time.monotonic() + max(series.timeout, series.stall)
    named = f"[{host}]" if ":" in host else host
    head = f"HTTP/1.1\r\nHost: {named}:{series.port}\r\n"
    row = empty_row("ok")

    def missed(outcome: str, detail: str) -> Row:
        return (outcome, *row[1:-1], detail)

    try:
        with socket.create_connection((host, series.port), series.stall) as sock:
            doing = "first question"
            sock.sendall(f"GET /who {head}\r\n".encode())
            who = who_in(b"".join(http_answer(sock, HEAD, latest)))
            row = row_of(who, sock.getsockname()[0], series.nonce)
            if row[0] == "foreign":
                return row
            if row[1] in met:
                return None
            doing = "upload"
            sock.sendall(f"POST /bytes {head}Content-Length: {size}\r\n\r\n".encode())
            while moved < size:
                block = piece(moved, size)
                count = sock.send(block)
                sent.update(block[:count])
                moved += count
            who = who_in(b"".join(http_answer(sock, HEAD, latest)))
            series.backend_late = max(series.backend_late, backend_lateness(who))
            if who.get("digest") != sent.hexdigest():
                row = missed("protocol", "the upload arrived corrupted")
            doing, moved = "download", 0
            sock.sendall(f"GET /bytes?size={size} {head}\r\n".encode())
            for part in http_answer(sock, size, latest):
                got.update(part)
                moved += len(part)
            if got.digest() != sent.digest():
                row = missed("protocol", "the download arrived corrupted")
    except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
        row = missed("timeout", f"the {doing} stalled after {moved} of {size} bytes")
    except OSError as error:
        row = missed(outcome_of(error.errno or 0), f"{doing}: {error}")
    except ValueError as error:
        row = missed("foreign", f"{doing}: invalid answer: {error}")
    return row


def http_answer(sock: socket.socket, most: int, latest: float) -> Iterator[bytes]:
    """The parts of the body, of `most` bytes, of an HTTP answer of 200 that comes until `latest` (time.monotonic()).

    Raises OSError, and ValueError for an answer that is cut short, too large, of another status, or none.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        data += part
        if not part or len(data) > most + HEAD or data[:7] != b"HTTP/1."[: len(data)]:
            raise ValueError(f"answered '{shown(data)}'" if data else "closed without an answer")
        if time.monotonic() > latest:
            raise socket.timeout  # noqa: UP041 - not TimeoutError before Python 3.10
    head, _, part = data.partition(b"\r\n\r\n")
    size = size_in(head)
    if not head.startswith(b"HTTP/1.1 200 ") or not 0 <= size <= most:
        raise ValueError(f"answered '{shown(head)}'")
    got = len(part)
    yield part
    while got < size:
        part = sock.recv(65536)
        if not part:
            raise ValueError(f"closed after {got} of {size} bytes")
        if time.monotonic() > latest:
            raise socket.timeout  # noqa: UP041
        got += len(part)
        yield part
