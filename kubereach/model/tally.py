"""How much a check has judged. A check that judged nothing has not passed, whatever it did not raise."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field

from kubereach.model.errors import CannotMeasure


@dataclass
class Tally:
    """Of one check; any thread that works for the check may add to it."""

    #: probes, files and facts of API objects that were compared with what was expected
    judged: int = 0
    #: how many of them the check's expectations need to mean anything
    minimum: int = 0
    #: why the check may not go on, once the run has gone on without it
    abandoned: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin_anew(self) -> None:
        """Nothing has been judged yet: what was is measured once more."""
        with self._lock:
            self.judged = self.minimum = 0

    def add(self, number: int, minimum: int) -> None:
        with self._lock:
            self.judged += number
            self.minimum += minimum


#: of the check that is running; None outside of checks
current_tally: ContextVar[Tally | None] = ContextVar("current_tally", default=None)


def judged(number: int = 1, minimum: int = 1) -> None:
    """Count `number` facts that the running check has just compared, of which it needs `minimum`."""
    tally = current_tally.get()
    if tally is not None:
        tally.add(number, minimum)


def must_go_on() -> None:
    """Raise `CannotMeasure` if the run has given the running check up: it is to change and probe nothing more."""
    tally = current_tally.get()
    if tally is not None and tally.abandoned:
        raise CannotMeasure(tally.abandoned)
