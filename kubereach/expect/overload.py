"""Load is not loss: what an overloaded machine could not do in time is no verdict on the network.

Each prober, and each backend, measures how late its own timers fire. Where they were so late that the machine itself
explains a miss, the miss counts neither as the network's nor as nobody's: it could not be measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kubereach.model.convergence import origin
from kubereach.model.errors import CannotMeasure
from kubereach.model.misses import ANSWERED, FLOW, LOST, NO_REFUSAL
from kubereach.model.outcome import OK, TIMEOUT

if TYPE_CHECKING:
    from kubereach.model.lateness import Late
    from kubereach.probe.path import Path

#: seconds after which Linux sends a packet again that is not acknowledged (RFC 6298; TCP_RTO_MIN is 200 ms)
RETRANSMISSION = 0.2
#: what is not a question of one answer is judged at the end of a deadline: a machine that is late by this share of it
#: may not have done in time what it had to
SHARE = 0.1
#: what is much work has not stalled if its machine was late by this share of the time that it may go without progress
_TURNS = 0.25
#: kinds of probes whose answers come from somebody else than backends of ours
_REPORT_NO_LATENESS = frozenset({"dns", "resolve", "tls"})
#: misses that an answer which comes too late looks like
_LATE_ANSWERS = frozenset({LOST, NO_REFUSAL, FLOW})


def overloaded(path: Path, miss: str = "", since: float = 0.0) -> str:
    """How late the machine was, in words, if that may explain what a path has missed; else empty.

    `miss` is what it has missed, without one what its failures say, each of which has to be explained; `since` the
    time.monotonic() from which on lateness counts, without one from the beginning of the expectation. What the path's
    own vantage and backends tell comes first. Silence, and a change that is not followed, may be for somebody's being
    late who tells nothing: a DNS replica, a controller, a backend that was not heard. For them speaks the latest of
    all vantages.
    """
    moment, lateness = max(since, path.began), path.vantage.context.lateness
    missed = {miss} if miss else {failure.miss for failure in path.failures}
    own = path.vantage.name, lateness.since(path.vantage.name, moment)
    for (name, late), explains in ((own, _explains), (lateness.worst_since(moment), _explains_silence)):
        if late.longest and all(explains(path, one, late) for one in missed):
            return _words(name, late)
    return ""


def _words(name: str, late: Late) -> str:
    who = name if late.prober >= late.backends else f"a backend that answered {name}"
    return f"timers of {who} fired up to {late.longest:.2f} s late"


def _explains(path: Path, miss: str, late: Late) -> bool:
    """Whether so late a machine may have missed what a path has missed: each miss of its own, not any of them."""
    result = path.result
    missed = [probe for probe in result.probes if probe.answer.outcome != OK or probe.retransmits]
    # where no answer was missed it was one that is wrong, or that should not have come: that is nobody's being late
    if miss not in _LATE_ANSWERS or path.astray or not missed or result.outcomes.keys() - {OK, TIMEOUT}:
        return late.longest >= SHARE * path.vantage.context.settings.converge_deadline
    timeout = _timeout(path)
    # a path that gives no answer at all is not only slow
    silent = timeout / 2 if result.outcomes[OK] else timeout
    for probe in missed:
        # a ping of a flow, and a piece of a transfer, do not say when their machine was late
        own = late.prober if miss == FLOW or _progress(path) else probe.late
        if max(own, late.backends) < (RETRANSMISSION if probe.answer.outcome == OK else silent):
            return False
    return True


def _explains_silence(path: Path, miss: str, late: Late) -> bool:
    """Whether a machine that reports no lateness may have been late, if another machine of the run was as late.

    That is a server that is no backend of ours, and whoever leads to a change's being followed. An answer that must
    not come is nobody's being late, and a change that is not open any more needs nobody.
    """
    outcomes = path.result.outcomes
    if path.astray or miss == ANSWERED or outcomes.keys() - {OK, TIMEOUT}:
        return False
    lost = outcomes[TIMEOUT] > 0
    if path.address.kind in _REPORT_NO_LATENESS and miss in _LATE_ANSWERS and lost:
        return late.longest >= _timeout(path)
    if outcomes[OK] and lost:  # backends that have answered have told
        return False
    change, _ = origin(path.address.settled, path.began)
    deadline = path.vantage.context.settings.converge_deadline
    return bool(change and path.attempts) and path.converged < 0 and late.longest >= SHARE * deadline


def _progress(path: Path) -> float:
    """Seconds that much work, as a transfer or a burst of connections, may go without progress; else 0."""
    settings = path.vantage.context.settings
    if path.series is not None and path.series.kind == "transfer":
        return settings.stall_timeout
    if path.series is not None and path.series.burst:
        return settings.burst_timeout
    return 0.0


def _timeout(path: Path) -> float:
    """Seconds by which a machine must have been late to have missed an answer of this path.

    What is much work takes many turns of the processor: each of them may be late.
    """
    if progress := _progress(path):
        return _TURNS * progress
    settings = path.vantage.context.settings
    by_kind = {"udp": settings.udp_timeout, "dns": settings.dns_timeout, "resolve": settings.dns_timeout}
    return by_kind.get(path.address.kind, settings.connect_timeout)


def not_measured(path: Path, why: str) -> CannotMeasure:
    """The error of a path that an overloaded machine could not measure."""
    failure = path.failures[0]
    here = f"load average of this machine {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors"
    return CannotMeasure(
        f"{failure.vantage} -> {failure.address}: expected {failure.expected}, got {failure.got}, but {why} ({here})",
        "The node was too loaded to distinguish a slow answer from a lost one: run it again with less load.",
    )
