#!/usr/bin/env python3
"""The program in every pod: a backend (``serve``) and a prober (``probe``) in one file, standard library only.

It is mounted from a ConfigMap into any image with Python >= 3.8, so it may use nothing newer and nothing else.

``serve`` answers HTTP, TCP and UDP with who it is: pod, node, the run's nonce, the client's address as it saw it and
the port that was hit. ``probe`` takes requests as JSON lines on standard input, one request for a whole *series* of
probes, and answers each with one JSON line when its series is over; any number of series may be under way.

Both sides are one thread with raw non-blocking sockets and epoll: many probes must be cheap, and a thread or a
coroutine for each costs several times as much. What blocks by nature (the system's resolver, a TLS handshake) runs in
threads of its own. The client closes first, so that TIME_WAIT stays with the client and servers do not run out of it.

A request: ``{"id", "kind", ...}``
    kind        http, tcp, udp, sctp, dns, resolve, tls, file; flow, transfer, ready, stop: see below
    host, port  where to; a host that is not an address is resolved once for the series by the pod's own resolver, and
                the probes take its addresses in turn
    count       number of probes (1); in_flight: how many at once (4); spacing: seconds between starts (0);
                delay: seconds before the first (0)
    timeout     seconds for one probe, all of it (2)
    wanted      outcomes that are no miss (["ok"]); stop_after: misses after which no further probe starts (0: never)
    nonce       answers that carry another nonce are outcome ``foreign``
    retransmits true: a connection that needed a retransmission counts as a miss for stop_after
    burst       true: the series may have more probes under way than all series together otherwise have
    patient     true: where others were answered, a datagram's answer is waited for PATIENCE time-outs
    times       true: the answer tells when each probe began ("at", seconds since the series began)
    dns: message (base64), transport (udp, tcp); resolve: host, family (4, 6, 0); tls: ca (PEM), server_name; file: path
    http: path (/who); status: true: who answers does not matter, ``detail`` is the status
    udp: size (bytes of the datagram, padded)
    flow        one connection, or datagrams from one port (transport: tcp, udp), with a ping every `spacing` seconds:
                each is a probe. `stop` makes one last ping. A connection that breaks ends it
    transfer    `size` bytes up and then down over HTTP, compared by their digest; `stall`: seconds without progress
    ready       make the backend in this very pod ready or not (on, port), or end it (end, port)
    stop        end the series `series`: what is under way is waited for, nothing else starts. A flow with `pods`,
                `times` and `within` ends after so many answers in a row from one of these pods (no pods: after so many
                pings in a row that nobody answered), or with the first other ping that begins after so many seconds
An answer: ``{"id", "rows": [[outcome, pod, node, nonce, client, local, port, detail], ...], "of": [row of each probe],
    "ms": [latency of each], "retransmits": [of each], "at": [of each], "seconds"}``: probes in order of completion;
    equal rows are given once. ``detail`` is the answer of dns (base64), resolve (addresses), file (text), else the
    reason in words. A flow says ``{"id", "began": outcome}`` after its first ping.

Outcomes
    ok refused reset timeout unreachable nxdomain nodata servfail tls protocol, as kubereach's documents define them;
    denied      EPERM or EACCES from the prober's own kernel: what a process on a node gets for UDP to an address that
                the node's own rules reject or drop (there is no packet that an ICMP error could answer)
    foreign     an answer, but not from a peer of this run
    timeout     no answer in time, of which what the prober itself could not run is no part. Its detail is ``connected``
                where it was the connection that got no answer, or says that it was the name. Where an answer is wanted
                and the backend's machine has acknowledged the question, the path has done its work: the backend gets
                PATIENCE times as long. Nobody acknowledges a datagram: that nothing was lost is seen when its answer
                comes late, which a `patient` series waits for where other answers have come
    local       the prober could not even try (no file descriptor, no local port): a failure to measure
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque

TYPE_CHECKING = False  # typing's own costs milliseconds to import, and probers start often
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SCTP = 132  # socket.IPPROTO_SCTP, which not every Python has
IN = 1  # EPOLLIN and POLLIN
OUT = 4  # EPOLLOUT and POLLOUT

#: offset of tcpi_total_retrans in Linux's struct tcp_info (include/uapi/linux/tcp.h): eight one-byte fields, then the
#: 24th 32-bit field. It counts SYN retransmissions too.
TOTAL_RETRANS = 100
#: that of tcpi_unacked, the packets sent that nobody has acknowledged: the fifth 32-bit field
UNACKED = 24
#: socket.TCP_INFO is 11 on Linux; Python has the name there only
TCP_INFO = getattr(socket, "TCP_INFO", 11)
LINUX = sys.platform.startswith("linux")
#: turned off, a client's kernel sends no packet that only acknowledges: what comes next carries it. A probe then takes
#: 8 packets instead of 10, and its backend wakes up once instead of twice (tcp(7); retransmissions are as ever)
TCP_QUICKACK = getattr(socket, "TCP_QUICKACK", None) if LINUX else None
#: seconds after a time-out's moment at which it is judged, by a process that could run; more means that it could not
LATE = 0.05
#: seconds that the resolution of a series' name gets: a resolver asks again after five, and one lost datagram is
#: for the questions of DNS checks to notice, not for who only goes by a name
RESOLVING = 6.0
#: what the detail of a probe says whose series has a name without an address
NO_ADDRESS = "the name did not resolve"
#: time-outs that a backend gets to answer in once a question is known to have come to it: our backends ask for so
#: little CPU that on a machine whose processors are all in use their turn may be seconds away
PATIENCE = 3
#: flags of calls on sockets that need not be non-blocking themselves
DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)

KINDS = frozenset(
    {"http", "tcp", "udp", "sctp", "dns", "resolve", "tls", "file", "flow", "transfer", "ready"}
)

ERRNO_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EPERM: "denied",
    errno.EACCES: "denied",
}


def outcome_of(number: int) -> str:
    """The outcome word for an errno; what only this machine can be to blame for is ``local``."""
    return ERRNO_OUTCOMES.get(number, "local")


class Poller:
    """epoll where there is one, else poll: the outside vantage also runs on machines that are not Linux."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll is not None else select.poll()
        chosen = self._epoll if self._epoll is not None else self._poll
        assert chosen is not None
        self.add = chosen.register
        self.change = chosen.modify

    def add_both(self, fd: int) -> None:
        """Wait for a connection to be made, and then, once `connected` is called, for what comes in on it.

        With epoll each of them is told once (EPOLLET), so that nothing needs to be called in between.
        """
        self.add(fd, IN | OUT | select.EPOLLET if self._epoll is not None else OUT)

    def connected(self, fd: int) -> None:
        if self._poll is not None:
            self._poll.modify(fd, IN)

    def forget(self, fd: int) -> None:
        """Must be called before the descriptor is closed. epoll does it by itself."""
        if self._poll is not None:
            self._poll.unregister(fd)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Ready (descriptor, events); at most `seconds`, negative means for ever."""
        if self._epoll is not None:
            return self._epoll.poll(seconds)
        assert self._poll is not None
        return self._poll.poll(None if seconds < 0 else seconds * 1000.0)


# --- serve -----------------------------------------------------------------------------------------------------------


class Connection:
    """One accepted connection and what has come in on it so far."""

    __slots__ = ("client", "data", "digest", "http", "left", "out", "port", "sock")

    def __init__(self, sock: socket.socket, client: tuple[Any, ...], port: int, http: bool) -> None:
        self.sock = sock
        self.client = client
        self.port = port
        self.http = http
        self.data = b""
        #: of an upload: its bytes still to come, and the digest of those that have
        self.left = 0
        self.digest: Any = None
        #: what the client has not taken yet
        self.out = memoryview(b"")


class Server:
    """A backend. Tells everyone who it is.

    With the run's nonce its readiness is toggled by ``POST /ready?on=0``, and it ends by ``POST /end``.
    """

    def __init__(self, pod: str, node: str, nonce: str, ready: bool = True) -> None:
        self.pod = pod
        self.node = node
        self.nonce = nonce
        self.ready = ready
        self.poller = Poller()
        self.listeners: dict[int, tuple[socket.socket, str, int]] = {}
        self.connections: dict[int, Connection] = {}
        self._who = json.dumps({"pod": pod, "node": node, "nonce": nonce})[:-1]

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
        if protocol != "udp":
            sock.listen(1024)
        sock.setblocking(False)
        number = sock.getsockname()[1]
        self.listeners[sock.fileno()] = (sock, protocol, number)
        self.poller.add(sock.fileno(), IN)
        return int(number)

    def identity(self, client: tuple[Any, ...], port: int, more: str = "") -> bytes:
        """The JSON object that says who answered, whom it saw, and on which port."""
        host = client[0]
        if host.startswith("::ffff:"):
            host = host[7:]
        return f'{self._who}, "client": "{host}", "client_port": {client[1]}, "port": {port}{more}}}'.encode()

    def run(self) -> None:
        while True:
            self.step(-1)

    def step(self, seconds: float) -> None:
        """Serve what is ready, waiting at most `seconds` for it."""
        connections = self.connections
        for fd, events in self.poller.wait(seconds):
            connection = connections.get(fd)
            if connection is not None:
                if connection.out and events & OUT:
                    self._writable(fd, connection)
                elif events & ~OUT:
                    self._readable(fd, connection)
                continue
            listener = self.listeners.get(fd)
            if listener is None:
                continue
            sock, protocol, port = listener
            if protocol == "udp":
                self._datagrams(sock, port)
            else:
                self._accept(sock, protocol == "http", port)

    def _accept(self, listener: socket.socket, http: bool, port: int) -> None:
        for _ in range(64):
            try:
                sock, client = listener.accept()
            except OSError:
                # nothing more to accept, or the client has already gone again
                return
            if not DONTWAIT:
                sock.setblocking(False)
            fd = sock.fileno()
            connection = Connection(sock, client, port, http)
            self.connections[fd] = connection
            self.poller.add(fd, IN)
            self._readable(fd, connection)

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
        if not data:
            self._close(fd, connection)
            return
        if connection.left:
            data = self._upload(connection, data)
            if connection.left:
                return
        data = connection.data + data
        try:
            keep = self._http(connection, data) if connection.http else self._line(connection, data)
        except OSError:
            # the client went away while we answered
            keep = False
        if keep and connection.out:
            self.poller.change(fd, OUT)
        if not keep or len(connection.data) > 65536:
            self._close(fd, connection)

    def _writable(self, fd: int, connection: Connection) -> None:
        try:
            connection.out = connection.out[connection.sock.send(connection.out, DONTWAIT) :]
        except BlockingIOError:
            return
        except OSError:
            self._close(fd, connection)
            return
        if not connection.out:
            self.poller.change(fd, IN)

    def _upload(self, connection: Connection, data: bytes) -> bytes:
        """Take what belongs to the upload under way, answer when it is whole, and give what comes after it."""
        mine = data[: connection.left]
        connection.digest.update(mine)
        connection.left -= len(mine)
        if not connection.left:
            digest = ', "digest": ' + json.dumps(connection.digest.hexdigest())
            body = self.identity(connection.client, connection.port, digest)
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            connection.sock.send(answer, DONTWAIT)
        return data[len(mine) :]

    def _http(self, connection: Connection, data: bytes) -> bool:
        """Answer each whole request in `data`; false when the connection is to be closed."""
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
                size = int(lower[length + 17 :].split(b"\r\n", 1)[0])
                if words[0] == b"POST" and words[1] == b"/bytes" and size:
                    import hashlib

                    connection.left, connection.digest, connection.data = size, hashlib.sha256(), b""
                    data = self._upload(connection, rest)
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
                if ("\r\nkubereach-nonce: " + self.nonce).encode().lower() not in lower:
                    status = b"403 Forbidden"
                elif ends:
                    connection.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", DONTWAIT)
                    os._exit(0)
                else:
                    self.ready = not words[1].endswith(b"0")
            elif words[1] == b"/ready" and not self.ready:
                status = b"503 Service Unavailable"
            if words[1].startswith(b"/bytes?size="):
                content = pattern(int(words[1][12:]))
                connection.out = memoryview(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)
                )
                connection.data = b""
                return True
            body = self.identity(connection.client, connection.port)
            connection.sock.send(
                b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (status, len(body), body),
                DONTWAIT,
            )
            data = rest
            # HTTP/1.0 and `Connection: close` expect the server to close; kubereach's own prober closes first itself
            if words[2] != b"HTTP/1.1" or b"\r\nconnection: close" in lower:
                return False
            if not data:
                connection.data = b""
                return True

    def _line(self, connection: Connection, data: bytes) -> bool:
        """Answer each line with who we are and the line itself."""
        *lines, connection.data = data.split(b"\n")
        for line in lines:
            echo = ', "echo": ' + json.dumps(line.decode("latin-1"))
            connection.sock.send(self.identity(connection.client, connection.port, echo) + b"\n", DONTWAIT)
        return True

    def _datagrams(self, sock: socket.socket, port: int) -> None:
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
                sock.sendto(self.identity(client, port, echo), client)
            except OSError:
                # a full send buffer loses the datagram, as a network may: the client counts it
                return


def pattern(size: int) -> bytes:
    """So many bytes of which no two neighbouring blocks are equal: what is lost or repeated changes the digest."""
    block = b"".join(b"%07d " % number for number in range(8192))
    return (block * (size // len(block) + 1))[:size]


# --- probe -----------------------------------------------------------------------------------------------------------


class Series:
    """A request under way."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.id = request["id"]
        self.kind = request["kind"]
        self.request = request
        #: whether its probes are single datagrams
        self.datagrams = self.kind == "udp" or (self.kind == "dns" and request.get("transport") != "tcp")
        self.count = int(request.get("count", 1))
        self.limit = int(request.get("in_flight", 4))
        self.spacing = float(request.get("spacing", 0))
        self.timeout = float(request.get("timeout", 2))
        self.wanted = frozenset(request.get("wanted", ("ok",)))
        self.stop_after = int(request.get("stop_after", 0))
        self.strict = bool(request.get("retransmits"))
        self.patient = bool(request.get("patient"))
        self.nonce = request.get("nonce")
        self.port = int(request.get("port", 0))
        self.to: list[tuple[int, tuple[Any, ...]]] = []  # (address family, socket address), in turn
        self.payload = b""
        self.begun = time.monotonic()
        self.next_at = self.begun + float(request.get("delay", 0))
        self.started = 0
        self.under_way = 0
        self.misses = 0
        self.burst = bool(request.get("burst"))
        #: when each probe began, where that is asked for
        self.at: list[float] | None = [] if request.get("times") else None
        #: set for a flow that is to end
        self.stopped: Any = None
        #: of a flow: the pods whose answers end it (none: no answer), how many in a row, and when to give that up
        self.until: tuple[frozenset[str], int, float] | None = None
        #: tells the outcome of a flow's first ping
        self.began: Callable[[str], None] = lambda _: None
        self.rows: list[list[Any]] = []
        self.row_of: dict[tuple[Any, ...], int] = {}
        self.of: list[int] = []
        self.ms: list[float] = []
        self.retransmits: list[int] = []

    def full(self) -> bool:
        """Whether no further probe may start now.

        After a miss no more are under way than may still miss: what times out shall not be tried one after the other.
        """
        if self.misses and self.stop_after and self.misses + self.under_way >= self.stop_after:
            return self.under_way > 0
        return self.under_way >= self.limit

    def over(self) -> bool:
        return self.under_way == 0 and (self.started >= self.count)

    def record(self, row: tuple[Any, ...], seconds: float, retransmits: int, begun: float) -> None:
        """Note a probe that began at `begun` (time.monotonic) and took so many seconds."""
        index = self.row_of.get(row)
        if index is None:
            index = self.row_of[row] = len(self.rows)
            self.rows.append(list(row))
        self.of.append(index)
        self.ms.append(round(seconds * 1000, 3))
        self.retransmits.append(retransmits)
        if self.at is not None:
            self.at.append(round(begun - self.begun, 4))
        if row[0] not in self.wanted or (retransmits and self.strict):
            self.misses += 1
            if self.stop_after and self.misses >= self.stop_after:
                self.count = self.started

    def answer(self) -> bytes:
        whole = {
            "id": self.id,
            "rows": self.rows,
            "of": self.of,
            "ms": self.ms,
            "retransmits": self.retransmits if any(self.retransmits) else [],
            "at": self.at or [],
            "seconds": round(time.monotonic() - self.begun, 4),
        }
        return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


