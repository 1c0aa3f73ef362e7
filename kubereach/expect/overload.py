"""Load is not loss: what an overloaded machine could not do in time is no verdict on the network.

Each prober, and each backend, measures how late its own timers fire. Where they were so late that the machine itself
explains a miss, the miss counts neither as the network's nor as nobody's: it could not be measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kubereach.model.errors import CannotMeasure
from kubereach.model.misses import FLOW, LOST, NO_REFUSAL
from kubereach.model.outcome import OK, TIMEOUT

if TYPE_CHECKING:
    from kubereach.model.lateness import Late
    from kubereach.probe.path import Path

#: seconds after which Linux sends a packet again that is not acknowledged (RFC 6298; TCP_RTO_MIN is 200 ms)
RETRANSMISSION = 0.2
#: what is not a question of one answer is judged at the end of a deadline: a machine that is late by this share of it
#: may not have done in time what it had to
SHARE = 0.1
#: misses that an answer which comes too late looks like
_LATE_ANSWERS = frozenset({LOST, NO_REFUSAL, FLOW})


def overloaded(path: Path, miss: str = "", since: float = 0.0) -> str:
    """How late the machine was, in words, if that may explain what a path has missed; else empty.

    `miss` is what it has missed, without one what its failures say, each of which has to be explained; `since` the
    time.monotonic() from which on lateness counts, without one from the beginning of the expectation.
    """
    late = path.vantage.context.lateness.since(path.vantage.name, max(since, path.began))
    missed = {miss} if miss else {failure.miss for failure in path.failures}
    if not late.longest or not all(_explains(path, one, late) for one in missed):
        return ""
    who = (
        path.vantage.name if late.prober >= late.backends else f"a backend that answered {path.vantage.name}"
    )
    return f"timers of {who} fired up to {late.longest:.2f} s late"


def _explains(path: Path, miss: str, late: Late) -> bool:
    """Whether so late a machine may have missed what a path has missed: each miss of its own, not any of them."""
    settings, result = path.vantage.context.settings, path.result
    missed = [probe for probe in result.probes if probe.answer.outcome != OK or probe.retransmits]
    # where no answer was missed it was one that is wrong, or that should not have come: that is nobody's being late
    if miss not in _LATE_ANSWERS or path.astray or not missed or result.outcomes.keys() - {OK, TIMEOUT}:
        return late.longest >= SHARE * settings.converge_deadline
    timeout = settings.udp_timeout if path.address.kind == "udp" else settings.connect_timeout
    # a path that gives no answer at all is not only slow
    silent = timeout / 2 if result.outcomes[OK] else timeout
    for probe in missed:
        # a ping of a flow does not say when its machine was late
        own = late.prober if miss == FLOW else probe.late
        if max(own, late.backends) < (RETRANSMISSION if probe.answer.outcome == OK else silent):
            return False
    return True


def not_measured(path: Path, why: str) -> CannotMeasure:
    """The error of a path that an overloaded machine could not measure."""
    failure = path.failures[0]
    here = f"load average here {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors"
    return CannotMeasure(
        f"{failure.vantage} -> {failure.address}: expected {failure.expected}, got {failure.got}, but {why} ({here})",
        "The machine had too much to do to tell a slow answer from a lost one: run it again when there is less to do.",
    )
