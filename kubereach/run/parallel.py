"""Checks run in threads beside each other, since what they do most is wait; slow ones have more threads.

pytest still sees one test after the other. A check's work begins when the world is ready and it is its turn; its test
waits for what came of it, and its events are told then. What needs a stop at the first failure, or fixtures that are
not ours, begins when pytest has set it up; it has a thread too, so that none can hold the run up for ever.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kubereach
from kubereach.model.check import DISR, INFO, Check
from kubereach.model.errors import CannotMeasure, InstrumentBroke
from kubereach.model.events import Bus, Changed, Event, Note
from kubereach.model.tally import Tally
from kubereach.probe import suspension
from kubereach.run.fixtures import WorldLike, reader_of
from kubereach.run.selection import check_of

#: slow checks at once: each makes pods and keeps some probes going, and too many would measure this machine
AT_ONCE = 8
#: other checks at once: each has a few probes in flight at every vantage
QUICK_AT_ONCE = 5
#: seconds that an item's work took, for its report
SECONDS = pytest.StashKey[float]()
_TALLY = pytest.StashKey[Tally]()
#: marks by which pytest may decide not to run an item
_MAY_NOT_RUN = ("skip", "skipif", "xfail")


def tally_of(item: pytest.Item) -> Tally:
    """What the item's check has judged, in whatever thread."""
    return item.stash.setdefault(_TALLY, Tally())


@dataclass(eq=False)
class _Work:
    item: pytest.Item
    run: Callable[[], object]
    #: fixtures that it uses, and those of them that it changes
    uses: frozenset[str]
    changes: frozenset[str]
    #: its events so far, until its test lets them out
    events: list[Event] = field(default_factory=list)
    #: when (time.monotonic) and in which thread it began; 0 before that
    begun: float = 0.0
    thread: int = 0
    done: Future[tuple[float, BaseException | None]] = field(default_factory=Future)
    #: whether it can be run once more: its fixtures are read of the world each time
    repeatable: bool = False

    def clashes(self, other: _Work) -> bool:
        """Whether one of them changes what the other uses."""
        return bool(self.changes & other.uses or self.uses & other.changes)