class Attempt:
    """One probe under way. `state` is 0 while it connects, 1 while it waits for the answer.

    It is -1 for the resolution of a series' name, which is no probe, unless it fails.
    """

    __slots__ = ("arrived", "begun", "data", "fd", "local", "longer", "series", "sock", "state", "token")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.begun = time.monotonic()
        #: seconds that it has over the series' time-out, because the prober could not run for so long
        self.longer = 0.0
        #: whether its question has come to the other side, or is taken to have, found out when its time was over
        self.arrived = False
        self.data = b""
        self.sock: socket.socket | None = None
        self.fd = -1
        self.state = 0
        self.local = ""
        self.token = b""


def local_ports() -> tuple[int, int]:
    """First and last of the ports that this machine gives to clients."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:  # noqa: PTH123
            first, last = (int(word) for word in file.read().split())
        return first, last
    except (OSError, ValueError):
        return 49152, 65535


def empty_row(outcome: str, local: str = "", detail: str = "") -> tuple[Any, ...]:
    return (outcome, "", "", "", "", local, 0, detail)


def resolve(host: str, family: int) -> tuple[str, list[str]]:
    """Ask the pod's own resolver: outcome and sorted addresses.

    getaddrinfo does not tell NXDOMAIN from a name without such addresses on every libc (EAI_NONAME), nor a time-out
    from SERVFAIL (EAI_AGAIN): the former counts as nxdomain, the latter as timeout when it took longer than a
    resolver's shortest time-out, else as servfail.
    """
    wanted = {4: socket.AF_INET, 6: socket.AF_INET6}.get(family, socket.AF_UNSPEC)
    begun = time.monotonic()
    try:
        found = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return "nxdomain", []
        if error.errno == getattr(socket, "EAI_NODATA", None) or error.errno == getattr(
            socket, "EAI_ADDRFAMILY", None
        ):
            return "nodata", []
        if error.errno == socket.EAI_AGAIN and time.monotonic() - begun > 0.9:
            return "timeout", []
        return "servfail", []
    except UnicodeError:
        return "nxdomain", []
    return "ok", sorted({str(item[4][0]) for item in found})


def libc() -> str:
    """The C library's name and version where it is glibc; empty for musl and others."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def resolver_options() -> str:
    """The text of /etc/resolv.conf, with what glibc takes from the environment; empty if it cannot be read."""
    try:
        with open("/etc/resolv.conf", "rb") as file:  # noqa: PTH123 - pathlib takes 10 ms to load
            return file.read().decode(errors="replace") + "\noptions " + os.environ.get("RES_OPTIONS", "")
    except OSError:
        return ""


