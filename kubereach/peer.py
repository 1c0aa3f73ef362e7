#!/usr/bin/env python3
"""The program in every pod: a backend (``serve``) and a prober (``probe``) in one file, standard library only.

It is mounted from a ConfigMap into any image with Python >= 3.8, so it may use nothing newer and nothing else.

``serve`` answers HTTP, TCP and UDP with who it is: pod, node, the run's nonce, the client's address as it saw it and
the port that was hit. Everybody who reaches it gets that answer, so that the nonce is public; what changes a backend
takes the run's secret, which no answer contains. A malformed request, or one that is too large, costs its own
connection alone.

``probe`` takes requests as JSON lines on standard input, one request for a whole *series* of probes, and answers each
with one JSON line when its series is over; any number of series may be under way.

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
    nonce       answers that carry another nonce, or are none of a backend, are outcome ``foreign``
    retransmits true: a connection that needed a retransmission counts as a miss for stop_after. Where the kernel does
                not count them (no TCP_INFO), one that took longer than SLOW_CONNECT to be made needed one
    burst       true: the series may have more probes under way than all series together otherwise have
    patient     true: where others were answered, a datagram's answer is waited for PATIENCE time-outs
    times       true: the answer tells when each probe began ("at", seconds since the series began)
    dns: message (base64), transport (udp, tcp); resolve: host, family (4, 6, 0); tls: ca (PEM), server_name; file: path
    http: path (/who); status: true: who answers does not matter, ``detail`` is the status
    udp: size (bytes of the datagram, padded)
    flow        one connection, or datagrams from one port (transport: tcp, udp), with a ping every `spacing` seconds:
                each is a probe. `stop` makes one last ping. A connection that breaks ends it
    transfer    `size` bytes up and then down over HTTP, compared by their digest; `stall`: seconds without progress
    ready       make the backend in this very pod ready or not (on, port), or end it (end, port); takes the secret
    stop        end the series `series`: what is under way is waited for, nothing else starts. A flow with `pods`,
                `times` and `within` ends after so many answers in a row from one of these pods (no pods: after so many
                pings in a row that nobody answered), or with the first other ping that begins after so many seconds
An answer: ``{"id", "rows": [[outcome, pod, node, nonce, client, local, port, detail], ...], "of": [row of each probe],
    "ms": [latency of each], "retransmits": [of each], "at": [of each], "seconds"}``: probes in order of completion;
    equal rows are given once. ``detail`` is the answer of dns (base64), resolve (addresses), file (text), else the
    reason in words. A flow says ``{"id", "began": outcome}`` after its first ping. A request that cannot be read is
    answered ``{"id", "error"}``. Where they are not zero or false:
    timed         retransmissions are taken from how long connections took to be made
    late          seconds by which a timer of the prober fired late at most while the series ran; more than LATE
    late_p99      of the prober's ticks in its last minute, those that one of a hundred exceeds
    lapses        [[index, seconds]] of misses: the greatest of those of the prober while that probe was under way
    backend_late  the greatest lateness that a backend has told of, which it does when it is more than TELL_LATE

Outcomes
    ok refused reset timeout unreachable nxdomain nodata servfail tls, as kubereach's documents define them;
    denied      EPERM or EACCES from the prober's own kernel: what a process on a node gets for UDP to an address that
                the node's own rules reject or drop (there is no packet that an ICMP error could answer)
    foreign     an answer, but not from a peer of this run: another nonce, or nothing that a peer says
    protocol    closed without an answer; an answer of a peer of this run to another question, or of an error; where no
                nonce is wanted, an answer that is not the protocol's
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
    import threading
    from collections.abc import Callable, Iterator
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
#: a connection that took so many seconds to be made has lost its first SYN, which is sent again after one (RFC 6298)
SLOW_CONNECT = 0.9
#: bytes of a request or an answer that are kept while the rest has yet to come; nothing of ours is as large
HEAD = 16384
#: bytes of an answer besides what it repeats of the question: names have up to 253
NAMES = 2048
#: bytes that an upload or a download may have
TRANSFER = 1 << 30
#: connections that a backend serves at a time; a run makes hundreds
CONNECTIONS = 2048
#: seconds for which a process sleeps at most while something is under way, so as to measure how late it wakes up
TICK = 0.05
#: lateness of so many ticks is remembered: a minute's, where nothing else wakes the process up
TICKS = 1200
NEVER = float("inf")
#: seconds of lateness above which a backend tells of it, and for which it does
TELL_LATE, TELL_FOR = 0.2, 10.0
#: seconds after the last request for which a backend goes on to measure
QUIET = 1.0
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

#: what the other side's ICMP errors make of a connection, besides the usual ones: not every system has them all
_UNREACHABLE = ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "ENOPROTOOPT", "ENONET", "EPROTO")
ERRNO_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    **{getattr(errno, name): "unreachable" for name in _UNREACHABLE if hasattr(errno, name)},
    errno.EPERM: "denied",
    errno.EACCES: "denied",
}


def outcome_of(number: int) -> str:
    """The outcome word for an errno; what only this machine can be to blame for is ``local``."""
    return ERRNO_OUTCOMES.get(number, "local")


class Poller:
    """epoll where there is one, else poll: the outside vantage also runs on machines that are not Linux."""

    #: ready (descriptor, events); at most so many seconds, negative means for ever
    wait: Callable[[float], list[tuple[int, int]]]
    #: must be called before a descriptor is closed
    forget: Callable[[int], object]

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll is not None else select.poll()
        chosen = self._epoll if self._epoll is not None else self._poll
        assert chosen is not None
        self.add = chosen.register
        self.change = chosen.modify
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


def number_in(text: bytes, most: int) -> int:
    """A whole number as HTTP writes it. Raises ValueError for anything else, and for more than `most`."""
    text = text.strip()
    if not text.isdigit() or len(text) > 15 or int(text) > most:
        raise ValueError(f"not a number up to {most}")
    return int(text)


# --- serve -----------------------------------------------------------------------------------------------------------


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


class Server:
    """A backend. Tells everyone who it is.

    With the run's secret (header ``Kubereach-Secret``) its readiness is toggled by ``POST /ready?on=0``, and it ends by
    ``POST /end``. Without a secret nobody may do that. It serves `limit` connections at a time.
    """

    def __init__(
        self,
        pod: str,
        node: str,
        nonce: str,
        ready: bool = True,
        secret: str = "",
        limit: int = CONNECTIONS,
    ) -> None:
        self.ready = ready
        self.limit = limit
        self._secret = secret.encode()
        self.poller = Poller()
        self.listeners: dict[int, tuple[socket.socket, str, int]] = {}
        self.connections: dict[int, Connection] = {}
        self._plain = json.dumps({"pod": pod, "node": node, "nonce": nonce})[:-1]
        #: how each answer begins
        self._who = self._plain
        #: the wake-ups so far, and whether they are so few that nobody measures lateness
        self._woken, self._idle = 0, False
        #: the greatest lateness of late, and when that was
        self._late, self._late_at = 0.0, 0.0

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
        import threading

        requests = threading.Event()
        threading.Thread(target=self._measure, args=(requests,), daemon=True).start()
        while True:
            self.step(-1)
            self._woken += 1
            if self._idle:
                requests.set()

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
                self._datagrams(sock, port)
            else:
                self._accept(sock, protocol == "http", port)

    def _measure(self, requests: threading.Event) -> None:
        """Measure how late this process wakes up, while there are requests; answers tell of it if it is much.

        That is a thread's work, so that no request takes longer for it.
        """
        while True:
            self._idle = True
            requests.wait()
            self._idle = False
            requests.clear()
            woken = -1
            while woken != self._woken:
                woken = self._woken
                for _ in range(int(QUIET / TICK)):
                    due = time.monotonic() + TICK
                    time.sleep(TICK)
                    now = time.monotonic()
                    self._was_late(now - due, now)

    def _was_late(self, late: float, now: float) -> None:
        if late >= self._late or now - self._late_at > TELL_FOR:
            self._late, self._late_at = late, now
            self._who = self._plain + (f', "late": {late:.3f}' if late > TELL_LATE else "")

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
        if not data:
            self._close(fd, connection)
            return
        self._take(fd, connection, data)

    def _take(self, fd: int, connection: Connection, data: bytes) -> None:
        """Answer what has come in."""
        try:
            if connection.left:
                data = self._upload(connection, data)
                if connection.left:
                    return
            data = connection.data + data
            keep = self._http(connection, data) if connection.http else self._line(connection, data)
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

    def _upload(self, connection: Connection, data: bytes) -> bytes:
        """Take what belongs to the upload under way, answer when it is whole, and give what comes after it."""
        mine = data[: connection.left]
        connection.digest.update(mine)
        connection.left -= len(mine)
        if not connection.left:
            digest = ', "digest": ' + json.dumps(connection.digest.hexdigest())
            body = self.identity(connection.client, connection.port, digest)
            self._send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return data[len(mine) :]

    def _http(self, connection: Connection, data: bytes) -> bool:
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
                body = self.identity(connection.client, connection.port)
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

    def _line(self, connection: Connection, data: bytes) -> bool:
        """Answer each line with who we are and the line itself."""
        *lines, connection.data = data.split(b"\n")
        for line in lines:
            echo = ', "echo": ' + json.dumps(line.decode("latin-1"))
            self._send(connection, self.identity(connection.client, connection.port, echo) + b"\n")
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


#: bytes after which the pattern of transfers begins again
_BLOCK = 65536
#: two blocks, so that a whole one can be cut out at any place
_blocks: list[memoryview] = []


def piece(begin: int, end: int) -> memoryview:
    """The pattern of transfers from byte `begin` to `end`, or a whole block of it if that is less.

    No two neighbouring parts of it are equal: what is lost or repeated changes the digest.
    """
    if not _blocks:
        _blocks.append(memoryview(2 * b"".join(b"%07d " % number for number in range(_BLOCK // 8))))
    at = begin % _BLOCK
    return _blocks[0][at : at + min(_BLOCK, end - begin)]


def pattern(size: int) -> bytes:
    """The first `size` bytes of the pattern of transfers."""
    return (bytes(piece(0, _BLOCK)) * (size // _BLOCK + 1))[:size]


# --- probe -----------------------------------------------------------------------------------------------------------


#: what requests of a kind must have, as texts; those of others have a host
NEEDED = {"file": ("path",), "ready": (), "dns": ("host", "message"), "tls": ("host", "ca")}
#: seconds that are more than anything takes
LONG = 1e7


def between(least: float, value: Any, most: float) -> Any:
    """The value. Raises ValueError for a number out of bounds or NaN, TypeError for what is no number."""
    if not least <= value <= most:
        raise ValueError(f"{value} is not from {least} to {most}")
    return value


class Timer:
    """A time-out of `TICK` seconds, set anew whenever this process wakes up while something is under way.

    How late it is noticed is how long this process did not run, though it was to: the machine had too much to do, or
    stood still, or a CPU limit was reached. Whatever else was due then was late too.
    """

    def __init__(self) -> None:
        #: when it is up (time.monotonic()); infinity while nothing is under way
        self.due = NEVER
        self._last: deque[float] = deque(maxlen=TICKS)
        #: when it was late, and by how many seconds
        self._lapses: deque[tuple[float, float]] = deque(maxlen=TICKS)

    def late(self, now: float) -> float:
        """Note that it is up; gives the seconds since it was."""
        late = now - self.due
        self._last.append(late)
        if late > LATE:
            self._lapses.append((now, late))
        return late

    def since(self, moment: float) -> float:
        """The greatest lateness since `moment` (time.monotonic()); 0 if it was never more than `LATE`."""
        return max((late for at, late in self._lapses if at >= moment), default=0.0)

    def p99(self) -> float:
        """The seconds of lateness that one of a hundred exceeds, of the last `TICKS`."""
        ordered = sorted(self._last)
        return ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0


class Series:
    """A request under way. Raises KeyError, TypeError or ValueError for one that is none."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.id = request["id"]
        self.kind = request["kind"]
        self.request = request
        if type(self.id) is not int or self.kind not in KINDS:
            raise ValueError(f"no such kind: {self.kind}")
        for name in NEEDED.get(self.kind, ("host",)):
            if type(request[name]) is not str:
                raise TypeError(f"{name} is not a text")
        #: whether its probes are single datagrams
        self.datagrams = self.kind == "udp" or (self.kind == "dns" and request.get("transport") != "tcp")
        self.count = int(between(1, request.get("count", 1), 1 << 30))
        self.limit = int(between(1, request.get("in_flight", 4), 4096))
        self.spacing = float(between(0, request.get("spacing", 0), LONG))
        self.timeout = float(between(0, request.get("timeout", 2), LONG))
        self.stall = float(between(0, request.get("stall", 4), LONG))
        self.size = int(between(0, request.get("size", 0), TRANSFER if self.kind == "transfer" else 65000))
        self.wanted = frozenset(request.get("wanted", ("ok",)))
        self.stop_after = int(between(0, request.get("stop_after", 0), 1 << 30))
        self.strict = bool(request.get("retransmits"))
        self.patient = bool(request.get("patient"))
        self.nonce = str(request.get("nonce") or "")
        self.port = int(between(0, request.get("port", 0), 65535))
        self.to: list[tuple[int, tuple[Any, ...]]] = []  # (address family, socket address), in turn
        self.payload = b""
        self.begun = time.monotonic()
        self.next_at = self.begun + float(between(0, request.get("delay", 0), LONG))
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
        #: whether those are taken from how long connections took to be made
        self.timed = False
        #: seconds by which a timer of ours, and of a backend, was late at most
        self.late = 0.0
        self.backend_late = 0.0
        #: index of each miss during which a timer of ours was late, with the seconds
        self.lapses: list[tuple[int, float]] = []

    def not_ours(self, data: bytes) -> tuple[Any, ...]:
        """The row of an answer that no peer gives."""
        return empty_row("foreign" if self.nonce else "protocol", "", f"answered '{shown(data)}'")

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

    def answer(self, p99: float = 0.0) -> bytes:
        """The answer, when it is over; `p99`: the prober's lateness, for what is late."""
        whole = {
            "id": self.id,
            "rows": self.rows,
            "of": self.of,
            "ms": self.ms,
            "retransmits": self.retransmits if any(self.retransmits) else [],
            "at": self.at or [],
            "seconds": round(time.monotonic() - self.begun, 4),
        }
        if self.timed:
            whole["timed"] = True
        if self.late > LATE:
            whole["late"], whole["late_p99"] = round(self.late, 3), round(p99, 3)
        if self.backend_late:
            whole["backend_late"] = self.backend_late
        if self.lapses:
            whole["lapses"] = self.lapses
        return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


