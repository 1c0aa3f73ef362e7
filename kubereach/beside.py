"""Checks run in threads beside each other, since what they do most is wait; slow ones have more threads.

pytest still sees one test after the other. A check's work begins when the world is ready and it is its turn; its test
waits for what came of it, and its events are told then. What needs a debugger, a stop at the first failure, or fixtures
that are not ours is left to pytest.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubereach.check import INFO
from kubereach.errors import CannotMeasure
from kubereach.events import Bus, Event
from kubereach.fixtures import WorldLike, reader
from kubereach.selection import check_of

#: slow checks at once: each makes pods and keeps some probes going, and too many would measure this machine
AT_ONCE = 8
#: other checks at once: each has a few probes in flight at every vantage
QUICK_AT_ONCE = 5
#: seconds that an item's work took, for its report
SECONDS = pytest.StashKey[float]()


@dataclass(eq=False)
class _Work:
    item: pytest.Item
    run: Callable[[], object]
    #: fixtures that it uses, and those of them that it changes
    uses: frozenset[str]
    changes: frozenset[str]
    done: Future[tuple[list[Event], float, BaseException | None]] = field(default_factory=Future)

    def clashes(self, other: _Work) -> bool:
        """Whether one of them changes what the other uses."""
        return bool(self.changes & other.uses or self.uses & other.changes)


class BesideRunner:
    """A pytest plugin object: `start` it with the items when the world is ready."""

    def __init__(self, bus: Bus, manifests: Path) -> None:
        self._bus = bus
        self._manifests = manifests
        self._works: dict[pytest.Item, _Work] = {}
        self._running: set[_Work] = set()
        #: held while it is decided who is next; notified whenever something has ended
        self._turn = threading.Condition()
        self._ended = False

    def start(
        self, items: list[pytest.Item], world: WorldLike, wanted: Callable[[pytest.Item], bool]
    ) -> None:
        """Begin the checks among `items` that are `wanted`: the others are refused in their setup anyway."""
        for item in items:
            work = self._work(item, world) if wanted(item) and (is_slow(item) or _may_overlap(item)) else None
            if work is not None:
                self._works[item] = work
        for slow, at_once in ((True, AT_ONCE), (False, QUICK_AT_ONCE)):
            # what needs something for itself would have to wait until nobody uses it: it begins
            waiting = [work for item, work in self._works.items() if is_slow(item) is slow]
            waiting.sort(key=lambda work: not work.changes)
            for number in range(min(at_once, len(waiting))):
                name = f"{'slow' if slow else 'quick'} checks {number}"
                threading.Thread(target=self._run, args=(waiting,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the world."""
        self._ended = True

    def has_result(self, item: pytest.Item) -> bool:
        """Whether the item's check has ended in a thread: `pytest_pyfunc_call` does not wait for it."""
        work = self._works.get(item)
        return work is not None and work.done.done()

    def _work(self, item: pytest.Item, world: WorldLike) -> _Work | None:
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
        check = check_of(item)
        return _Work(
            item,
            lambda: function(**given, **{name: read(world) for name, read in readers.items()}),
            frozenset(readers),
            frozenset(check.changes if check else ()),
        )

    def _next(self, waiting: list[_Work]) -> _Work | None:
        """The first that may run now, as soon as there is one; None when there is nothing left to run."""
        with self._turn:
            while waiting and not self._ended:
                for work in waiting:
                    if not any(work.clashes(other) for other in self._running):
                        waiting.remove(work)
                        self._running.add(work)
                        return work
                self._turn.wait()
            return None

    def _run(self, waiting: list[_Work]) -> None:
        from kubereach.expect import current_check, informing

        while (work := self._next(waiting)) is not None:
            check = check_of(work.item)
            current_check.set(check.id if check else "")
            informing.set(check is not None and check.level == INFO)
            begun = time.monotonic()
            error: BaseException | None = None
            with self._bus.held_back() as events:
                try:
                    work.run()
                except BaseException as caught:  # pytest gets it, whatever it is
                    error = caught
            with self._turn:
                self._running.discard(work)
                self._turn.notify_all()
            work.done.set_result((events, time.monotonic() - begun, error))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """In place of the call: wait for what came of it."""
        work = self._works.get(pyfuncitem)
        if work is None:
            return None
        if self._ended and not work.done.done():
            raise CannotMeasure("the run ended before this check")
        events, seconds, error = work.done.result()
        pyfuncitem.stash[SECONDS] = seconds
        for event in events:
            self._bus.emit(event)
        if error is not None:
            raise error
        return True


def is_slow(item: pytest.Item) -> bool:
    check = check_of(item)
    return check is not None and check.slow


def _may_overlap(item: pytest.Item) -> bool:
    """Whether a check that is not slow may run beside others: it needs nothing that only pytest can give."""
    option = item.config.option
    if option.maxfail or option.usepdb or option.trace or option.setupshow:
        return False
    parameters = inspect.signature(item.obj).parameters  # type: ignore[attr-defined]
    # fixtures that work by being there, such as those of classes and modules
    return bool(parameters) and set(getattr(item, "fixturenames", ())) <= {*parameters, "request"}


def last(items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with the slow ones at the end, so that nobody waits for them sooner than needed."""
    return sorted(items, key=is_slow)
