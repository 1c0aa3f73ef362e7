"""A small SPDY/3.1 client in the messages of a WebSocket, written apart from the lab's own codec.

It takes nothing from it but the compression dictionary, whose checksum the test knows.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import zlib
from collections import defaultdict
from typing import Any

import yaml
from lab_access import PATIENCE, LabAccess
from websocket import ABNF, WebSocketException, create_connection

from kubereach_lab.kubectl.spdy import DICTIONARY


def _connected(lab: LabAccess) -> tuple[str, ssl.SSLSocket]:
    """The server's address, and a connection to it with the client's certificate."""
    told = yaml.safe_load(lab.kubeconfig.read_text())
    cluster, user = told["clusters"][0]["cluster"], told["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    host, port = cluster["server"].removeprefix("https://").split(":")
    return host, context.wrap_socket(
        socket.create_connection((host, int(port)), PATIENCE), server_hostname=host
    )


class TlsBytes:
    """A TLS connection that one thread reads while another writes, which OpenSSL itself does not allow at once."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._lock = threading.Lock()

    def recv(self, count: int) -> bytes:
        while True:
            try:
                with self._lock:
                    return self._connection.recv(count)
            except ssl.SSLWantReadError:
                select.select([self._connection], [], [])

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.send(left) :]

    def send(self, data: bytes | memoryview) -> int:
        while True:
            try:
                with self._lock:
                    return self._connection.send(data)
            except ssl.SSLWantWriteError:
                select.select([], [self._connection], [])

    def gettimeout(self) -> float | None:
        return None

    def settimeout(self, _: float | None) -> None:
        """Whoever has this for a socket may set what it likes: `recv` and `send` wait."""

    def shutdown(self, how: int) -> None:
        self._connection.shutdown(how)

    def close(self) -> None:
        self._connection.close()


class WebSocketBytes:
    """The bytes in the binary messages of a WebSocket, as a socket has them."""

    def __init__(self, lab: LabAccess, path: str, protocol: str) -> None:
        host, connection = _connected(lab)
        self.socket = create_connection(
            f"ws://{host}{path}", subprotocols=[protocol], socket=TlsBytes(connection)
        )

    def sendall(self, data: bytes) -> None:
        # cut where no frame ends, since messages' borders mean nothing
        for start in range(0, len(data), 1000):
            self.socket.send_binary(data[start : start + 1000])

    def recv(self, _: int) -> bytes:
        try:
            code, data = self.socket.recv_data()
        except WebSocketException:
            return b""
        return b"" if code == ABNF.OPCODE_CLOSE else bytes(data)

    def shutdown(self, _: int) -> None:
        self.socket.close()

    def close(self) -> None:
        self.socket.shutdown()


class SpdyClient:
    """One connection. What comes is sorted by stream in a thread; `wait` waits for a condition on it."""

    def __init__(self, connection: WebSocketBytes) -> None:
        self.connection = connection
        self._rest = b""
        self._compress = zlib.compressobj(zdict=DICTIONARY)
        self._next = 1
        self.received: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.accepted: set[int] = set()
        self.finished: set[int] = set()
        self.reset: set[int] = set()
        self.pings: list[int] = []
        self.closed = False
        self._changed = threading.Condition()
        #: cleared, nothing is read any more
        self.reading = threading.Event()
        self.reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            self.reading.wait()
            chunk = self.connection.recv(1 << 18)
            if not chunk:
                raise EOFError
            self._rest += chunk
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _read(self) -> None:
        try:
            while True:
                first, second = struct.unpack(">II", self._exactly(8))
                body = self._exactly(second & 0xFFFFFF)
                with self._changed:
                    self._frame(first, second >> 24, body)
                    self._changed.notify_all()
        except (EOFError, OSError):
            with self._changed:
                self.closed = True
                self._changed.notify_all()

    def _frame(self, first: int, flags: int, body: bytes) -> None:
        if not first >> 31:
            self.received[first] += body
            if flags & 1:
                self.finished.add(first)
            return
        assert first >> 16 == 0x8003, hex(first)
        number = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
        {2: self.accepted.add, 3: self.reset.add, 6: self.pings.append, 7: lambda _: None}[first & 0xFFFF](
            number
        )

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _control(self, kind: int, body: bytes, flags: int = 0) -> None:
        self.send(struct.pack(">HHI", 0x8003, kind, flags << 24 | len(body)) + body)

    def open(self, fin: bool = False, number: int = 0, **headers: str) -> int:
        """Opens a stream without waiting for the answer; its number."""
        number = number or self._next
        self._next = max(self._next, number + 2)
        text = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for word in (name.encode(), value.encode()):
                text += struct.pack(">I", len(word)) + word
        block = self._compress.compress(text) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        self._control(1, struct.pack(">IIH", number, 0, 0) + block, int(fin))
        return number

    def write(self, number: int, data: bytes, *, fin: bool = False) -> None:
        for start in range(0, max(len(data), 1), 32768):
            part = data[start : start + 32768]
            last = fin and start + 32768 >= len(data)
            self.send(struct.pack(">II", number, int(last) << 24 | len(part)) + part)

    def reset_stream(self, number: int) -> None:
        self._control(3, struct.pack(">II", number, 5))

    def ping(self, number: int) -> None:
        self._control(6, struct.pack(">I", number))

    def wait(self, holds: Any) -> None:
        """Waits until `holds()`, for as long as we are patient."""
        with self._changed:
            assert self._changed.wait_for(holds, PATIENCE), (dict(self.received), self.finished, self.reset)

    def end(self, number: int) -> bytearray:
        """What came on a stream until its end."""
        self.wait(lambda: number in self.finished or number in self.reset or self.closed)
        return self.received[number]

    def close(self) -> None:
        self.reading.set()
        with contextlib.suppress(OSError):  # the server was first
            self.connection.shutdown(socket.SHUT_RDWR)  # which wakes the thread that reads
        self._thread.join(PATIENCE)
        self.connection.close()
