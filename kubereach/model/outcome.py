"""Outcomes: what came of a probe, and what came of a series of probes.

The words are those of `kubereach.probe.peer.outcomes`. A *miss* is whatever the series was not to give; `local`
outcomes are failures to measure and never enter a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kubereach.model.errors import KubereachError

#: seconds to connect above which a SYN was sent again, where the kernel does not count retransmissions: the first one
#: comes after a second (RFC 6298, 2.1). The peer measures it, with a constant of its own of the same value.
SLOW_CONNECT = 0.9

OK = "ok"
REFUSED = "refused"
RESET = "reset"
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"
NXDOMAIN = "nxdomain"
NODATA = "nodata"
SERVFAIL = "servfail"
TLS = "tls"
PROTOCOL = "protocol"
#: EPERM from the vantage's own kernel: UDP from a node's process to an address that the node's rules reject or drop
DENIED = "denied"
#: an answer, but not from a backend of this run
FOREIGN = "foreign"
#: the vantage could not even try: no file descriptor, no local port
LOCAL = "local"

#: somebody answered, or at least took the connection
ANSWERED = frozenset({OK, RESET, PROTOCOL, TLS, FOREIGN})
#: nobody answered: each of these conforms where an address only must not be served
UNANSWERED = frozenset({REFUSED, TIMEOUT, UNREACHABLE, DENIED})

#: what a check expects, as in "expected refused or timeout"
WORDS = {
    OK: "an answer",
    REFUSED: "refused",
    RESET: "reset",
    TIMEOUT: "timeout",
    UNREACHABLE: "unreachable",
    NXDOMAIN: "NXDOMAIN",
    NODATA: "NODATA",
    SERVFAIL: "SERVFAIL",
    TLS: "TLS error",
    PROTOCOL: "protocol error",
    DENIED: "EPERM",
    FOREIGN: "foreign answer",
    LOCAL: "not sent",
}
#: what came of probes, as in "3 of 4 probes timed out"
PARTICIPLES = {
    OK: "answered",
    REFUSED: "refused",
    RESET: "reset",
    TIMEOUT: "timed out",
    UNREACHABLE: "unreachable",
    NXDOMAIN: "NXDOMAIN",
    NODATA: "NODATA (no records)",
    SERVFAIL: "SERVFAIL",
    TLS: "failed in the TLS handshake",
    PROTOCOL: "answered with a protocol error",
    DENIED: "denied by the node's own rules (EPERM)",
    FOREIGN: "answered by a foreign server",
    LOCAL: "not sent",
}


#: probes that were lost, and that were not, whose source ports may tell of a part of the range that is lost
_TELLING = 3


@dataclass(frozen=True)
class Answer:
    """What a probe met. Strings are empty where there was nothing to know."""

    outcome: str
    #: name of the pod that answered, its node and the nonce that it gave
    pod: str = ""
    node: str = ""
    nonce: str = ""
    #: the client's address as the backend saw it
    client: str = ""
    #: the local address of the probe's socket
    local: str = ""
    #: the port that was hit at the backend
    port: int = 0
    #: DNS message (base64), addresses, text of a file, or the reason in words
    detail: str = ""

    @property
    def at_connect(self) -> str:
        """The name of the error that connect() itself gave, before there was any packet: EHOSTUNREACH; else empty."""
        before, marker, reason = self.detail.partition("connect() gave ")
        return reason.partition(":")[0] if marker and not before else ""


@dataclass(frozen=True)
class Probe:
    """One attempt: its answer, latency in seconds, and the retransmissions of its TCP connection.

    `at` is when it began, in seconds since the series did, where that was asked for. `port` is its local port in a
    series that has missed something, 0 where that is not known. `late`: of a miss, the seconds by which a timer of the
    prober fired late while it was under way. `twice`: its datagram was answered twice, or the other side got a segment
    twice that its connection had not sent again.
    """

    answer: Answer
    seconds: float
    retransmits: int = 0
    at: float = 0.0
    late: float = 0.0
    port: int = 0
    twice: bool = False


@dataclass(frozen=True)
class Answered:
    """What one endpoint has answered in a series: seconds of each probe, and how many of them were met twice."""

    pod: str
    node: str
    latencies: tuple[float, ...]
    duplicates: int = 0


@dataclass(frozen=True)
class SeriesResult:
    """The probes of one series, in the order in which they ended; `seconds` is how long the whole series took."""

    probes: tuple[Probe, ...]
    seconds: float
    #: whether retransmissions are taken from how long connections took to be made: that kernel does not count them
    timed: bool = False
    #: seconds by which a timer of the prober fired late at most while the series ran, and those that one tick of a
    #: hundred exceeded in its last minute: its machine was overloaded, or stood still. 0: not more than `protocol.LATE`
    late: float = 0.0
    late_p99: float = 0.0
    #: the same of the backends, the latest of them; 0: none was later than `protocol.REPORT_LATE`
    backend_late: float = 0.0
    #: what kept it from being told; then its only probe is one that could not be made
    error: KubereachError | None = field(default=None, compare=False)

    @classmethod
    def lost(cls, error: KubereachError) -> SeriesResult:
        """The result of a series of which nothing is known: it is like no other, and conforms to nothing."""
        return cls((Probe(Answer(LOCAL, detail=error.message), 0.0),), 0.0, error=error)

    @classmethod
    def from_peer(cls, message: Mapping[str, object]) -> SeriesResult:
        """Read a peer's answer. Raises KeyError, TypeError or ValueError when it is not one."""
        rows, of, ms = message["rows"], message["of"], message["ms"]
        again, at, ports = message["retransmits"], message.get("at") or [], message.get("ports") or []
        if not (
            isinstance(rows, list)
            and isinstance(of, list)
            and isinstance(ms, list)
            and isinstance(again, list)
            and isinstance(at, list)
            and isinstance(ports, list)
        ):
            raise TypeError("not a series' answer")
        answers = [Answer(*row) for row in rows]
        twice = frozenset(message.get("duplicates") or ())  # type: ignore[call-overload]
        lapses = {int(index): float(seconds) for index, seconds in message.get("lapses") or ()}  # type: ignore[attr-defined]
        probes = tuple(
            Probe(
                answers[row],
                milliseconds / 1000.0,
                again[index] if again else 0,
                at[index] if at else 0.0,
                lapses.get(index, 0.0),
                ports[index] if ports else 0,
                index in twice,
            )
            for index, (row, milliseconds) in enumerate(zip(of, ms, strict=True))
        )
        late, p99, backend = (
            float(str(message.get(name, 0.0))) for name in ("late", "late_p99", "backend_late")
        )
        return cls(probes, float(str(message["seconds"])), bool(message.get("timed")), late, p99, backend)

    @cached_property
    def outcomes(self) -> Counter[str]:
        """How many probes had which outcome."""
        return Counter(probe.answer.outcome for probe in self.probes)

    @cached_property
    def backends(self) -> Counter[str]:
        """How many probes each pod answered."""
        return Counter(probe.answer.pod for probe in self.probes if probe.answer.outcome == OK)

    @property
    def duplicates(self) -> int:
        """How many probes were met twice."""
        return sum(probe.twice for probe in self.probes)

    @property
    def answered(self) -> tuple[Answered, ...]:
        """By endpoint, those that are known."""
        found: dict[tuple[str, str], list[Probe]] = {}
        for probe in self.probes:
            if probe.answer.outcome == OK and probe.answer.pod:
                found.setdefault((probe.answer.pod, probe.answer.node), []).append(probe)
        return tuple(
            Answered(pod, node, tuple(p.seconds for p in probes), sum(p.twice for p in probes))
            for (pod, node), probes in found.items()
        )

    @property
    def lost_ports(self) -> str:
        """In words, between which source ports all lost probes lie, and no other ones; empty where it is not so."""
        lost = sorted(p.port for p in self.probes if p.port and (p.answer.outcome != OK or p.retransmits))
        kept = sorted(p.port for p in self.probes if p.port and p.answer.outcome == OK and not p.retransmits)
        if min(len(lost), len(kept)) < _TELLING or not (lost[-1] < kept[0] or kept[-1] < lost[0]):
            return ""
        return (
            f"all {len(lost)} lost probes had source ports of {lost[0]} to {lost[-1]}, the {len(kept)} answered ones "
            f"of {kept[0]} to {kept[-1]}"
        )

    @property
    def latencies(self) -> tuple[float, ...]:
        """Seconds of the probes that were answered."""
        return tuple(probe.seconds for probe in self.probes if probe.answer.outcome == OK)

    def __add__(self, other: SeriesResult) -> SeriesResult:
        return SeriesResult(
            self.probes + other.probes,
            self.seconds + other.seconds,
            self.timed or other.timed,
            max(self.late, other.late),
            max(self.late_p99, other.late_p99),
            max(self.backend_late, other.backend_late),
        )

    @property
    def how_counted(self) -> str:
        """In words, who has counted the retransmissions."""
        if self.timed:
            return f"this kernel does not count them; connecting took more than {SLOW_CONNECT} s"
        return "counted by the kernel"


def ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Most frequent first, equals by name: what is the same reads the same in every report."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def in_words(outcomes: Mapping[str, int]) -> str:
    """``12 answered, 3 timed out``: most frequent first; a single probe without its count."""
    if sum(outcomes.values()) == 1:
        return next(PARTICIPLES.get(word, word) for word, count in outcomes.items() if count)
    return ", ".join(f"{count} {PARTICIPLES.get(word, word)}" for word, count in ranked(outcomes) if count)


def probes_in_words(outcomes: Mapping[str, int]) -> str:
    """``4 of 4 probes timed out``, ``20 of 24 probes answered, 4 timed out``; ``no probes`` without any."""
    whole = sum(outcomes.values())
    if not whole:
        return "no probes"
    parts = [f"{count} {PARTICIPLES.get(word, word)}" for word, count in ranked(outcomes) if count]
    number, _, rest = parts[0].partition(" ")
    parts[0] = f"{number} of {whole} {'probe' if whole == 1 else 'probes'} {rest}"
    return ", ".join(parts)


def any_of(words: Sequence[str] | frozenset[str]) -> str:
    """``refused or timeout``: the conforming outcomes of a negative, in words."""
    return " or ".join(WORDS.get(word, word) for word in sorted(words))
