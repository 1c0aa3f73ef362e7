"""What a change gives to everything that leads to it: time to converge, and the moment to measure from."""

from __future__ import annotations

import time

#: the changes whose convergence is reported, each on its own
CREATED, CHANGED, DELETED = "service created", "service changed", "service deleted"
ENDPOINTS = "endpoints changed"


class ConvergenceDeadline(float):
    """A moment (time.monotonic) until which the data plane may take, with the change that it follows."""

    change: str
    since: float

    @classmethod
    def after(cls, change: str, seconds: float) -> ConvergenceDeadline:
        """So many seconds from now, when `change` has just been made."""
        now = time.monotonic()
        made = cls(now + seconds)
        made.change = change
        made.since = now
        return made

    def until(self, moment: float) -> ConvergenceDeadline:
        """The same change, which has until another moment."""
        made = ConvergenceDeadline(moment)
        made.change, made.since = self.change, self.since
        return made


def not_before(settled: float, moment: float) -> float:
    """`settled`, or `moment` if that is later: what has yet to follow a change still has to."""
    if settled >= moment:
        return settled
    return settled.until(moment) if isinstance(settled, ConvergenceDeadline) else moment


def origin(settled: float, begun: float) -> tuple[str, float]:
    """(change, moment to measure convergence from) of a path that is tried first at `begun`; "" if none is open."""
    if isinstance(settled, ConvergenceDeadline) and settled > begun:
        return settled.change, settled.since
    return "", begun