def resends_after(c_library: str, text: str) -> float:
    """Seconds after which a resolver sends a query again that was not answered, by what resolv.conf says.

    glibc: ``timeout``, 5 s by default, 30 at most and 1 at least (resolv.conf(5), res_send.c). musl: ``timeout`` by
    ``attempts``, by default 5 s by 2, at most 60 s and 10 (res_msend.c, resolvconf.c). Others count as musl, whose time
    is the shorter one.
    """
    options = {"timeout": 5, "attempts": 2}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "options":
            for option in rest.split():
                name, _, number = option.partition(":")
                if name in options and number.isdigit():
                    options[name] = int(number)
    if c_library.startswith("glibc"):
        return float(min(max(options["timeout"], 1), 30))
    return min(options["timeout"], 60) / min(max(options["attempts"], 1), 10)


def handshake(request: dict[str, Any]) -> tuple[Any, ...]:
    """A TLS handshake with the certificate verified for the server's name against the given authority."""
    import ssl  # costs 20 ms, and few vantages need it

    context = ssl.create_default_context(cadata=request["ca"])
    name = request.get("server_name") or request["host"]
    local = ""
    try:
        with socket.create_connection((request["host"], request["port"]), request.get("timeout", 2)) as plain:
            local = plain.getsockname()[0]
            with context.wrap_socket(plain, server_hostname=name) as secure:
                return empty_row("ok", local, secure.version() or "")
    except ssl.SSLError as error:
        return empty_row("tls", local, getattr(error, "verify_message", "") or str(error))
    except socket.gaierror as error:
        return empty_row("nxdomain" if error.errno == socket.EAI_NONAME else "servfail", local, str(error))
    except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
        return empty_row("timeout", local)
    except OSError as error:
        return empty_row(outcome_of(error.errno or 0), local, str(error))