class Attempt:
    """One probe under way. `state` is 0 while it connects, 1 while it waits for the answer.

    It is -1 for the resolution of a series' name, which is no probe, unless it fails.
    """

    __slots__ = (
        "arrived", "begun", "data", "fd", "local", "longer", "series", "slow", "sock", "state", "token",
    )  # fmt: skip

    def __init__(self, series: Series) -> None:
        self.series = series
        self.begun = time.monotonic()
        #: seconds that it has over the series' time-out, because the prober could not run for so long
        self.longer = 0.0
        #: whether its question has come to the other side, or is taken to have, found out when its time was over
        self.arrived = False
        #: whether it took longer than SLOW_CONNECT to connect, where the kernel does not count retransmissions
        self.slow = False
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


def shown(data: bytes) -> str:
    """The beginning of what somebody sent, for people: of one line, without control characters."""
    return repr(data[:60].decode("latin-1"))[1:-1]


def who_in(data: bytes) -> dict[str, Any]:
    """What a peer says of itself in an answer. Raises ValueError for what no peer says."""
    try:
        who: dict[str, Any] = json.loads(data)
        pod, node, nonce, client, port = who["pod"], who["node"], who["nonce"], who["client"], who["port"]
        echo = who.get("echo", "")
        texts = type(pod) is type(node) is type(nonce) is type(client) is type(echo) is str
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("not a peer's answer") from error
    if not texts or type(port) is not int or len(data) > NAMES + len(echo):
        raise ValueError("not a peer's answer")
    return who


