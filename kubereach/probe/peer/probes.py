"""The probes under way: begun, waited for, timed out, ended."""

from __future__ import annotations

import os
import time

from . import exchange
from .again import SecondAnswers, segment_arrived_twice
from .answers import lost_of_two
from .lateness import NEVER
from .outcomes import empty_row, failed
from .ports import LocalPorts
from .protocol import LATE, NO_ADDRESS
from .resolver import resolve
from .series import Attempt
from .sockets import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .background import Background
    from .lateness import Timer
    from .outcomes import Row
    from .series import Series
    from .sockets import Poller

    T = TypeVar("T")

#: seconds that the resolution of a series' name gets: a resolver asks again after five, and one lost datagram is
#: for the questions of DNS checks to notice, not for who only goes by a name
RESOLVING = 6.0


class Probes:
    """Those of all series.

    `over` is called with a series whose last probe has ended, `addressed` with one whose name has been resolved.
    """

    def __init__(
        self,
        poller: Poller,
        background: Background,
        timer: Timer,
        over: Callable[[Series], None],
        addressed: Callable[[Series], None],
    ) -> None:
        self._poller = poller
        self._background = background
        self._timer = timer
        self._over = over
        self._addressed = addressed
        self._ports = LocalPorts()
        self.second = SecondAnswers()
        self._token = 0
        #: those with a socket, by its descriptor
        self.by_fd: dict[int, Attempt] = {}
        #: those that a thread does
        self._threaded: set[Attempt] = set()
        #: how many there are, resolutions of series' names excepted
        self.count = 0
        #: when the next one is over its deadline (time.monotonic())
        self.next_check = NEVER

    def start(self, series: Series) -> None:
        """Begin the next probe of a series."""
        series.started += 1
        series.under_way += 1
        self.count += 1
        attempt = Attempt(series)
        if series.kind == "resolve":
            host, family = series.request["host"], series.request.get("family", 4)
            self._thread(attempt, lambda: resolve(host, family), self._resolved)
            return
        if series.kind == "tls":
            self._thread(attempt, lambda: _handshake(series), self._done)
            return
        self._check_at(attempt.begun + series.timeout)
        if series.kind in ("udp", "tcp", "sctp"):
            self._token += 1
            attempt.token = (b"kubereach %d.%d" % (os.getpid(), self._token)).ljust(series.size, b".")
        row = exchange.begin(attempt, self._ports)
        if row is not None:
            self._done(attempt, row)
            return
        self.by_fd[attempt.fd] = attempt
        if series.datagrams:
            self._poller.add(attempt.fd, IN)
        else:
            self._poller.add_both(attempt.fd)

    def resolve(self, series: Series) -> None:
        """Resolve the name that a series goes to. If that fails, it is the series' only probe."""
        host, family = series.request["host"], series.request.get("family", 4)
        attempt = Attempt(series)
        attempt.state = -1
        if series.timeout >= 1:  # less is impatience on purpose: there will be another attempt
            attempt.longer = max(0.0, RESOLVING - series.timeout)
        series.under_way += 1
        self._thread(attempt, lambda: resolve(host, family), self._named)

    def _check_at(self, moment: float) -> None:
        if moment < self.next_check:
            self.next_check = moment

    def _thread(self, attempt: Attempt, work: Callable[[], T], then: Callable[[Attempt, T], None]) -> None:
        self._threaded.add(attempt)
        self._check_at(attempt.begun + attempt.series.timeout)

        def ended(function: Callable[[Attempt, Any], None], result: Any) -> None:
            if attempt in self._threaded:  # it may have timed out meanwhile
                function(attempt, result)

        self._background.run(
            work, lambda result: ended(then, result), lambda error: ended(self._done, failed(error))
        )

    def _resolved(self, attempt: Attempt, found: tuple[str, list[str]]) -> None:
        outcome, addresses = found
        self._done(attempt, empty_row(outcome, "", " ".join(addresses)))

    def _named(self, attempt: Attempt, found: tuple[str, list[str]]) -> None:
        """The addresses of a name, for the probes of the series to come."""
        outcome, addresses = found
        series = attempt.series
        if outcome == "ok" and series.address(addresses):
            self._threaded.discard(attempt)
            series.under_way -= 1
            self._addressed(series)
            return
        self._done(attempt, empty_row(outcome, "", NO_ADDRESS))

    def go_on(self, attempt: Attempt, events: int) -> None:
        """Do what the probe's socket is ready for."""
        row = exchange.go_on(attempt, events, self._poller)
        if row is not None:
            self._done(attempt, row)

    def overdue(self) -> None:
        """Time out what is over its deadline and find the next deadline.

        On a busy machine this process may not have run for a while. The network is not to blame for that: everybody
        gets as much longer, and what has come meanwhile is an answer.
        """
        now = time.monotonic()
        late = now - self.next_check
        soonest = NEVER
        for attempt in [*self.by_fd.values(), *self._threaded]:
            if late > LATE:
                attempt.longer += late
            if attempt.deadline() <= now:
                if attempt.sock is not None:
                    self.go_on(attempt, IN)
                waiting = self.by_fd.get(attempt.fd) is attempt
                if waiting and exchange.is_patient(attempt):
                    soonest = min(soonest, attempt.deadline())
                elif waiting or attempt in self._threaded:
                    request_sent = attempt.state == 1 and not attempt.series.datagrams
                    reason = "connected" if request_sent else lost_of_two(attempt)
                    reason = NO_ADDRESS if attempt.state == -1 else reason
                    self._done(attempt, empty_row("timeout", "", reason))
            else:
                soonest = min(soonest, attempt.deadline())
        self.next_check = soonest

    def _done(self, attempt: Attempt, row: Row) -> None:
        now = time.monotonic()
        series = attempt.series
        if attempt.state == -1:
            self.count += 1
            series.started = series.count = 1
        retransmits = exchange.retransmits(attempt)
        if attempt.sock is not None:
            self._leave(attempt, row)
        self._threaded.discard(attempt)
        self.count -= 1
        series.under_way -= 1
        if (retransmits or row[0] not in series.wanted) and (late := self._timer.since(attempt.begun)):
            series.lapses.append((len(series.of), round(late, 3)))
        series.record(row, now - attempt.begun, retransmits, attempt.begun, attempt.port)
        if series.over():
            self._over(series)

    def _leave(self, attempt: Attempt, row: Row) -> None:
        """Wait for nothing more on a probe's socket. It is closed unless a second answer may come there."""
        sock, series = attempt.sock, attempt.series
        assert sock is not None
        answered = series.kind == "udp" and row[0] == "ok"
        if attempt.fd >= 0:
            self.by_fd.pop(attempt.fd, None)
            (self._poller.leave if answered else self._poller.forget)(attempt.fd)
        if answered:
            self.second.keep(attempt, len(series.of))
            return
        if series.strict and row[0] == "ok" and series.kind != "sctp" and segment_arrived_twice(sock):
            series.duplicates.append(len(series.of))
        sock.close()


def _handshake(series: Series) -> Row:
    from .tls import handshake  # in the probe's own thread: ssl takes 20 ms to load, and few vantages need it

    return handshake(series.request)