if TYPE_CHECKING:
    #: what a thread did: for each probe its row, its seconds, and when it began
    Rows = list[tuple[tuple[Any, ...], float, float]]


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
                row = ping(sock, token, udp, begun, series.timeout)
            except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
                row = empty_row("timeout", "", "connected" if connected and not udp else "")
            except OSError as error:
                row = empty_row(outcome_of(error.errno or 0), "", str(error))
                if udp and error.errno == errno.ECONNABORTED:
                    sock.close()
                    sock, connected = socket.socket(family, socket.SOCK_DGRAM), False
                    sock.settimeout(series.timeout)
                    sock.bind(("", port))
            if row[0] == "ok" and series.nonce and row[3] != series.nonce:
                row = ("foreign", *row[1:])
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


def tcp_info(sock: socket.socket, offset: int) -> int | None:
    """The number at an offset of what the kernel tells of a TCP connection (tcp(7), TCP_INFO); None if it does not."""
    if not LINUX:
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, offset + 4)
    return int(struct.unpack_from("I", info, offset)[0]) if len(info) >= offset + 4 else None


def has_arrived(sock: socket.socket) -> bool:
    """Whether the other side's kernel has acknowledged all that was sent on a TCP connection; false if unknown."""
    return tcp_info(sock, UNACKED) == 0


def ping(sock: socket.socket, token: bytes, udp: bool, begun: float, timeout: float) -> tuple[Any, ...]:
    """One question over a socket that is connected, and its answer. Raises OSError."""
    sock.send(token if udp else token + b"\n")
    data = b""
    deadline, patient = begun + timeout, not udp
    while True:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = sock.recv(65536)
        except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
            if not (patient and has_arrived(sock)):
                raise
            deadline, patient = begun + PATIENCE * timeout, False
            continue
        if not part and not udp:
            return empty_row("reset", "", "closed by the other side")
        data = part if udp else data + part
        if not udp and not data.endswith(b"\n"):
            continue
        who = json.loads(data)
        if who.get("echo", "").encode() == token:
            local = sock.getsockname()[0]
            return ("ok", who["pod"], who["node"], who["nonce"], who["client"], local, who["port"], "")
        data = b""  # the answer to an earlier question, which was given up


