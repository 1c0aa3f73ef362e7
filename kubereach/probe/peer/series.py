"""A request for a series of probes, what its answer will be, and each probe that is under way."""

from __future__ import annotations

import json
import socket
import struct
import time

from .protocol import KINDS, LATE, LONG, TRANSFER, between

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .outcomes import Row

#: what requests of a kind must have, as texts; those of others have a host
NEEDED = {"file": ("path",), "ready": (), "dns": ("host", "message"), "tls": ("host", "ca")}


class Series:
    """A request under way. Raises KeyError, TypeError or ValueError for one that is none."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.id = request["id"]
        self.kind = request["kind"]
        self.request = request
        if type(self.id) is not int or self.kind not in KINDS:
            raise ValueError(f"unknown kind: {self.kind}")
        for name in NEEDED.get(self.kind, ("host",)):
            if type(request[name]) is not str:
                raise TypeError(f"{name} is not a string")
        #: whether its probes are single datagrams
        self.datagrams = self.kind == "udp" or (self.kind == "dns" and request.get("transport") != "tcp")
        self.count = int(between(1, request.get("count", 1), 1 << 30))
        self.limit = int(between(1, request.get("in_flight", 4), 4096))
        self.spacing = float(between(0, request.get("spacing", 0), LONG))
        self.timeout = float(between(0, request.get("timeout", 2), LONG))
        self.stall = float(between(0, request.get("stall", 4), LONG))
        self.size = int(between(0, request.get("size", 0), TRANSFER if self.kind == "transfer" else 65000))
        self.tos = int(between(0, request.get("tos", 0), 255))
        self.half_close = bool(request.get("half_close"))
        self.pods = int(between(1, request.get("pods", 1), 1 << 16))
        self.wanted = frozenset(request.get("wanted", ("ok",)))
        self.stop_after = int(between(0, request.get("stop_after", 0), 1 << 30))
        self.strict = bool(request.get("retransmits"))
        self.patient = bool(request.get("patient"))
        self.nonce = str(request.get("nonce") or "")
        self.port = int(between(0, request.get("port", 0), 65535))
        self.to: list[tuple[int, tuple[Any, ...]]] = []  # (address family, socket address), in turn
        #: what a probe of dns or http asks
        self.payload = b""
        #: of dns: what it asks besides, from the same socket
        self.beside = b""
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
        self.row_of: dict[Row, int] = {}
        self.of: list[int] = []
        self.ms: list[float] = []
        self.retransmits: list[int] = []
        self.ports: list[int] = []
        #: index of each probe that was met twice
        self.duplicates: list[int] = []
        #: whether those are taken from how long connections took to be made
        self.timed = False
        #: seconds by which a timer of ours, and of a backend, was late at most
        self.late = 0.0
        self.backend_late = 0.0
        #: index of each miss during which a timer of ours was late, with the seconds
        self.lapses: list[tuple[int, float]] = []

    def full(self) -> bool:
        """Whether no further probe may start now.

        After a miss no more are under way than may still miss: what times out shall not be tried one after the other.
        """
        if self.misses and self.stop_after and self.misses + self.under_way >= self.stop_after:
            return self.under_way > 0
        return self.under_way >= self.limit

    def over(self) -> bool:
        return self.under_way == 0 and (self.started >= self.count)

    def record(self, row: Row, seconds: float, retransmits: int, begun: float, port: int = 0) -> None:
        """Note a probe that began at `begun` (time.monotonic), took so many seconds and came from a local port."""
        index = self.row_of.get(row)
        if index is None:
            index = self.row_of[row] = len(self.rows)
            self.rows.append(list(row))
        self.of.append(index)
        self.ms.append(round(seconds * 1000, 3))
        self.retransmits.append(retransmits)
        self.ports.append(port)
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
        if self.misses:
            whole["ports"] = self.ports
        if self.duplicates:
            whole["duplicates"] = self.duplicates
        if self.lapses:
            whole["lapses"] = self.lapses
        return json.dumps(whole, separators=(",", ":")).encode() + b"\n"

    def prepare(self) -> bool:
        """Make what each probe asks, and find where they go to; false if a name has to be resolved first.

        Raises KeyError, TypeError or ValueError for a request that is none.
        """
        host = self.request["host"]
        if self.kind == "dns":
            import base64  # few series need it

            message = base64.b64decode(self.request["message"])
            between(12, len(message), 65000)
            tcp = self.request.get("transport") == "tcp"
            self.payload = struct.pack("!H", len(message)) + message if tcp else message
            self.beside = base64.b64decode(self.request.get("beside", ""))
            if self.beside and (tcp or len(self.beside) < 12 or self.beside[:2] == message[:2]):
                raise ValueError("a second question is one over UDP, with an id of its own")
        elif self.kind == "http":
            named = f"[{host}]" if ":" in host else host
            path = self.request.get("path", "/who")
            self.payload = (
                f"GET {path} HTTP/1.1\r\nHost: {named}:{self.port}\r\nUser-Agent: kubereach\r\n\r\n"
            ).encode()
        return self.address([host])

    def address(self, hosts: list[str]) -> bool:
        """Let the probes go to these addresses in turn; false if one of them is none."""
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.inet_pton(family, host)
            except OSError:
                return False
            self.to.append((family, (host, self.port)))
        return True


class Attempt:
    """One probe under way. `state` is 0 while it connects, 1 while it waits for the answer.

    It is -1 for the resolution of a series' name, which is no probe, unless it fails.
    """

    __slots__ = (
        "arrived", "begun", "data", "fd", "longer", "port", "series", "slow", "sock", "state", "token",
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
        #: its local port, where the prober chose it
        self.port = 0
        self.state = 0
        self.token = b""

    def deadline(self) -> float:
        """When its time is over (time.monotonic())."""
        return self.begun + self.series.timeout + self.longer
