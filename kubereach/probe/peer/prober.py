"""A prober: takes requests for series, starts their probes in turn, and answers when a series is over."""

from __future__ import annotations

import json
import threading
import time
from collections import deque

from .background import Background
from .lateness import NEVER, TICK, Timer
from .outcomes import empty_row, failed
from .probes import Probes
from .protocol import LATE, LONG, between
from .series import Series
from .sockets import Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .outcomes import Rows


class Prober:
    """Runs series; what it answers goes to `write` as whole JSON lines."""

    def __init__(self, write: Callable[[bytes], None], in_flight: int = 16) -> None:
        self.write = write
        self.limit = in_flight
        self.poller = Poller()
        self.background = Background(self.poller)
        self.timer = Timer()
        self.series: dict[int, Series] = {}
        #: those of which further probes may start, in turn
        self.waiting: deque[Series] = deque()
        self.probes = Probes(self.poller, self.background, self.timer, self._finish, self.waiting.append)

    # requests

    def submit_line(self, line: bytes) -> None:
        """Take a request as it comes in; a malformed one is answered with ``error``."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._malformed(None, error)
            return
        self.submit(request)

    def submit(self, request: dict[str, Any]) -> None:
        """Take a request; a malformed one is answered with ``error``."""
        series = None
        try:
            if request["kind"] == "stop":
                self._stop(request)
                return
            series = Series(request)
            if series.id in self.series:
                raise ValueError(f"series {series.id} is already running")
            self.series[series.id] = series
            if self.timer.due == NEVER:
                self.timer.due = time.monotonic() + TICK
            if series.kind in ("flow", "transfer", "ready"):
                self._work(series)
            elif series.kind == "file":
                self._file(series)
            elif series.kind in ("resolve", "tls") or series.prepare():
                self.waiting.append(series)
            else:
                self.probes.resolve(series)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            if series is not None and self.series.get(series.id) is series:
                del self.series[series.id]
            self._malformed(request, error)

    def _malformed(self, request: Any, error: Exception) -> None:
        number = request.get("id") if isinstance(request, dict) else None
        line = json.dumps({"id": number, "error": f"{type(error).__name__}: {error}"}, default=str)
        self.write(line.encode() + b"\n")

    def _stop(self, request: dict[str, Any]) -> None:
        """End a series as soon as what is under way has ended; one that is over already is not there any more."""
        series = self.series.get(request["series"])
        if series is None:
            return
        if "pods" in request:
            latest = time.monotonic() + between(0, request["within"], LONG)
            series.until = (frozenset(request["pods"]), int(between(1, request["times"], LONG)), latest)
            return
        if series.stopped is not None:
            series.stopped.set()
            return
        series.count = series.started
        if series.over():
            self._finish(series)

    def _file(self, series: Series) -> None:
        begun = time.monotonic()
        try:
            with open(series.request["path"], encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                row = empty_row("ok", "", file.read())
        except OSError as error:
            row = empty_row("protocol", "", str(error))
        series.started = series.count = 1
        series.record(row, time.monotonic() - begun, 0, begun)
        self._finish(series)

    # the loop

    def step(self) -> None:
        """Start what may start, then handle what is ready or overdue."""
        now = time.monotonic()
        pause = self._launch(now)
        probes = self.probes
        if probes.next_check != NEVER:
            check = max(0.0, probes.next_check - now)
            pause = min(pause, check) if pause >= 0 else check
        timer = self.timer
        if timer.due != NEVER and not 0 <= pause < TICK:
            pause = TICK
        found = self.poller.wait(pause)
        now = time.monotonic()
        if now >= timer.due:
            self._tick(now)
        elif timer.due != NEVER:
            timer.due = now + TICK
        for fd, events in found:
            attempt = probes.by_fd.get(fd)
            if attempt is not None:
                probes.go_on(attempt, events)
            elif fd == self.background.fd:
                self.background.called()
            else:
                self.readable(fd)
        if now >= probes.next_check:
            probes.overdue()

    def _tick(self, now: float) -> None:
        """The timer is up: all series that are under way may have been late by as much."""
        late = self.timer.late(now)
        for series in self.series.values():
            if late > series.late:
                series.late = late
        self.timer.due = now + TICK if self.series else NEVER

    def readable(self, fd: int) -> None:
        """Another descriptor of the poller has something: standard input, in `main`."""

    def _launch(self, now: float) -> float:
        """Start probes up to the limits, series in turn. Gives the seconds until the next may start, or -1."""
        pause = -1.0
        waiting = self.waiting
        idle = 0
        while waiting and idle < len(waiting):
            series = waiting[0]
            if series.started >= series.count:
                waiting.popleft()
                continue
            waiting.rotate(-1)
            if series.full() or (self.probes.count >= self.limit and not series.burst):
                idle += 1
            elif series.next_at > now:
                wait = series.next_at - now
                pause = wait if pause < 0 else min(pause, wait)
                idle += 1
            else:
                idle = 0
                if series.spacing:
                    series.next_at = max(series.next_at, now) + series.spacing
                self.probes.start(series)
        return pause

    def _work(self, series: Series) -> None:
        """A series that a thread does from beginning to end."""
        series.stopped = threading.Event()
        series.began = lambda outcome: self.background.call(self._began, series, outcome)
        self.background.run(
            lambda: _whole(series),
            lambda rows: self._worked(series, rows),
            lambda error: self._worked(series, [(failed(error), 0.0, series.begun)]),
        )

    def _began(self, series: Series, outcome: str) -> None:
        self.write(json.dumps({"id": series.id, "began": outcome}).encode() + b"\n")

    def _worked(self, series: Series, rows: Rows) -> None:
        for row, seconds, begun in rows:
            series.record(row, seconds, 0, begun)
        self._finish(series)

    def _finish(self, series: Series) -> None:
        self.series.pop(series.id, None)
        self.probes.second.over(series)
        self.write(series.answer(self.timer.p99() if series.late > LATE else 0.0))


def _whole(series: Series) -> Rows:
    """All of a series that keeps a thread for itself.

    What does that is loaded there, when it is asked for: most probers need none of it, and start sooner.
    """
    work: Callable[[Series], Rows]
    if series.kind == "flow":
        from .flows import flow as work
    elif series.kind == "transfer":
        from .transfers import transfers as work
    else:
        from .readiness import set_ready as work
    return work(series)
