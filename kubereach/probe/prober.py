"""A prober at the other end of a stream: what it is asked, and what it has not answered yet.

Each stream has a `Prober` of its own, so that what one stream's end means for its series concerns no other stream.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import SeriesResult
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.series import Series
from kubereach.probe.streams import Stream

#: seconds after which musl's resolver sends a query again (res_msend.c): sooner than glibc's
RESENDS_AFTER = 2.5


class Prober:
    """Attaches `stream` to the multiplexer.

    `name` is its vantage's; `broke` makes the error of a reason why it has ended.
    """

    def __init__(
        self, stream: Stream, multiplexer: Multiplexer, name: str, broke: Callable[[str], CannotMeasure]
    ) -> None:
        self.stream = stream
        self._multiplexer = multiplexer
        self._name = name
        self._broke = broke
        self._lock = threading.Lock()
        self._number = 0
        self._pending: dict[int, Future[SeriesResult]] = {}
        self._beginning: dict[int, Future[str]] = {}
        self._error: CannotMeasure | None = None
        #: see `Vantage.resends_after`
        self.resends_after = RESENDS_AFTER
        #: done when the prober has said that it is there; fails with the stream
        self.greeted: Future[None] = Future()
        multiplexer.attach(stream, self._line, self._broken)

    @property
    def alive(self) -> bool:
        """Whether it may still answer."""
        return self._error is None

    def start(self, series: Series, began: Future[str] | None = None) -> tuple[int, Future[SeriesResult]]:
        """Start a series: its number and its result, which fails when the stream ends. `began`: see `Vantage.begin`.

        Raises `CannotMeasure` when the stream has ended.
        """
        future: Future[SeriesResult] = Future()
        with self._lock:
            if self._error is not None:
                raise self._error
            self._number += 1
            number = self._number
            self._pending[number] = future
            if began is not None:
                self._beginning[number] = began
        self._multiplexer.send(self.stream, json.dumps(series.request(number)).encode() + b"\n")
        return number, future

    def stop(self, number: int, when: dict[str, Any]) -> None:
        """Let a series end: see `RunningSeries`. One that has ended needs nothing."""
        with self._lock:
            if number not in self._pending:
                return
        request = {"id": 0, "kind": "stop", "series": number, **when}
        self._multiplexer.send(self.stream, json.dumps(request).encode() + b"\n")

    def owes(self, future: Future[SeriesResult]) -> bool:
        """Whether this prober is to give a result."""
        with self._lock:
            return any(pending is future for pending in self._pending.values())

    def end(self, reason: str) -> None:
        """Close the stream; all that is under way fails with `reason`, and nothing new is begun."""
        with self._lock:
            self._error = self._error or self._broke(reason)
        self._multiplexer.detach(self.stream, reason)

    # in the multiplexer's thread

    def _line(self, line: bytes) -> None:
        """One line of its standard output. What it raises ends the stream."""
        try:
            message = json.loads(line)
        except ValueError:
            return  # a runtime's own chatter; an answer that got lost in it times out as CannotMeasure
        if not isinstance(message, dict):
            return  # likewise: a shell's greeting may be a number
        if "hello" in message:
            hello = message["hello"]
            announced = hello.get("resends_after") if isinstance(hello, dict) else None
            self.resends_after = float(announced) if isinstance(announced, (int, float)) else RESENDS_AFTER
            if not self.greeted.done():
                self.greeted.set_result(None)
            return
        with self._lock:
            began = self._beginning.pop(message.get("id", 0), None)
            future = None if "began" in message else self._pending.pop(message.get("id", 0), None)
        if began is not None:
            began.set_result(message.get("began", ""))
        if future is None:
            return
        try:
            future.set_result(SeriesResult.from_peer(message))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = message.get("error", error)
            future.set_exception(
                CannotMeasure(f"the prober on {self._name} returned an invalid answer: {reason}")
            )

    def _broken(self, reason: str) -> None:
        error = self._broke(reason)
        with self._lock:
            self._error = error
            waiting: list[Future[Any]] = [*self._pending.values(), *self._beginning.values()]
            self._pending.clear()
            self._beginning.clear()
        if not self.greeted.done():
            self.greeted.set_exception(error)
        for future in waiting:
            future.set_exception(error)
