"""What a backend's clients are answered, by protocol.

Everybody is told who answered. ``/bytes`` takes uploads (POST) and gives downloads (GET, ``?size=``), ``/ready`` is the
readiness probe's. With the run's secret (header ``Kubereach-Secret``) ``POST /ready?on=0`` changes that, and
``POST /end`` ends the process. Without a secret nobody may do either.
"""

from __future__ import annotations

import json
import os

from .protocol import HEAD, TRANSFER
from .sockets import DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .identity import Identity


class Connection:
    """One accepted connection and what has come in on it so far."""

    __slots__ = ("client", "data", "digest", "http", "left", "out", "port", "sent", "size", "sock")

    def __init__(self, sock: socket.socket, client: tuple[Any, ...], port: int, http: bool) -> None:
        self.sock = sock
        self.client = client
        self.port = port
        self.http = http
        self.data = b""
        #: of an upload: its bytes still to come, and the digest of those that have
        self.left = 0
        self.digest: Any = None
        #: of a download: its head, where the client has not taken it yet, its bytes, and how many of them it has taken
        self.out = b""
        self.size = self.sent = 0


def number_in(text: bytes, most: int) -> int:
    """A whole number as HTTP writes it. Raises ValueError for anything else, and for more than `most`."""
    text = text.strip()
    if not text.isdigit() or len(text) > 15 or int(text) > most:
        raise ValueError(f"not a number from 0 to {most}")
    return int(text)


class Handlers:
    """Answers what has come in on a connection, or a datagram."""

    def __init__(self, identity: Identity, ready: bool, secret: str) -> None:
        self.identity = identity
        self.ready = ready
        self._secret = secret.encode()

    def _send(self, connection: Connection, answer: bytes) -> None:
        """Answer. Raises OSError when the client has gone, or has not read the answers to its questions before."""
        if connection.sock.send(answer, DONTWAIT) != len(answer):
            raise BlockingIOError

    def _may(self, head: bytes, lower: bytes) -> bool:
        """Whether a request has the run's secret."""
        import hmac  # a backend that nobody changes needs none

        at = lower.find(b"\r\nkubereach-secret:")
        given = head[at + 19 :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""
        return bool(self._secret) and hmac.compare_digest(given, self._secret)

    def upload(self, connection: Connection, data: bytes) -> bytes:
        """Take what belongs to the upload under way, answer when it is whole, and give what comes after it."""
        mine = data[: connection.left]
        connection.digest.update(mine)
        connection.left -= len(mine)
        if not connection.left:
            digest = ', "digest": ' + json.dumps(connection.digest.hexdigest())
            body = self.identity.answer(connection.client, connection.port, digest)
            self._send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return data[len(mine) :]

    def http(self, connection: Connection, data: bytes) -> bool:
        """Answer each whole request in `data`; false when the connection is to be closed.

        Raises OSError, and ValueError for a length that is none, or too much.
        """
        while True:
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                connection.data = data
                return True
            words = head.split(b"\r\n", 1)[0].split(b" ")
            if len(words) != 3:
                return False
            lower = head.lower()
            length = lower.find(b"\r\ncontent-length:")
            if length >= 0:
                upload = words[0] == b"POST" and words[1] == b"/bytes"
                size = number_in(lower[length + 17 :].split(b"\r\n", 1)[0], TRANSFER if upload else HEAD)
                if upload and size:
                    import hashlib

                    connection.left, connection.digest, connection.data = size, hashlib.sha256(), b""
                    data = self.upload(connection, rest)
                    if connection.left or not data:
                        return True
                    continue
                if len(rest) < size:
                    connection.data = data
                    return True
                rest = rest[size:]
            status = b"200 OK"
            ends = words[1] == b"/end"
            if words[0] == b"POST" and (ends or words[1].startswith(b"/ready?on=")):
                if not self._may(head, lower):
                    status = b"403 Forbidden"
                elif ends:
                    self._send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    os._exit(0)
                else:
                    self.ready = not words[1].endswith(b"0")
            elif words[1] == b"/ready" and not self.ready:
                status = b"503 Service Unavailable"
            if words[1].startswith(b"/bytes?size="):
                size = number_in(words[1][12:], TRANSFER)
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
                if size:
                    connection.out, connection.size, connection.data = answer, size, rest
                    return True
            else:
                body = self.identity.answer(connection.client, connection.port)
                answer = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
                    status,
                    len(body),
                    body,
                )
            self._send(connection, answer)
            data = rest
            # HTTP/1.0 and `Connection: close` expect the server to close; kubereach's own prober closes first itself
            if words[2] != b"HTTP/1.1" or b"\r\nconnection: close" in lower:
                return False
            if not data:
                connection.data = b""
                return True

    def line(self, connection: Connection, data: bytes) -> bool:
        """Answer each line with who we are and the line itself."""
        *lines, connection.data = data.split(b"\n")
        for line in lines:
            echo = ', "echo": ' + json.dumps(line.decode("latin-1"))
            self._send(connection, self.identity.answer(connection.client, connection.port, echo) + b"\n")
        return True

    def datagrams(self, sock: socket.socket, port: int) -> None:
        for _ in range(64):
            try:
                data, client = sock.recvfrom(65536)
            except OSError:
                # nothing more, or an ICMP error for an earlier answer of ours
                return
            # only what was meant for us is answered, so that two of us can never answer each other for ever
            if not data.startswith(b"kubereach "):
                continue
            echo = ', "echo": ' + json.dumps(data.decode("latin-1"))
            try:
                sock.sendto(self.identity.answer(client, port, echo), client)
            except OSError:
                # a full send buffer loses the datagram, as a network may: the client counts it
                return
