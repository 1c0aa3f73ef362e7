"""The run's deadline: it ends a run that hangs, wherever it hangs, and lets it clean up and report."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from kubereach.model.errors import CannotMeasure
from kubereach.run.selection import check_of

#: wakes the main thread, whatever it waits for: plugins of pytest leave it to users, unlike SIGALRM
_WAKE = signal.SIGUSR1
#: seconds after which it is woken again: one context manager after the other may wait for threads that hang
_AGAIN = 5.0
#: seconds that threads which hang may keep the process from ending
_LEAVE = 10.0


class DeadlinePassed(CannotMeasure):
    """The run has had its time."""


class Deadline:
    """A pytest plugin object. From `start` on, `interruptible` blocks of the main thread end when time is over.

    `has_result` says of an item that its check has ended already, in another thread: then it is told as it ended.
    `passed` is called once, in a thread of its own, when time is over. `seconds` of 0: never.
    """

    def __init__(
        self, seconds: float, has_result: Callable[[pytest.Item], bool], passed: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._has_result = has_result
        self._passed = passed
        self._end = float("inf")
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        self._doing = ""
        self._handlers: dict[signal.Signals, Any] = {}
        #: whether something was ended by it, or not even begun
        self.hit = False

    def start(self) -> None:
        """Time runs from now on. No thread is started yet: to enter a lab a process must have a single one."""
        if not self._seconds:
            return
        self._end = time.monotonic() + self._seconds
        if threading.current_thread() is threading.main_thread():  # no other gets signals
            for number in (signal.SIGALRM, _WAKE):
                self._handlers[number] = signal.signal(number, self._woken)
            signal.setitimer(signal.ITIMER_REAL, self._seconds, _AGAIN)

    def threads_allowed(self) -> None:
        """From here on a thread sees to it: it can wake this one for certain, and calls `passed`."""
        if self._handlers:
            self._end_timer()
            self._watcher = threading.Thread(target=self._watch, name="deadline", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """Nothing is interrupted any more. Safe to call twice."""
        self._stopped.set()
        if self._watcher and self._watcher is not threading.current_thread():
            self._watcher.join(1)  # or its signal might find no handler, which ends the process
        if self._handlers:
            self._end_timer()
            signal.signal(_WAKE, self._handlers.pop(_WAKE))

    def _end_timer(self) -> None:
        if signal.SIGALRM in self._handlers:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handlers.pop(signal.SIGALRM))

    @contextmanager
    def interruptible(self, doing: str, *, begin: bool = False) -> Iterator[None]:
        """Raises `DeadlinePassed` in the block when time is over; before it too, unless it is to `begin` anyway."""
        self._doing = doing
        try:
            if not begin:
                self._check()
            yield
        finally:
            self._doing = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._phase(item, "before this check ran"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._phase(item, "while this check ran"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        if check_of(item) is None:
            return (yield)
        with self.interruptible("while this check cleaned up", begin=True):
            return (yield)

    def _phase(self, item: pytest.Item, doing: str) -> Generator[None, object, object]:
        if check_of(item) is None or self._has_result(item):
            return (yield)
        with self.interruptible(doing):
            return (yield)

    def _check(self) -> None:
        if time.monotonic() >= self._end:
            self.hit = True
            raise DeadlinePassed(
                f"the run's deadline of {self._seconds:g} s passed {self._doing}",
                "Raise --deadline, or select fewer checks.",
            )

    def _woken(self, number: int, frame: FrameType | None) -> None:
        if self._doing:
            self._check()

    def _watch(self) -> None:
        if self._stopped.wait(max(0.0, self._end - time.monotonic())):
            return
        self._passed()
        main = threading.main_thread().ident or 0
        while True:
            if self._doing:
                signal.pthread_kill(main, _WAKE)
            if self._stopped.wait(_AGAIN):
                return


def leave_in_time(code: Callable[[], int]) -> None:
    """When this process comes to its end, let no thread that hangs keep it: `_LEAVE` seconds later it ends with `code`.

    An interpreter waits for its threads, except daemons, and for those of executors, without end. It does so when all
    else is done, the reports are written and what the main thread had to say is said; who only uses pytest within a
    program that goes on is not disturbed.
    """

    ending = threading.Event()

    def leave() -> None:
        ending.wait()
        time.sleep(_LEAVE)
        os._exit(code())

    def end() -> None:
        ending.set()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()

    threading.Thread(target=leave, name="leave", daemon=True).start()
    # as executors wait for theirs, since `atexit` comes after all threads; what is registered last is called first
    threading._register_atexit(end)  # type: ignore[attr-defined]
