"""Slow checks: they run in threads beside the others, since what they do most is wait.

pytest still sees one test after the other. A slow check's work begins when the world is ready; its test waits for what
came of it, and its events are told then.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from kubereach.errors import CannotMeasure
from kubereach.events import Bus, Event
from kubereach.fixtures import WorldLike, reader
from kubereach.selection import check_of

#: checks at once: each makes pods and keeps some probes going, and too many would measure this machine
AT_ONCE = 8
#: seconds that an item's work took, for its report
SECONDS = pytest.StashKey[float]()


class BesideRunner:
    """A pytest plugin object: `start` it with the items when the world is ready."""

    def __init__(self, bus: Bus, manifests: Path) -> None:
        self._bus = bus
        self._manifests = manifests
        self._waiting: SimpleQueue[tuple[pytest.Item, Callable[[], object]]] = SimpleQueue()
        self._done: dict[pytest.Item, Future[tuple[list[Event], float, BaseException | None]]] = {}
        self._ended = False

    def start(
        self, items: list[pytest.Item], world: WorldLike, wanted: Callable[[pytest.Item], bool]
    ) -> None:
        """Begin the slow checks among `items` that are `wanted`: the others are refused in their setup anyway."""
        for item in items:
            work = self._work(item, world) if is_slow(item) and wanted(item) else None
            if work is not None:
                self._done[item] = Future()
                self._waiting.put((item, work))
        for number in range(min(AT_ONCE, len(self._done))):
            threading.Thread(target=self._run, name=f"slow checks {number}", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the world."""
        self._ended = True

    def _work(self, item: pytest.Item, world: WorldLike) -> Callable[[], object] | None:
        """The check with its arguments; None if it uses fixtures of others, which only pytest can make."""
        function: Callable[..., object] = item.obj  # type: ignore[attr-defined]
        given: dict[str, Any] = dict(getattr(getattr(item, "callspec", None), "params", {}))
        readers: dict[str, Callable[[WorldLike], Any]] = {}
        for name in inspect.signature(function).parameters:
            if name not in given:
                read = reader(name, self._manifests)
                if read is None:
                    return None
                readers[name] = read
        return lambda: function(**given, **{name: read(world) for name, read in readers.items()})

    def _run(self) -> None:
        from kubereach.expect import current_check

        while not self._ended:
            try:
                item, work = self._waiting.get_nowait()
            except Empty:
                return
            check = check_of(item)
            current_check.set(check.id if check else "")
            begun = time.monotonic()
            error: BaseException | None = None
            with self._bus.held_back() as events:
                try:
                    work()
                except BaseException as caught:  # pytest gets it, whatever it is
                    error = caught
            self._done[item].set_result((events, time.monotonic() - begun, error))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """In place of the call: wait for what came of it."""
        future = self._done.get(pyfuncitem)
        if future is None:
            return None
        if self._ended and not future.done():
            raise CannotMeasure("the run ended before this check")
        events, seconds, error = future.result()
        pyfuncitem.stash[SECONDS] = seconds
        for event in events:
            self._bus.emit(event)
        if error is not None:
            raise error
        return True


def is_slow(item: pytest.Item) -> bool:
    check = check_of(item)
    return check is not None and check.slow


def last(items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with the slow ones at the end, so that nobody waits for them sooner than needed."""
    return sorted(items, key=is_slow)
