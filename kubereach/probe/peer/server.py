"""A backend: listeners, connections, and whose turn it is."""

from __future__ import annotations

import errno
import socket

from .handlers import Connection, Handlers
from .identity import Identity
from .lateness import Watch
from .pattern import piece
from .protocol import HEAD
from .sockets import DONTWAIT, IN, OUT, SCTP, Poller

#: connections that a backend serves at a time; a run makes hundreds
CONNECTIONS = 2048
#: bytes of datagrams that wait to be read, with all that the kernel keeps beside them
BUFFER = 1 << 20


class Server:
    """Serves `limit` connections at a time."""

    def __init__(
        self,
        pod: str,
        node: str,
        nonce: str,
        ready: bool = True,
        secret: str = "",
        limit: int = CONNECTIONS,
    ) -> None:
        self.limit = limit
        self.identity = Identity(pod, node, nonce)
        self.handlers = Handlers(self.identity, ready, secret)
        self.watch = Watch(self.identity.report_late)
        self.poller = Poller()
        self.listeners: dict[int, tuple[socket.socket, str, int]] = {}
        self.connections: dict[int, Connection] = {}

    def listen(self, protocol: str, port: int, host: str = "") -> int:
        """Serve `protocol` (http, tcp, udp, sctp) on `port` (0: any) and give it; both IP families where possible."""
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        number = SCTP if protocol == "sctp" else 0
        sock = None
        for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
            if host:
                address = host
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                sock = socket.socket(family, kind, number)
                if family == socket.AF_INET6 and not host:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address, port))
                break
            except OSError:
                # no IPv6 on this machine: IPv4 alone is then all there is
                if sock is not None:
                    sock.close()
                if family == socket.AF_INET or host:
                    raise
        assert sock is not None
        if protocol == "udp":
            # as much as the system gives: a few datagrams of 60 KB fill what sockets have by default
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        else:
            sock.listen(1024)
        sock.setblocking(False)
        number = sock.getsockname()[1]
        self.listeners[sock.fileno()] = (sock, protocol, number)
        self.poller.add(sock.fileno(), IN)
        return int(number)

    def run(self) -> None:
        self.watch.start()
        while True:
            self.step(-1)
            self.watch.woken()

    def step(self, seconds: float) -> None:
        """Serve what is ready, waiting at most `seconds` for it (negative: for ever)."""
        connections = self.connections
        for fd, events in self.poller.wait(seconds):
            connection = connections.get(fd)
            if connection is not None:
                if connection.size and events & OUT:
                    self._writable(fd, connection)
                elif events & ~OUT:
                    self._readable(fd, connection)
                continue
            listener = self.listeners.get(fd)
            if listener is None:
                continue
            sock, protocol, port = listener
            if protocol == "udp":
                self.handlers.datagrams(sock, port)
            else:
                self._accept(sock, protocol == "http", port)

    def _accept(self, listener: socket.socket, http: bool, port: int) -> None:
        for _ in range(64):
            try:
                sock, client = listener.accept()
            except BlockingIOError:
                return  # nothing more to accept
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self.connections:
                    self._make_room()
                    continue
                # the client has already gone again
                return
            if len(self.connections) >= self.limit:
                self._make_room()
            if not DONTWAIT:
                sock.setblocking(False)
            fd = sock.fileno()
            connection = Connection(sock, client, port, http)
            self.connections[fd] = connection
            self.poller.add(fd, IN)
            self._readable(fd, connection)

    def _make_room(self) -> None:
        """Close the oldest connection of the client that has the most: who floods us takes them from themselves."""
        count: dict[str, int] = {}
        for connection in self.connections.values():
            count[connection.client[0]] = count.get(connection.client[0], 0) + 1
        most = max(count.values())
        for fd, connection in self.connections.items():
            if count[connection.client[0]] == most:
                self._close(fd, connection)
                return

    def _close(self, fd: int, connection: Connection) -> None:
        del self.connections[fd]
        self.poller.forget(fd)
        connection.sock.close()

    def _readable(self, fd: int, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536, DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._close(fd, connection)
            return
        if data:
            self._take(fd, connection, data)
            return
        if connection.data and not connection.http:
            # a client that has ended its side still reads: so its last line ends, too
            self._take(fd, connection, b"\n")
        if self.connections.get(fd) is connection:
            self._close(fd, connection)

    def _take(self, fd: int, connection: Connection, data: bytes) -> None:
        """Answer what has come in."""
        try:
            if connection.left:
                data = self.handlers.upload(connection, data)
                if connection.left:
                    return
            data = connection.data + data
            handle = self.handlers.http if connection.http else self.handlers.line
            keep = handle(connection, data)
        except Exception:
            # OSError: the client went away while we answered, or does not read what it asks for; ValueError: it writes
            # no HTTP. Whatever else there may be, it costs this connection alone
            keep = False
        if not keep or len(connection.data) > 2 * HEAD:
            self._close(fd, connection)
        elif connection.size:
            self.poller.change(fd, OUT)

    def _writable(self, fd: int, connection: Connection) -> None:
        """Send as much of a download as the client takes; then answer what it has asked for meanwhile."""
        sock = connection.sock
        try:
            if connection.out:
                connection.out = connection.out[sock.send(connection.out, DONTWAIT) :]
            for _ in range(16):  # and then it is the turn of others
                if connection.out or connection.sent == connection.size:
                    break
                connection.sent += sock.send(piece(connection.sent, connection.size), DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._close(fd, connection)
            return
        if connection.sent == connection.size:
            connection.size = connection.sent = 0
            self.poller.change(fd, IN)
            if connection.data:
                data, connection.data = connection.data, b""
                self._take(fd, connection, data)