def backend_lateness(who: dict[str, Any]) -> float:
    """The seconds by which a backend says that its timers were late; 0 if it does not say so."""
    late = who.get("late")
    return late if type(late) is float and 0 < late < LONG else 0.0


def size_in(head: bytes) -> int:
    """The length of the body that an HTTP answer's head gives; -1 if it gives none."""
    at = head.find(b"\r\nContent-Length:")
    if at < 0:
        # proxies write names of headers as they like
        at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return -1
    text = head[at + 17 :].split(b"\r\n", 1)[0].strip()
    return int(text) if text.isdigit() and len(text) < 16 else -1


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
        # an end in the middle of a handshake has no number
        ended = bool(local) and not error.errno
        return empty_row("tls" if ended else outcome_of(error.errno or 0), local, str(error))
    except ValueError as error:
        # a certificate that cannot be read
        return empty_row("tls", local, str(error))


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


def ping(sock: socket.socket, token: bytes, udp: bool, begun: float, series: Series) -> tuple[Any, ...]:
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
            return series.not_ours(data)
        series.backend_late = max(series.backend_late, backend_lateness(who))
        foreign = bool(series.nonce) and who["nonce"] != series.nonce
        if foreign or who.get("echo", "").encode("utf-8", "replace") == token:
            local = sock.getsockname()[0]
            row = (who["pod"], who["node"], who["nonce"], who["client"], local, who["port"], "")
            return ("foreign" if foreign else "ok", *row)
        data = b""  # the answer to an earlier question, which was given up
        if deadline <= time.monotonic():
            raise socket.timeout  # noqa: UP041