def transfer(series: Series) -> Rows:
    """Upload and download; what was stalled, lost or changed is told in the detail."""
    import hashlib

    request, begun = series.request, time.monotonic()
    host, size = request["host"], request["size"]
    content = pattern(size)
    digest = hashlib.sha256(content).hexdigest()
    doing, moved = "connecting", 0
    shown = f"[{host}]" if ":" in host else host
    head = f"HTTP/1.1\r\nHost: {shown}:{series.port}\r\n"
    try:
        with socket.create_connection((host, series.port), request["stall"]) as sock:
            doing = "upload"
            sock.sendall(f"POST /bytes {head}Content-Length: {size}\r\n\r\n".encode())
            while moved < size:
                moved += sock.send(content[moved : moved + 65536])
            _, body = http_answer(sock, lambda _: None)
            who = json.loads(body)
            local = sock.getsockname()[0]
            row = ("ok", who["pod"], who["node"], who["nonce"], who["client"], local, who["port"], "")
            if who["digest"] != digest:
                row = empty_row("protocol", local, "the upload arrived changed")
            doing, moved = "download", 0

            def progress(bytes_so_far: int) -> None:
                nonlocal moved
                moved = bytes_so_far

            sock.sendall(f"GET /bytes?size={size} {head}\r\n".encode())
            _, body = http_answer(sock, progress)
            if hashlib.sha256(body).hexdigest() != digest:
                row = empty_row("protocol", local, "the download arrived changed")
    except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
        row = empty_row("timeout", "", f"the {doing} stalled after {moved} of {size} bytes")
    except OSError as error:
        row = empty_row(outcome_of(error.errno or 0), "", f"{doing}: {error}")
    except (ValueError, KeyError) as error:
        row = empty_row("foreign", "", f"{doing}: not an answer of ours: {error}")
    if row[0] == "ok" and series.nonce and row[3] != series.nonce:
        row = ("foreign", *row[1:])
    return [(row, time.monotonic() - begun, begun)]


