"""How late timers have fired, by vantage: a machine that has too much to do loses time, and not packets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from kubereach.model.outcome import SeriesResult


@dataclass(frozen=True)
class Late:
    """Seconds by which a prober's own timers were late at most, and those of the backends that it has heard."""

    prober: float = 0.0
    backends: float = 0.0

    @property
    def longest(self) -> float:
        return max(self.prober, self.backends)


class Lateness:
    """What the series of a run's vantages have told, with the time at which each ended. Used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, list[tuple[float, Late]]] = {}

    def note(self, vantage: str, result: SeriesResult) -> None:
        """Keep what a series tells, if its timers were late at all."""
        if result.late or result.backend_late:
            entry = (time.monotonic(), Late(result.late, result.backend_late))
            with self._lock:
                self._entries.setdefault(vantage, []).append(entry)

    def worst_since(self, moment: float) -> tuple[str, Late]:
        """The vantage that told of the greatest lateness in a series that has ended since `moment`, and that lateness.

        Without any: "" and none.
        """
        with self._lock:
            names = list(self._entries)
        found = [(name, self.since(name, moment)) for name in names]
        return max(found, key=lambda one: one[1].longest, default=("", Late()))

    def since(self, vantage: str, moment: float) -> Late:
        """The greatest of all series of a vantage that have ended since `moment` (time.monotonic())."""
        with self._lock:
            found = [late for at, late in self._entries.get(vantage, ()) if at >= moment]
        return Late(
            max((f.prober for f in found), default=0.0), max((f.backends for f in found), default=0.0)
        )