def is_beginning(data: bytes) -> bool:
    """Whether more may come that makes these bytes of a connection a peer's answer to a line."""
    return len(data) <= HEAD and data[:8] == b'{"pod": '[: len(data)]


def transfer(series: Series) -> Rows:
    """Upload and download; what was stalled, lost or changed is told in the detail."""
    import hashlib

    begun = time.monotonic()
    host, size = series.request["host"], series.size
    sent, got = hashlib.sha256(), hashlib.sha256()
    doing, moved = "connecting", 0
    latest = begun + max(series.timeout, series.stall)
    named = f"[{host}]" if ":" in host else host
    head = f"HTTP/1.1\r\nHost: {named}:{series.port}\r\n"
    try:
        with socket.create_connection((host, series.port), series.stall) as sock:
            doing = "upload"
            sock.sendall(f"POST /bytes {head}Content-Length: {size}\r\n\r\n".encode())
            while moved < size:
                block = piece(moved, size)
                count = sock.send(block)
                sent.update(block[:count])
                moved += count
            who = who_in(b"".join(http_answer(sock, HEAD, latest)))
            local = sock.getsockname()[0]
            series.backend_late = backend_lateness(who)
            row = ("ok", who["pod"], who["node"], who["nonce"], who["client"], local, who["port"], "")
            if series.nonce and who["nonce"] != series.nonce:
                return [(("foreign", *row[1:]), time.monotonic() - begun, begun)]
            if who.get("digest") != sent.hexdigest():
                row = empty_row("protocol", local, "the upload arrived changed")
            doing, moved = "download", 0
            sock.sendall(f"GET /bytes?size={size} {head}\r\n".encode())
            for part in http_answer(sock, size, latest):
                got.update(part)
                moved += len(part)
            if got.digest() != sent.digest():
                row = empty_row("protocol", local, "the download arrived changed")
    except socket.timeout:  # noqa: UP041 - not TimeoutError before Python 3.10
        row = empty_row("timeout", "", f"the {doing} stalled after {moved} of {size} bytes")
    except OSError as error:
        row = empty_row(outcome_of(error.errno or 0), "", f"{doing}: {error}")
    except ValueError as error:
        row = empty_row("foreign", "", f"{doing}: not an answer of ours: {error}")
    return [(row, time.monotonic() - begun, begun)]


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


