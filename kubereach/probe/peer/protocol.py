"""What a prober is asked for and what it answers, a JSON line each; and the numbers that both ends go by.

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
    dns: message (base64), transport (udp, tcp); beside: a second message (base64, with another id), sent right after
        the first from the same UDP socket; the probe is ok when both have been answered, whatever they say, and its
        detail is both answers, in the order of the questions, with a space between. Of one that timed out the detail is
        FIRST_LOST or SECOND_LOST where that answer alone is missing
    resolve: host, family (4, 6, 0); tls: ca (PEM), server_name; file: path
    http: path (/who); status: true: who answers does not matter, ``detail`` is the status
    udp, tcp: size (bytes of the question, padded); tcp: half_close: the client ends its side before it is answered
    tos         the byte of IPv4's type of service and IPv6's traffic class: DSCP, and for datagrams ECN (0)
    flow        one connection, or datagrams from one port (transport: tcp, udp), with a ping every `spacing` seconds:
                each is a probe. `stop` makes one last ping. A connection that breaks ends it
    transfer    `size` bytes up and then down over HTTP, compared by their digest; `stall`: seconds without progress;
                `pods`: so many different ones are each given a transfer, over `count` connections at most (1)
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
    ports         the local port of each probe, where there are misses; 0: the kernel's choice
    lapses        [[index, seconds]] of misses: the greatest of those of the prober while that probe was under way
    duplicates    the index of each probe that was met twice: a datagram of udp with a second answer, where that came
                  soon enough; with `retransmits` a connection of which the other side got a segment twice that was
                  sent once (tcpi_dsack_dups, Linux 4.19)
    backend_late  the greatest lateness that a backend has told of, which it does when it is more than REPORT_LATE

The outcomes are those of `outcomes`.
"""

from __future__ import annotations

#: type checkers take it for true; typing's own costs milliseconds to import, and probers start often
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = frozenset(
    {"http", "tcp", "udp", "sctp", "dns", "resolve", "tls", "file", "flow", "transfer", "ready"}
)

#: a connection that took so many seconds to be made has lost its first SYN, which is sent again after one (RFC 6298)
SLOW_CONNECT = 0.9
#: bytes of a request or an answer that are kept while the rest has yet to come; nothing of ours is as large
HEAD = 16384
#: bytes that an upload or a download may have
TRANSFER = 1 << 30
#: seconds that are more than anything takes
LONG = 1e7
#: seconds after a time-out's moment at which it is judged, by a process that could run; more means that it could not
LATE = 0.05
#: seconds of lateness above which a backend tells of it
REPORT_LATE = 0.2
#: what the detail of a probe says whose series has a name without an address
NO_ADDRESS = "the name did not resolve"
#: what the detail of a probe of two questions says of which one answer is missing
FIRST_LOST, SECOND_LOST = "the first was not answered", "the second was not answered"
#: time-outs that a backend gets to answer in once a question is known to have come to it: our backends ask for so
#: little CPU that on a machine whose processors are all in use their turn may be seconds away
PATIENCE = 3


def between(least: float, value: Any, most: float) -> Any:
    """The value. Raises ValueError for a number out of bounds or NaN, TypeError for what is no number."""
    if not least <= value <= most:
        raise ValueError(f"{value} is not in the range {least} to {most}")
    return value
