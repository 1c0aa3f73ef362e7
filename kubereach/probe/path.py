"""One vantage and one address, and what was seen between them: what expectations judge and diagnoses explain."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kubereach.model.address import Address
from kubereach.model.errors import Failure, KubereachError
from kubereach.model.misses import LOST
from kubereach.model.outcome import Answer, SeriesResult
from kubereach.probe.series import Series
from kubereach.probe.vantage import Vantage

_NOTHING = SeriesResult((), 0.0)


@dataclass
class Flap:
    """What a path missed after it had converged, before it had settled."""

    #: in words: ``3 time-out, 20 ok``
    got: str
    #: time.monotonic() when the series began that missed it first, and when the last such series ended
    began: float
    ended: float

    def __str__(self) -> str:
        return f"{self.got} before it settled (for {self.ended - self.began:.2f} s), then none lost"


@dataclass
class Path:
    """One vantage and one address, and what has been seen between them."""

    vantage: Vantage
    address: Address
    result: SeriesResult = _NOTHING
    #: seconds until the first expected outcome; negative: never
    converged: float = -1.0
    #: the change that this was measured from, see `kubereach.model.convergence`
    change: str = ""
    #: series that were tried until one was as expected
    attempts: int = 0
    #: time.monotonic() when the expectation began
    began: float = field(default_factory=time.monotonic)
    #: probes that it takes to conform; a miss needs only itself
    least: int = 1
    failures: list[Failure] = field(default_factory=list)
    #: what was asked, where it is not what `series_for` gives
    series: Series | None = None
    #: what the report tells of it, if it conforms
    note: str = ""
    #: what it missed after it had converged, before it had settled
    flap: Flap | None = None
    #: whether an answer came that must not come, which no machine that is late explains
    astray: bool = False
    #: why it could not be measured, or not to its end; what was wrong with it all the same is in `failures`
    unmeasured: KubereachError | None = None
    #: of a DNS question: whether an answer is right; of a name: the addresses that it must have
    judged: Callable[[Answer], bool] | None = None
    wanted: frozenset[str] | None = None

    def fail(self, expected: str, got: str, *evidence: str, miss: str = LOST) -> None:
        self.failures.append(Failure(self.vantage.name, str(self.address), expected, got, evidence, miss))

    @property
    def miss(self) -> str:
        """Which of `kubereach.model.misses`, of the first failure; empty without one."""
        return self.failures[0].miss if self.failures else ""
