"""How late this process wakes up: what the machine did not let it run for is no fault of the network's."""

from __future__ import annotations

import threading
import time
from collections import deque

from .protocol import LATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: seconds for which a process sleeps at most while something is under way, so as to measure how late it wakes up
TICK = 0.05
#: lateness of so many ticks is remembered: a minute's, where nothing else wakes the process up
TICKS = 1200
NEVER = float("inf")
#: seconds for which a backend tells of its lateness
REPORT_FOR = 10.0
#: seconds after the last request for which a backend goes on to measure
QUIET = 1.0


class Timer:
    """A time-out of `TICK` seconds, set anew whenever this process wakes up while something is under way.

    How late it is noticed is how long this process did not run, though it was to: the machine had too much to do, or
    stood still, or a CPU limit was reached. Whatever else was due then was late too.
    """

    def __init__(self) -> None:
        #: when it is up (time.monotonic()); infinity while nothing is under way
        self.due = NEVER
        self._last: deque[float] = deque(maxlen=TICKS)
        #: when it was late, and by how many seconds
        self._lapses: deque[tuple[float, float]] = deque(maxlen=TICKS)

    def late(self, now: float) -> float:
        """Note that it is up; gives the seconds since it was."""
        late = now - self.due
        self._last.append(late)
        if late > LATE:
            self._lapses.append((now, late))
        return late

    def since(self, moment: float) -> float:
        """The greatest lateness since `moment` (time.monotonic()); 0 if it was never more than `LATE`."""
        return max((late for at, late in self._lapses if at >= moment), default=0.0)

    def p99(self) -> float:
        """The seconds of lateness that one of a hundred exceeds, of the last `TICKS`."""
        ordered = sorted(self._last)
        return ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0


class Watch:
    """Measures how late a backend wakes up, while there are requests, in a thread: no request takes longer for it.

    `report` is called with the greatest lateness of the last `REPORT_FOR` seconds whenever that changes.
    """

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report
        #: the wake-ups for requests so far
        self._woken = 0
        #: whether they are so few that nobody measures
        self.idle = False
        self._requests = threading.Event()
        #: the greatest lateness of late, and when that was
        self._late, self._late_at = 0.0, 0.0

    def start(self) -> None:
        threading.Thread(target=self._measure, daemon=True).start()

    def woken(self) -> None:
        """There was something to do."""
        self._woken += 1
        if self.idle:
            self._requests.set()

    def _measure(self) -> None:
        while True:
            self.idle = True
            self._requests.wait()
            self.idle = False
            self._requests.clear()
            woken = -1
            while woken != self._woken:
                woken = self._woken
                for _ in range(int(QUIET / TICK)):
                    due = time.monotonic() + TICK
                    time.sleep(TICK)
                    now = time.monotonic()
                    self.note(now - due, now)

    def note(self, late: float, now: float) -> None:
        """It was `late` seconds late at `now` (time.monotonic())."""
        if late >= self._late or now - self._late_at > REPORT_FOR:
            self._late, self._late_at = late, now
            self._report(late)