class ParallelRunner:
    """A pytest plugin object: `start` it with the items when the world is ready."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._works: dict[pytest.Item, _Work] = {}
        self._running: set[_Work] = set()
        #: held while it is decided who is next; notified whenever something has begun or ended
        self._turn = threading.Condition()
        self._ended = False
        self._wanted: Callable[[pytest.Item], bool] = lambda _: True
        self._world: WorldLike | None = None
        self._deadline = 0.0

    def start(
        self,
        items: list[pytest.Item],
        world: WorldLike,
        wanted: Callable[[pytest.Item], bool],
        deadline: float,
    ) -> None:
        """Begin the checks among `items` that are `wanted`: the others are refused in their setup anyway.

        Each has `deadline` seconds from when it begins; 0 is no limit.
        """
        self._wanted, self._world, self._deadline = wanted, world, deadline
        for item in items:
            work = _readable(item, world) if wanted(item) and (is_slow(item) or _may_overlap(item)) else None
            if work is not None:
                self._works[item] = work
        for slow, at_once in ((True, AT_ONCE), (False, QUICK_AT_ONCE)):
            # what needs something for itself would have to wait until nobody uses it: it begins
            waiting = [work for item, work in self._works.items() if is_slow(item) is slow]
            waiting.sort(key=lambda work: not work.changes)
            for number in range(min(at_once, len(waiting))):
                self._thread(waiting, f"{'slow' if slow else 'quick'} checks {number}")

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the world."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def withdraw(self, item: pytest.Item) -> bool:
        """Keep an item from beginning in a thread. False when it has begun: what comes of it counts."""
        with self._turn:
            work = self._works.get(item)
            if work is None:
                return True
            if work.begun:
                return False
            del self._works[item]
            return True

    def has_result(self, item: pytest.Item) -> bool:
        """Whether the item's check has ended in a thread: `pytest_pyfunc_call` does not wait for it."""
        work = self._works.get(item)
        return work is not None and work.done.done()

    def _thread(self, waiting: list[_Work], name: str) -> None:
        threading.Thread(target=self._run, args=(waiting,), name=name, daemon=True).start()

    def _next(self, waiting: list[_Work]) -> _Work | None:
        """The first that may run now, as soon as there is one; None when there is nothing left to run."""
        with self._turn:
            while not self._ended:
                # one whose feature was found to be absent meanwhile is left to its setup, which says so
                left = [work for work in waiting if not work.begun and self._works.get(work.item) is work]
                waiting[:] = [work for work in left if self._wanted(work.item)]
                if not waiting:
                    return None
                for work in waiting:
                    if not any(work.clashes(other) for other in self._running):
                        waiting.remove(work)
                        self._running.add(work)
                        work.begun, work.thread = time.monotonic(), threading.get_ident()
                        self._turn.notify_all()
                        return work
                self._turn.wait()
            return None

    def _run(self, waiting: list[_Work]) -> None:
        from kubereach.expect import checking  # heavy: not before the first check runs

        while (work := self._next(waiting)) is not None:
            check = check_of(work.item)
            assert check is not None
            with checking(check.id, check.level == INFO, tally_of(work.item)):
                error = self._attempt(work)
                if isinstance(error, InstrumentBroke) and self._begun_anew(work, check, error):
                    error = self._attempt(work)
            with self._turn:
                if work not in self._running:
                    return  # given up, and another thread has taken this one's place
                self._end(work, error)

    def _attempt(self, work: _Work) -> BaseException | None:
        """Do a check's work; what it raised."""
        clocks = suspension.now()
        with self._bus.held_back(work.events):
            try:
                work.run()
            except BaseException as caught:  # pytest gets it, whatever it is
                return suspension.unless_suspended(caught, clocks)
        return None

    def _begun_anew(self, work: _Work, check: Check, error: InstrumentBroke) -> bool:
        """Have all as it was before a check whose instrument broke, if that can be, and say in its report why.

        A control plane that restarts one of its API servers breaks streams: of series that go on while something is
        changed, which cannot be made anew, nothing is known then. So the whole check is, once: with objects of its own
        that are new. Whatever it had judged to be wrong was raised instead, and is not measured again.
        """
        if not work.repeatable or check.changes or check.level == DISR or self._world is None or self._ended:
            return False
        changes = [event for event in work.events if isinstance(event, Changed)]
        undoing: list[Event] = []
        with self._bus.held_back(undoing):
            why = self._world.renew(changes)
        with self._turn:
            if self._ended or work not in self._running or tally_of(work.item).abandoned:
                return False
            if why:
                work.events.append(Note(check.id, f"not measured again: {why}"))
                return False
            tally_of(work.item).begin_anew()
            work.begun = time.monotonic()
        notes = [Note(check.id, f"measured again from its beginning: {error.message}")]
        # what it saw is forgotten, what it did to the cluster is not
        work.events[:] = [*notes, *changes, *undoing]
        return True

    def _end(self, work: _Work, error: BaseException | None) -> None:
        self._running.discard(work)
        work.done.set_result((time.monotonic() - work.begun, error))
        self._turn.notify_all()

    def _give_up_overdue(self) -> float | None:
        """Go on without the checks that have not ended in time. Gives the seconds until the next one is due."""
        left = {work: work.begun + self._deadline - time.monotonic() for work in self._running}
        for work in [work for work, seconds in left.items() if seconds <= 0]:
            del left[work]
            why = f"did not end within {self._deadline:g} s{_whereabouts(work)}"
            tally_of(work.item).abandoned = why
            self._end(work, CannotMeasure(why, "Raise the limit with --set check_deadline=SECONDS."))
            slow = is_slow(work.item)
            waiting = [w for w in self._works.values() if not w.begun and is_slow(w.item) is slow]
            self._thread(waiting, "in place of a thread that does not end")
        return min(left.values(), default=None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """In place of the call: wait for what came of it."""
        work = self._works.get(pyfuncitem)
        if work is None:
            work = _set_up(pyfuncitem)
            if work is None:
                return None
            self._works[pyfuncitem] = work
            self._thread([work], pyfuncitem.name)
        with self._turn:
            while not work.done.done():
                if self._ended and not work.begun:
                    raise CannotMeasure("the run ended before this check")
                soonest = self._give_up_overdue() if self._deadline else None
                if not work.done.done():
                    self._turn.wait(soonest)
        seconds, error = work.done.result()
        pyfuncitem.stash[SECONDS] = seconds
        for event in list(work.events):
            self._bus.emit(event)
        if error is not None:
            raise error
        return True


def is_slow(item: pytest.Item) -> bool:
    check = check_of(item)
    return check is not None and check.slow


def _may_overlap(item: pytest.Item) -> bool:
    """Whether a check that is not slow may run beside others."""
    option = item.config.option
    if option.maxfail or option.usepdb or option.trace or option.setupshow:
        return False
    return bool(inspect.signature(item.obj).parameters)  # type: ignore[attr-defined]


def _readable(item: pytest.Item, world: WorldLike) -> _Work | None:
    """The check with its arguments; None if it uses fixtures of others, which only pytest can make."""
    if not isinstance(item, pytest.Function) or any(map(item.get_closest_marker, _MAY_NOT_RUN)):
        return None
    function = item.obj
    names = inspect.signature(function).parameters
    # others work by being there, such as those of classes and modules
    if not set(item.fixturenames) <= {*names, "request"}:
        return None
    given: dict[str, Any] = {}
    readers: dict[str, Callable[[WorldLike], Any]] = {}
    for name in names:
        read = reader_of(item, name)
        if read is not None:
            readers[name] = read
        elif name in _written(item):
            given[name] = item.callspec.params[name]
        else:
            return None
    check = check_of(item)
    return _Work(
        item,
        lambda: function(**given, **{name: read(world) for name, read in readers.items()}),
        frozenset(readers),
        frozenset(check.changes if check else ()),
        repeatable=True,
    )


def _written(item: pytest.Function) -> set[str]:
    """The parameters whose values stand in a ``parametrize`` mark; a fixture's parameter is not its value."""
    names: set[str] = set()
    for mark in item.iter_markers("parametrize"):
        indirect = mark.kwargs.get("indirect", mark.args[2] if len(mark.args) > 2 else False)
        if not indirect:
            given = mark.kwargs.get("argnames", mark.args[0] if mark.args else ())
            names.update(n.strip() for n in (given.split(",") if isinstance(given, str) else given))
    return names


def _set_up(item: pytest.Function) -> _Work | None:
    """A check that pytest has set up, with the values of its fixtures; None for what has to stay in pytest's thread."""
    check, option = check_of(item), item.config.option
    if check is None or option.usepdb or option.trace or inspect.iscoroutinefunction(item.obj):
        return None
    function = item.obj
    # as pytest has it, a parameter with a default is no fixture
    names = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    given = {name: item.funcargs[name] for name in names}
    return _Work(item, lambda: function(**given), frozenset(names), frozenset(check.changes))


def _whereabouts(work: _Work) -> str:
    """Where a check's thread is: its own line, and what it waits in."""
    frame = sys._current_frames().get(work.thread)
    check = check_of(work.item)
    if frame is None or check is None:
        return ""
    engine = Path(kubereach.__file__).parent
    own = str(check.file)
    place = ""
    for entry in traceback.extract_stack(frame):  # the innermost last
        file = Path(entry.filename)
        if entry.filename == own:
            place = f": it waits at {file.name}:{entry.lineno}"
        elif place and file.is_relative_to(engine):
            place = f"{place.partition(', in ')[0]}, in {entry.name} ({file.name}:{entry.lineno})"
    return place


def last(items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with the slow ones at the end, so that nobody waits for them sooner than needed."""
    return sorted(items, key=is_slow)
