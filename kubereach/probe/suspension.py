"""Was this machine suspended, or this process held up, while something was measured? Then nothing of it counts.

A laptop that sleeps in the middle of a run wakes up with every deadline over. On Linux `CLOCK_BOOTTIME` goes on while a
machine is suspended and `CLOCK_MONOTONIC` does not, and elsewhere the wall clock does. A process that was stopped, or a
virtual machine that was paused, is known by a thread that looks at the clock every second.
Source: https://man7.org/linux/man-pages/man2/clock_gettime.2.html
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from kubereach.model.errors import CannotMeasure

#: seconds of suspension that spoil a measurement, and of no turn for our own thread: twice what a busy machine shows
SUSPENDED, HELD_UP = 2.0, 5.0
#: seconds between two looks at the clock
_BEAT = 1.0


@dataclass(frozen=True)
class Interval:
    """When something began, by two clocks: one that stops while the machine is suspended, and one that does not."""

    running: float
    elapsed: float


def now() -> Interval:
    """This moment."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return Interval(time.monotonic(), time.time() if clock is None else time.clock_gettime(clock))


class Watch:
    """Looks at the clock every second from `start` to `stop`, and remembers when it could not."""

    def __init__(self) -> None:
        #: (monotonic time of its end, seconds) of each time without a turn
        self._gaps: list[tuple[float, float]] = []
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look. May be called again after `stop`."""
        self._stopped.clear()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="kubereach-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5)
            self._thread = None

    def _run(self) -> None:
        while not self._stopped.wait(_BEAT):
            self._look()

    def _look(self) -> None:
        with self._lock:
            at = time.monotonic()
            if at - self._last - _BEAT > HELD_UP:
                self._gaps.append((at, at - self._last))
            self._last = at

    def excuse(self, begun: Interval) -> str:
        """Why what was measured since `begun` cannot count: ``this machine was suspended for 61 s``; else empty."""
        if self._thread is not None:
            self._look()
        end = now()
        suspended = (end.elapsed - begun.elapsed) - (end.running - begun.running)
        if suspended > SUSPENDED:
            return f"this machine was suspended for {suspended:.0f} s"
        with self._lock:
            held_up = sum(seconds for at, seconds in self._gaps if at > begun.running)
        return f"kubereach was not scheduled for {held_up:.0f} s" if held_up else ""


#: of this process
WATCH = Watch()


def unless_suspended(error: BaseException, begun: Interval) -> BaseException:
    """What a check that began then has raised: a failure to conform while the machine slept is no measurement."""
    failed = isinstance(error, AssertionError | pytest.fail.Exception)
    if not failed or not (why := WATCH.excuse(begun)):
        return error
    excused = CannotMeasure(f"{why} during the measurement", "Run it again on a machine that stays awake.")
    excused.__cause__ = error
    return excused