def http_answer(sock: socket.socket, progress: Callable[[int], None]) -> tuple[bytes, bytes]:
    """Head and body of an HTTP answer with a length. Raises OSError, ValueError for one that is cut short."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            raise ValueError("closed before the end of the head")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    parts = [body]
    size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    got = len(body)
    while got < size:
        progress(got)
        part = sock.recv(65536)
        if not part:
            raise ValueError(f"closed after {got} of {size} bytes")
        parts.append(part)
        got += len(part)
    return head, b"".join(parts)


def set_ready(series: Series) -> Rows:
    """Turn the readiness of the backend in this pod on or off, or end it; it is reached over the loopback."""
    request, begun = series.request, time.monotonic()
    path = "/end" if request.get("end") else "/ready?on=" + ("1" if request["on"] else "0")
    ask = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nKubereach-Nonce: {}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", request["port"]), series.timeout) as sock:
        sock.sendall(ask.format(path, series.nonce).encode())
        head, _ = http_answer(sock, lambda _: None)
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    return [
        (empty_row("ok" if " 200 " in status else "protocol", "", status), time.monotonic() - begun, begun)
    ]


class Prober:
    """Runs series; what it answers goes to `write` as whole JSON lines."""

    def __init__(self, write: Callable[[bytes], None], in_flight: int = 16) -> None:
        self.write = write
        self.limit = in_flight
        self.poller = Poller()
        self.attempts: dict[int, Attempt] = {}
        self.waiting: deque[Series] = deque()
        self.series: dict[int, Series] = {}
        self.under_way = 0
        self.results: deque[tuple[Any, ...]] = deque()
        self.threaded: set[Attempt] = set()
        self.next_check = float("inf")
        self.ports = local_ports()
        self.port = self.ports[0] + os.getpid() * 7919 % (self.ports[1] - self.ports[0] + 1)
        self.token = 0
        self.wake_in, self.wake_out = os.pipe()
        os.set_blocking(self.wake_in, False)
        self.poller.add(self.wake_in, IN)

    # requests

    def submit(self, request: dict[str, Any]) -> None:
        """Take a request; a malformed one is answered with ``error``."""
        try:
            if request["kind"] == "stop":
                self._stop(request)
                return
            series = Series(request)
            if series.kind not in KINDS:
                raise ValueError(f"no such kind: {series.kind}")
            self.series[series.id] = series
            if series.kind in ("flow", "transfer", "ready"):
                self._work(series)
                return
            if series.kind == "file":
                self._file(series)
                return
            if series.kind in ("http", "tcp", "udp", "sctp", "dns"):
                self._address(series)
                return
            self.waiting.append(series)
        except (KeyError, ValueError, TypeError) as error:
            line = json.dumps({"id": request.get("id"), "error": f"{type(error).__name__}: {error}"})
            self.write(line.encode() + b"\n")

    def _stop(self, request: dict[str, Any]) -> None:
        """End a series as soon as what is under way has ended; one that is over already is not there any more."""
        series = self.series.get(request["series"])
        if series is None:
            return
        if "pods" in request:
            latest = time.monotonic() + request["within"]
            series.until = (frozenset(request["pods"]), int(request["times"]), latest)
            return
        if series.stopped is not None:
            series.stopped.set()
            return
        series.count = series.started
        if series.over():
            self._finish(series)

    def _work(self, series: Series) -> None:
        """A series that a thread does from beginning to end."""
        import threading

        series.stopped = threading.Event()
        work = {"flow": flow, "transfer": transfer, "ready": set_ready}[series.kind]

        def began(outcome: str) -> None:
            self.results.append((series, "began", outcome))
            os.write(self.wake_out, b"x")

        series.began = began

        def run() -> None:
            try:
                rows = work(series)
            except Exception as error:  # reported as the outcome of the probe
                rows = [(empty_row("local", "", f"{type(error).__name__}: {error}"), 0.0, series.begun)]
            self.results.append((series, "rows", rows))
            os.write(self.wake_out, b"x")

        threading.Thread(target=run, daemon=True).start()

    def _file(self, series: Series) -> None:
        begun = time.monotonic()
        try:
            with open(series.request["path"], encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                row = empty_row("ok", "", file.read())
        except OSError as error:
            row = empty_row("protocol", "", str(error))
        series.started = series.count = 1
        series.record(row, time.monotonic() - begun, 0, begun)
        self._finish(series)

    def _address(self, series: Series) -> None:
        """Find where the probes go to, then queue the series. Names take the resolver, in a thread."""
        host = series.request["host"]
        if series.kind == "dns":
            import base64  # few series need it

            message = base64.b64decode(series.request["message"])
            tcp = series.request.get("transport") == "tcp"
            series.payload = struct.pack("!H", len(message)) + message if tcp else message
        elif series.kind == "http":
            shown = f"[{host}]" if ":" in host else host
            path = series.request.get("path", "/who")
            series.payload = (
                f"GET {path} HTTP/1.1\r\nHost: {shown}:{series.port}\r\nUser-Agent: kubereach\r\n\r\n"
            ).encode()
        if self._literal(series, [host]):
            self.waiting.append(series)
            return
        attempt = Attempt(series)
        attempt.state = -1
        if series.timeout >= 1:  # less is impatience on purpose: there will be another attempt
            attempt.longer = max(0.0, RESOLVING - series.timeout)
        series.under_way += 1
        self._thread(attempt, lambda: ("addresses", *resolve(host, series.request.get("family", 4))))

    def _literal(self, series: Series, hosts: list[str]) -> bool:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.inet_pton(family, host)
            except OSError:
                return False
            series.to.append((family, (host, series.port)))
        return True

    # the loop

    def step(self) -> None:
        """Start what may start, then handle what is ready or overdue."""
        now = time.monotonic()
        pause = self._launch(now)
        if self.next_check != float("inf"):
            pause = (
                min(pause, max(0.0, self.next_check - now)) if pause >= 0 else max(0.0, self.next_check - now)
            )
        for fd, events in self.poller.wait(pause):
            attempt = self.attempts.get(fd)
            if attempt is not None:
                self._look(attempt, events)
            elif fd == self.wake_in:
                os.read(fd, 4096)
                while self.results:
                    self._threaded(*self.results.popleft())
            else:
                self.readable(fd)
        if time.monotonic() >= self.next_check:
            self._overdue()

    def readable(self, fd: int) -> None:
        """Another descriptor of the poller has something: standard input, in `main`."""

    def _launch(self, now: float) -> float:
        """Start probes up to the limits, series in turn. Gives the seconds until the next may start, or -1."""
        pause = -1.0
        waiting = self.waiting
        idle = 0
        while waiting and idle < len(waiting):
            series = waiting[0]
            if series.started >= series.count:
                waiting.popleft()
                continue
            waiting.rotate(-1)
            if series.full() or (self.under_way >= self.limit and not series.burst):
                idle += 1
            elif series.next_at > now:
                wait = series.next_at - now
                pause = wait if pause < 0 else min(pause, wait)
                idle += 1
            else:
                idle = 0
                series.started += 1
                series.under_way += 1
                self.under_way += 1
                if series.spacing:
                    series.next_at = max(series.next_at, now) + series.spacing
                self._start(series)
        return pause

    def _start(self, series: Series) -> None:
        attempt = Attempt(series)
        deadline = attempt.begun + series.timeout
        if deadline < self.next_check:
            self.next_check = deadline
        if series.kind == "resolve":
            host, family = series.request["host"], series.request.get("family", 4)
            self._thread(attempt, lambda: ("resolved", *resolve(host, family)))
            return
        if series.kind == "tls":
            self._thread(attempt, lambda: ("row", handshake(series.request)))
            return
        family, address = series.to[(series.started - 1) % len(series.to)]
        datagram = series.datagrams
        try:
            number = SCTP if series.kind == "sctp" else 0
            kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
            sock = socket.socket(family, kind | NONBLOCK, number)
            if not NONBLOCK:
                sock.setblocking(False)
            self._own_port(sock)
            if TCP_QUICKACK is not None and not datagram and not number:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 0)
        except OSError as error:
            self._done(attempt, empty_row("local", "", str(error)))
            return
        attempt.sock = sock
        if series.kind in ("udp", "tcp", "sctp"):
            self.token += 1
            attempt.token = b"kubereach %d.%d" % (os.getpid(), self.token)
            attempt.token = attempt.token.ljust(series.request.get("size", 0), b".")
        number = sock.connect_ex(address)
        if number not in (0, errno.EINPROGRESS):
            # said by the call itself, before there was any packet: by routes, or by who translates at the socket
            said = f"connect() gave {errno.errorcode.get(number, number)}: {os.strerror(number)}"
            self._done(attempt, empty_row(outcome_of(number), "", said))
            return
        attempt.fd = fd = sock.fileno()
        self.attempts[fd] = attempt
        if not datagram:
            self.poller.add_both(fd)
            return
        try:
            sock.send(series.payload if series.kind == "dns" else attempt.token)
        except OSError as error:
            self.poller.add(fd, IN)
            self._done(attempt, empty_row(outcome_of(error.errno or 0), "", str(error)))
            return
        attempt.state = 1
        self.poller.add(fd, IN)

    def _own_port(self, sock: socket.socket) -> None:
        """Give a socket a local port that this prober has not had before, or not for a long time.

        The kernel gives any that is free, also that of a connection which has just not been answered. The nodes'
        connection tracking remembers that one for two minutes (nf_conntrack_tcp_timeout_syn_sent), takes the new one
        for it, and leads it to the same endpoint, whatever has changed since. Any client may have that bad luck, and
        no service proxy can do anything about it; but it says nothing about the data plane as it is now.
        """
        first, last = self.ports
        for _ in range(16):
            self.port = self.port + 1 if self.port < last else first
            try:
                sock.bind(("", self.port))
            except OSError:
                continue  # somebody else on this machine has it
            return

    def _look(self, attempt: Attempt, events: int) -> None:
        try:
            self._event(attempt, events)
        except OSError as error:
            reason = error.strerror or str(error)
            self._done(attempt, empty_row(outcome_of(error.errno or 0), attempt.local, reason))

    def _event(self, attempt: Attempt, events: int) -> None:
        sock = attempt.sock
        series = attempt.series
        assert sock is not None
        if attempt.state == 0:
            # a connection that failed says so here
            try:
                sock.send(attempt.token + b"\n" if series.kind in ("tcp", "sctp") else series.payload)
            except BlockingIOError:
                return  # not made yet: the event was of another one that had the same descriptor
            attempt.state = 1
            self.poller.connected(attempt.fd)
            if not events & IN:
                return
        while True:
            try:
                data = sock.recv(65536)
            except BlockingIOError:
                return
            self._received(attempt, data)
            # a connection's data and its end may have come at once, and that is told once
            if series.datagrams or attempt.fd not in self.attempts:
                return

    def _received(self, attempt: Attempt, data: bytes) -> None:
        series = attempt.series
        if series.kind == "http":
            self._http(attempt, data)
        elif series.kind == "dns":
            self._dns(attempt, data)
        elif not data:
            self._done(attempt, empty_row("protocol", "", "closed without an answer"))
        elif series.kind == "udp":
            self._identity(attempt, data)
        else:
            attempt.data += data
            if attempt.data.endswith(b"\n"):
                self._identity(attempt, attempt.data)

    def _http(self, attempt: Attempt, data: bytes) -> None:
        attempt.data = whole = attempt.data + data if attempt.data else data
        head, separator, body = whole.partition(b"\r\n\r\n")
        if separator and attempt.series.request.get("status"):
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            self._done(attempt, empty_row("ok", "", words[1] if len(words) > 1 else ""))
            return
        if separator:
            at = head.find(b"Content-Length: ")
            size = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at > 0 else -1
            if size >= 0 and len(body) >= size:
                if head.startswith(b"HTTP/1.1 200 ") and attempt.series.request.get("text"):
                    self._done(
                        attempt, empty_row("ok", "", body[: min(size, 4096)].decode("utf-8", "replace"))
                    )
                elif head.startswith(b"HTTP/1.1 200 "):
                    self._identity(attempt, body[:size])
                else:
                    self._done(
                        attempt, empty_row("protocol", "", head.split(b"\r\n", 1)[0].decode("latin-1"))
                    )
                return
            if not data or at < 0:
                first = head.split(b"\r\n", 1)[0].decode("latin-1")
                self._done(attempt, empty_row("foreign" if attempt.series.nonce else "protocol", "", first))
                return
        if not data:
            reason = f"closed after {len(whole)} bytes of an answer" if whole else "closed without an answer"
            self._done(attempt, empty_row("protocol", "", reason))

    def _identity(self, attempt: Attempt, body: bytes) -> None:
        """Read who answered."""
        series = attempt.series
        sock = attempt.sock
        assert sock is not None
        try:
            who = json.loads(body)
            row = (who["pod"], who["node"], who["nonce"], who["client"], sock.getsockname()[0], who["port"])
            echo = who.get("echo", "")
        except (ValueError, KeyError, TypeError):
            text = body[:60].decode("latin-1")
            self._done(
                attempt, empty_row("foreign" if series.nonce else "protocol", "", f"answered {text!r}")
            )
            return
        if series.kind != "http" and echo.encode() != attempt.token:
            if series.kind in ("tcp", "sctp"):
                self._done(attempt, empty_row("protocol", "", "answered to another question"))
            # a late or duplicated datagram is not ours: the real answer may still come
            return
        outcome = "foreign" if series.nonce and who["nonce"] != series.nonce else "ok"
        self._done(attempt, (outcome, *row, ""))

    def _dns(self, attempt: Attempt, data: bytes) -> None:
        import base64  # few series need it

        series = attempt.series
        sock = attempt.sock
        assert sock is not None
        question = series.payload
        if series.request.get("transport") == "tcp":
            attempt.data += data
            if len(attempt.data) < 2 or len(attempt.data) - 2 < struct.unpack_from("!H", attempt.data)[0]:
                if not data:
                    self._done(attempt, empty_row("protocol", "", "closed without a whole answer"))
                return
            data = attempt.data[2:]
            question = question[2:]
        if len(data) < 12 or data[:2] != question[:2] or not data[2] & 0x80:
            if series.request.get("transport") == "tcp":
                self._done(attempt, empty_row("protocol", "", "not an answer to the question"))
            return
        code = data[3] & 15
        if code == 0:
            outcome = "ok" if data[6:8] != b"\0\0" else "nodata"
        else:
            outcome = {3: "nxdomain", 2: "servfail"}.get(code, "protocol")
        self._done(attempt, empty_row(outcome, sock.getsockname()[0], base64.b64encode(data).decode()))

    def _overdue(self) -> None:
        """Time out what is over its deadline and find the next deadline.

        On a busy machine this process may not have run for a while. The network is not to blame for that: everybody
        gets as much longer, and what has come meanwhile is an answer.
        """
        now = time.monotonic()
        late = now - self.next_check
        soonest = float("inf")
        for attempt in [*self.attempts.values(), *self.threaded]:
            if late > LATE:
                attempt.longer += late
            if attempt.begun + attempt.series.timeout + attempt.longer <= now:
                if attempt.sock is not None:
                    self._look(attempt, IN)
                if self._is_patient(attempt):
                    soonest = min(soonest, attempt.begun + attempt.series.timeout + attempt.longer)
                    continue
                if attempt in self.threaded or self.attempts.get(attempt.fd) is attempt:
                    asked = attempt.state == 1 and not attempt.series.datagrams
                    reason = NO_ADDRESS if attempt.state == -1 else "connected" if asked else ""
                    self._done(attempt, empty_row("timeout", "", reason))
                continue
            soonest = min(soonest, attempt.begun + attempt.series.timeout + attempt.longer)
        self.next_check = soonest

    def _is_patient(self, attempt: Attempt) -> bool:
        """Whether an attempt whose time is over is waited for longer, once: its question has arrived, or may have."""
        series = attempt.series
        if attempt.arrived or attempt.state != 1 or self.attempts.get(attempt.fd) is not attempt:
            return False
        if series.kind == "sctp" or "timeout" in series.wanted or attempt.sock is None:
            return False
        # of a datagram it is not known: only a late answer tells, where there are answers at all
        answered = series.patient and any(row[0] in series.wanted for row in series.rows)
        attempt.arrived = answered if series.datagrams else has_arrived(attempt.sock)
        if attempt.arrived:
            attempt.longer += series.timeout * (PATIENCE - 1)
        return attempt.arrived

    def _done(self, attempt: Attempt, row: tuple[Any, ...]) -> None:
        now = time.monotonic()
        series = attempt.series
        if attempt.state == -1:
            self.under_way += 1
            series.started = series.count = 1
        retransmits = 0
        sock = attempt.sock
        if sock is not None:
            if series.strict and series.kind != "sctp" and not series.datagrams:
                retransmits = tcp_info(sock, TOTAL_RETRANS) or 0
            if attempt.fd >= 0:
                self.attempts.pop(attempt.fd, None)
                self.poller.forget(attempt.fd)
            sock.close()
        self.threaded.discard(attempt)
        self.under_way -= 1
        series.under_way -= 1
        series.record(row, now - attempt.begun, retransmits, attempt.begun)
        if series.over():
            self._finish(series)

    def _finish(self, series: Series) -> None:
        self.series.pop(series.id, None)
        self.write(series.answer())

    # what blocks

    def _thread(self, attempt: Attempt, work: Callable[[], tuple[Any, ...]]) -> None:
        import threading  # a vantage that resolves nothing needs none

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # reported as the outcome of the probe
                result = ("row", empty_row("local", "", f"{type(error).__name__}: {error}"))
            self.results.append((attempt, *result))
            os.write(self.wake_out, b"x")

        self.threaded.add(attempt)
        deadline = attempt.begun + attempt.series.timeout
        if deadline < self.next_check:
            self.next_check = deadline
        threading.Thread(target=run, daemon=True).start()

    def _threaded(self, attempt: Attempt | Series, what: str, *result: Any) -> None:
        if isinstance(attempt, Series):
            if what == "began":
                self.write(json.dumps({"id": attempt.id, "began": result[0]}).encode() + b"\n")
                return
            for row, seconds, begun in result[0]:
                attempt.record(row, seconds, 0, begun)
            self._finish(attempt)
            return
        if attempt not in self.threaded:
            return  # it timed out meanwhile
        if what == "row":
            self._done(attempt, result[0])
            return
        outcome, addresses = result
        assert isinstance(outcome, str) and isinstance(addresses, list)
        if what == "resolved":
            self._done(attempt, empty_row(outcome, "", " ".join(addresses)))
            return
        # the addresses of a name, for the probes of the series to come
        series = attempt.series
        if outcome == "ok" and self._literal(series, addresses):
            self.threaded.discard(attempt)
            series.under_way -= 1
            self.waiting.append(series)
            return
        self._done(attempt, empty_row(outcome, "", NO_ADDRESS))


# --- main ------------------------------------------------------------------------------------------------------------


def write_all(data: bytes) -> None:
    """Write to standard output, all of it; a reader that has gone means that nobody needs us any more."""
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        os._exit(0)


def probe(arguments: list[str]) -> None:
    """Take requests on standard input until it ends."""
    limit = int(arguments[arguments.index("--in-flight") + 1]) if "--in-flight" in arguments else 16
    prober = Prober(write_all, limit)
    pending = [b""]
    os.set_blocking(0, False)

    def readable(fd: int) -> None:
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            os._exit(0)
        *lines, pending[0] = (pending[0] + data).split(b"\n")
        for line in lines:
            if line.strip():
                prober.submit(json.loads(line))

    prober.readable = readable  # type: ignore[method-assign]
    prober.poller.add(0, IN)
    hello = {
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "pid": os.getpid(),
        "resends_after": resends_after(libc(), resolver_options()),
    }
    write_all(json.dumps({"hello": hello}).encode() + b"\n")
    while True:
        prober.step()


def serve(arguments: list[str]) -> None:
    """``serve [--http PORT]... [--tcp PORT]... [--udp PORT]... [--sctp PORT]... [--not-ready] [--linger SECONDS]``.

    Any number of ports; a machine without SCTP serves the others. `--linger`: go on for so long after SIGTERM.

    Who it is comes from the environment: POD_NAME, NODE_NAME, NONCE.
    """
    server = Server(
        os.environ.get("POD_NAME") or socket.gethostname(),
        os.environ.get("NODE_NAME", ""),
        os.environ.get("NONCE", ""),
        ready="--not-ready" not in arguments,
    )
    for option, value in zip(arguments, arguments[1:]):  # noqa: B905, RUF007 - both need Python 3.10
        if option in ("--http", "--tcp", "--udp"):
            server.listen(option[2:], int(value))
        elif option == "--sctp":
            try:
                server.listen("sctp", int(value))
            except OSError as error:
                sys.stderr.write(f"no SCTP on this machine: {error}\n")
    server.run()


def idle() -> None:
    """Only be there, for a vantage's exec."""
    while True:
        time.sleep(3600)


def end_at_sigterm(linger: float = 0.0) -> None:
    """End when asked to, after `linger` seconds: process 1 of a pod has no default action for the signal.

    A thread waits for the signal. A handler would run only between two steps of the interpreter, and so not at all
    when the signal comes just before a wait for packets.
    """
    import signal
    import threading

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        signal.sigwait([signal.SIGTERM])
        time.sleep(linger)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> None:
    end_at_sigterm(float(arguments[arguments.index("--linger") + 1]) if "--linger" in arguments else 0.0)
    command = arguments[0] if arguments else ""
    if command == "serve":
        serve(arguments[1:])
    elif command == "probe":
        probe(arguments[1:])
    elif command == "idle":
        idle()
    else:
        sys.stderr.write("usage: peer.py serve|probe|idle ...\n")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
