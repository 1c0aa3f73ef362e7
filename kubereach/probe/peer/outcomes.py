"""The words for what became of a probe, and the row that says it in an answer.

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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: outcome, pod, node, nonce, client, local, port, detail
    Row = tuple[Any, ...]
    #: what a thread did: for each probe its row, its seconds, and when it began
    Rows = list[tuple[Row, float, float]]

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


def empty_row(outcome: str, local: str = "", detail: str = "") -> Row:
    return (outcome, "", "", "", "", local, 0, detail)


def shown(data: bytes) -> str:
    """The beginning of what somebody sent, for people: of one line, without control characters."""
    return repr(data[:60].decode("latin-1"))[1:-1]


def failed(error: Exception) -> Row:
    """The row of what the prober itself could not do."""
    return empty_row("local", "", f"{type(error).__name__}: {error}")