def set_ready(series: Series) -> Rows:
    """Turn the readiness of the backend in this pod on or off, or end it; it is reached over the loopback."""
    request, begun = series.request, time.monotonic()
    path = "/end" if request.get("end") else "/ready?on=" + ("1" if request["on"] else "0")
    ask = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nKubereach-Secret: {}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", series.port), series.timeout) as sock:
        sock.sendall(ask.format(path, request.get("secret", "")).encode())
        status = shown(sock.recv(65536).split(b"\r\n", 1)[0])
    row = empty_row("ok" if " 200 " in status else "protocol", "", status)
    return [(row, time.monotonic() - begun, begun)]


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
        self.next_check = NEVER
        self.timer = Timer()
        self.ports = local_ports()
        # beginning anywhere: what an earlier prober at this address has left in connection tracking is not met again
        first, last = self.ports
        self.port = first + int.from_bytes(os.urandom(4), "big") % (last - first + 1)
        self.token = 0
        self.wake_in, self.wake_out = os.pipe()
        os.set_blocking(self.wake_in, False)
        self.poller.add(self.wake_in, IN)

    # requests

    def submit_line(self, line: bytes) -> None:
        """Take a request as it comes in; a malformed one is answered with ``error``."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._malformed(None, error)
            return
        self.submit(request)

    def submit(self, request: dict[str, Any]) -> None:
        """Take a request; a malformed one is answered with ``error``."""
        series = None
        try:
            if request["kind"] == "stop":
                self._stop(request)
                return
            series = Series(request)
            if series.id in self.series:
                raise ValueError(f"series {series.id} is under way")
            self.series[series.id] = series
            if self.timer.due == NEVER:
                self.timer.due = time.monotonic() + TICK
            if series.kind in ("flow", "transfer", "ready"):
                self._work(series)
            elif series.kind == "file":
                self._file(series)
            elif series.kind in ("http", "tcp", "udp", "sctp", "dns"):
                self._address(series)
            else:
                self.waiting.append(series)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            if series is not None and self.series.get(series.id) is series:
                del self.series[series.id]
            self._malformed(request, error)

    def _malformed(self, request: Any, error: Exception) -> None:
        number = request.get("id") if isinstance(request, dict) else None
        line = json.dumps({"id": number, "error": f"{type(error).__name__}: {error}"}, default=str)
        self.write(line.encode() + b"\n")

    def _stop(self, request: dict[str, Any]) -> None:
        """End a series as soon as what is under way has ended; one that is over already is not there any more."""
        series = self.series.get(request["series"])
        if series is None:
            return
        if "pods" in request:
            latest = time.monotonic() + between(0, request["within"], LONG)
            series.until = (frozenset(request["pods"]), int(between(1, request["times"], LONG)), latest)
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
            between(12, len(message), 65000)
            tcp = series.request.get("transport") == "tcp"
            series.payload = struct.pack("!H", len(message)) + message if tcp else message
        elif series.kind == "http":
            named = f"[{host}]" if ":" in host else host
            path = series.request.get("path", "/who")
            series.payload = (
                f"GET {path} HTTP/1.1\r\nHost: {named}:{series.port}\r\nUser-Agent: kubereach\r\n\r\n"
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
        if self.next_check != NEVER:
            pause = (
                min(pause, max(0.0, self.next_check - now)) if pause >= 0 else max(0.0, self.next_check - now)
            )
        timer = self.timer
        if timer.due != NEVER and not 0 <= pause < TICK:
            pause = TICK
        found = self.poller.wait(pause)
        now = time.monotonic()
        if now >= timer.due:
            self._tick(now)
        elif timer.due != NEVER:
            timer.due = now + TICK
        for fd, events in found:
            attempt = self.attempts.get(fd)
            if attempt is not None:
                self._look(attempt, events)
            elif fd == self.wake_in:
                os.read(fd, 4096)
                while self.results:
                    self._threaded(*self.results.popleft())
            else:
                self.readable(fd)
        if now >= self.next_check:
            self._overdue()

    def _tick(self, now: float) -> None:
        """The timer is up: all series that are under way may have been late by as much."""
        late = self.timer.late(now)
        for series in self.series.values():
            if late > series.late:
                series.late = late
        self.timer.due = now + TICK if self.series else NEVER

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
            attempt.token = attempt.token.ljust(series.size, b".")
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
        except Exception:
            # an answer that nobody has thought of: whatever it is, none of ours
            if self.attempts.get(attempt.fd) is attempt:
                self._done(attempt, attempt.series.not_ours(attempt.data))

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
            if not LINUX:
                attempt.slow = time.monotonic() - attempt.begun > SLOW_CONNECT
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
        elif series.kind == "udp":
            self._identity(attempt, data)
        elif data:
            attempt.data += data
            if data.endswith(b"\n") or not is_beginning(attempt.data):
                self._identity(attempt, attempt.data)
        else:
            self._closed(attempt)

    def _closed(self, attempt: Attempt) -> None:
        """The other side has ended a connection before its answer was whole."""
        size = len(attempt.data)
        reason = f"closed after {size} bytes of an answer" if size else "closed without an answer"
        self._done(attempt, empty_row("protocol", "", reason))

    def _http(self, attempt: Attempt, data: bytes) -> None:
        series = attempt.series
        attempt.data = whole = attempt.data + data if attempt.data else data
        head, separator, body = whole.partition(b"\r\n\r\n")
        if not whole.startswith(b"HTTP/1.") and whole != b"HTTP/1."[: len(whole)]:
            self._done(attempt, series.not_ours(whole))
        elif len(head) > HEAD:
            self._foreign_http(attempt, head)
        elif separator and series.request.get("status"):
            words = head.split(b"\r\n", 1)[0].split(b" ")
            self._done(attempt, empty_row("ok", "", shown(words[1]) if len(words) > 1 else ""))
        elif separator:
            size = size_in(head)
            if 0 <= size <= len(body):
                self._http_whole(attempt, head, body[:size])
            elif not data or not 0 <= size <= HEAD:
                self._foreign_http(attempt, head)
        elif not data:
            self._closed(attempt)

    def _http_whole(self, attempt: Attempt, head: bytes, body: bytes) -> None:
        if attempt.series.request.get("text"):
            row = empty_row("protocol", "", shown(head.split(b"\r\n", 1)[0]))
            if head.startswith(b"HTTP/1.1 200 "):
                row = empty_row("ok", "", body[:4096].decode("utf-8", "replace"))
            self._done(attempt, row)
        elif head.startswith(b"HTTP/1.1 200 "):
            self._identity(attempt, body)
        else:
            self._foreign_http(attempt, head, body)

    def _foreign_http(self, attempt: Attempt, head: bytes, body: bytes = b"") -> None:
        """An HTTP answer that is no backend's, or with a status that says that it does not do what it was asked for."""
        nonce = attempt.series.nonce
        try:
            ours = not nonce or who_in(body)["nonce"] == nonce
        except ValueError:
            ours = False
        first, *headers = head.split(b"\r\n")
        servers = [header for header in headers if header[:7].lower() == b"server:"]
        detail = ", ".join(map(shown, (first, *servers[:1])))
        self._done(attempt, empty_row("protocol" if ours else "foreign", "", detail))

    def _identity(self, attempt: Attempt, body: bytes) -> None:
        """Read who answered."""
        series = attempt.series
        sock = attempt.sock
        assert sock is not None
        try:
            who = who_in(body)
        except ValueError:
            self._done(attempt, series.not_ours(body))
            return
        if "late" in who:
            series.backend_late = max(series.backend_late, backend_lateness(who))
        row = (who["pod"], who["node"], who["nonce"], who["client"], sock.getsockname()[0], who["port"], "")
        if series.nonce and who["nonce"] != series.nonce:
            self._done(attempt, ("foreign", *row))
            return
        if series.kind != "http" and who.get("echo", "").encode("utf-8", "replace") != attempt.token:
            if series.kind in ("tcp", "sctp"):
                self._done(attempt, empty_row("protocol", "", "answered to another question"))
            # a late or duplicated datagram is not ours: the real answer may still come
            return
        self._done(attempt, ("ok", *row))

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
        soonest = NEVER
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
                counted = tcp_info(sock, TOTAL_RETRANS)
                if counted is None:  # by how long it took to connect, then
                    counted, series.timed = int(attempt.slow), True
                retransmits = counted
            if attempt.fd >= 0:
                self.attempts.pop(attempt.fd, None)
                self.poller.forget(attempt.fd)
            sock.close()
        self.threaded.discard(attempt)
        self.under_way -= 1
        series.under_way -= 1
        if (retransmits or row[0] not in series.wanted) and (late := self.timer.since(attempt.begun)):
            series.lapses.append((len(series.of), round(late, 3)))
        series.record(row, now - attempt.begun, retransmits, attempt.begun)
        if series.over():
            self._finish(series)

    def _finish(self, series: Series) -> None:
        self.series.pop(series.id, None)
        self.write(series.answer(self.timer.p99() if series.late > LATE else 0.0))

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
                prober.submit_line(line)

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

    Who it is comes from the environment: POD_NAME, NODE_NAME, NONCE; and what whoever changes it has to know: SECRET.
    """
    server = Server(
        os.environ.get("POD_NAME") or socket.gethostname(),
        os.environ.get("NODE_NAME", ""),
        os.environ.get("NONCE", ""),
        ready="--not-ready" not in arguments,
        secret=os.environ.get("SECRET", ""),
        limit=max(16, min(CONNECTIONS, descriptors() - 64)),
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


def descriptors() -> int:
    """The files and sockets that this process may have open, as many as it may take for itself."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS
    if 0 <= soft < wanted:
        most = wanted if hard < 0 else min(hard, wanted)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            return soft  # a sandbox that does not let us
        return most
    return soft if soft >= 0 else wanted


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
