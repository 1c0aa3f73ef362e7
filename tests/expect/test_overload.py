"""Misses of machines that had too much to do."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from kubereach.expect.overload import overloaded
from kubereach.expect.settle import settle
from kubereach.model.address import Address
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Probed
from kubereach.model.lateness import Lateness
from kubereach.model.misses import ANSWERED, BACKENDS, FLOW, LOST, NO_REFUSAL, RECORDS
from kubereach.model.outcome import FOREIGN, OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe import Series
from kubereach.probe.path import Path


@pytest.fixture
def vantage(vantage):
    vantage.context.lateness = Lateness()
    return vantage


def result(*outcomes, retransmits=0, late=0.0, backend_late=0.0, lapses=None):
    """A series whose misses all saw a timer late by `late`, or by what `lapses` has for each probe."""
    lapses = [late] * len(outcomes) if lapses is None else lapses
    probes = tuple(
        Probe(Answer(word), 0.0, retransmits, late=lapse)
        for word, lapse in zip(outcomes, lapses, strict=True)
    )
    return SeriesResult(probes, 1.0, late=late, backend_late=backend_late)


def path(vantage, found, miss=LOST, kind="http"):
    made = Path(vantage, Address("clusterip", kind, "10.96.0.1", 80))
    vantage.context.lateness.note(vantage.name, found)
    made.result = found
    made.fail("3 answers in a row", "less", miss=miss)
    return made


# connect_timeout is 0.5 s here, udp_timeout 0.3 s, converge_deadline 30 s
@pytest.mark.parametrize(
    ("found", "miss", "kind", "explained"),
    [
        (result(OK, OK, TIMEOUT), LOST, "http", False),
        (result(OK, OK, TIMEOUT, late=0.24), LOST, "http", False),
        (result(OK, OK, TIMEOUT, late=0.26), LOST, "http", True),
        (result(OK, OK, TIMEOUT, backend_late=0.26), LOST, "http", True),
        (result(OK, OK, TIMEOUT, late=0.16), LOST, "udp", True),
        (result(TIMEOUT, TIMEOUT, late=0.4), LOST, "http", False),
        (result(TIMEOUT, TIMEOUT, late=0.6), LOST, "http", True),
        (result(OK, OK, retransmits=1, late=0.19), LOST, "http", False),
        (result(OK, OK, retransmits=1, late=0.21), LOST, "http", True),
        (result(OK, TIMEOUT, TIMEOUT, late=2.0, lapses=[0.0, 2.0, 0.1]), LOST, "http", False),
        (result(OK, TIMEOUT, TIMEOUT, late=2.0, lapses=[0.0, 2.0, 0.3]), LOST, "http", True),
        (result(OK, TIMEOUT, late=0.3, lapses=[0.0, 0.0]), FLOW, "udp", True),
        (result(OK, REFUSED, late=2.0), LOST, "http", False),
        (result(OK, FOREIGN, late=2.0), LOST, "http", False),
        (result(OK, OK, late=2.9), BACKENDS, "http", False),
        (result(OK, OK, late=3.1), BACKENDS, "http", True),
        (result(OK, OK, late=2.9), ANSWERED, "http", False),
    ],
)
def test_only_what_so_late_a_machine_explains_is_not_the_networks(vantage, found, miss, kind, explained):
    assert bool(overloaded(path(vantage, found, miss, kind))) is explained


@pytest.mark.parametrize(
    ("found", "miss", "explained"),
    [
        # an answer that is not the right one, a change that is never followed, a flow that is still answered
        (result(OK, OK, late=0.4), LOST, False),
        (result(OK, OK, late=2.9), FLOW, False),
        (result(OK, OK, backend_late=2.9), LOST, False),
        (result(OK, OK, late=3.0), LOST, True),
        (result(OK, OK, late=3.0), BACKENDS, True),
        (result(OK, OK), LOST, False),
        (result(OK, OK, retransmits=1, late=0.2), LOST, True),
        (result(OK, OK, TIMEOUT, late=0.25), LOST, True),
        (result(TIMEOUT, late=0.5), LOST, True),
        (result(TIMEOUT, late=0.9), NO_REFUSAL, True),
        (result(TIMEOUT, late=0.4), NO_REFUSAL, False),
    ],
)
def test_where_nothing_was_late_or_lost_it_takes_more_than_a_late_timer(vantage, found, miss, explained):
    assert bool(overloaded(path(vantage, found, miss))) is explained


def test_of_several_failures_each_has_to_be_explained(vantage):
    """A late machine loses answers; it makes no stranger answer."""
    both = path(vantage, result(OK, TIMEOUT, late=1.0))
    assert overloaded(both)
    both.fail("answers only from a", "also answers from b", miss=BACKENDS)
    assert not overloaded(both)
    with pytest.raises(NotConforming):
        settle([both])


def test_who_was_late_is_named(vantage):
    assert overloaded(path(vantage, result(OK, TIMEOUT, late=1.0, backend_late=0.5))).startswith(
        "timers of pod@one fired up to 1.00 s"
    )
    both = path(vantage, result(OK, TIMEOUT, late=2.0, backend_late=2.0))
    assert overloaded(both).startswith("timers of pod@one fired up to 2.00 s")
    backend = path(vantage, result(OK, TIMEOUT, late=1.0, backend_late=3.0))
    assert overloaded(backend).startswith("timers of a backend that answered pod@one fired up to 3.00 s")


def test_what_was_late_before_a_series_does_not_explain_its_miss(vantage):
    late = path(vantage, result(OK, TIMEOUT, late=1.0))
    late.failures.clear()
    assert overloaded(late, LOST, late.began)
    assert not overloaded(late, LOST, time.monotonic() + 1)
    hardly = path(vantage, result(OK, TIMEOUT, late=0.24))
    hardly.failures.clear()
    vantage.context.lateness = Lateness()
    vantage.context.lateness.note(vantage.name, hardly.result)
    assert not overloaded(hardly, LOST, 0.0)


def test_what_was_late_before_the_expectation_began_explains_nothing(vantage):
    vantage.context.lateness.note(vantage.name, result(OK, late=2.0))
    failed = path(vantage, result(OK, TIMEOUT))
    assert not overloaded(failed)


# connect_timeout and dns_timeout are 0.5 s here
@pytest.mark.parametrize(
    ("found", "kind", "miss", "late", "explained"),
    [
        # backends tell
        ((OK, TIMEOUT), "http", LOST, 9.0, False),
        ((TIMEOUT, TIMEOUT), "http", LOST, 9.0, False),
        ((OK, TIMEOUT), "dns", LOST, 0.6, True),
        ((OK, TIMEOUT), "dns", LOST, 0.5, True),
        ((OK, TIMEOUT), "dns", LOST, 0.4, False),
        # an answer that came is nobody's being late: one that is wrong, beside one that is lost, or all there are
        ((OK, TIMEOUT), "dns", RECORDS, 9.0, False),
        ((OK, OK), "dns", LOST, 9.0, False),
        ((OK, TIMEOUT), "resolve", LOST, 0.6, True),
        ((OK, REFUSED), "dns", LOST, 9.0, False),
        ((OK, OK), "http", BACKENDS, 9.0, False),
    ],
)
def test_another_vantage_speaks_for_those_who_tell_nothing(vantage, found, kind, miss, late, explained):
    failed = path(vantage, result(*found), miss, kind)
    vantage.context.lateness.note("pod@other", result(OK, late=0.3))
    vantage.context.lateness.note("pod@other", result(OK, late=late))
    vantage.context.lateness.note("pod@third", result(OK, late=0.1))
    why = f"timers of pod@other fired up to {late:.2f} s late"
    assert overloaded(failed) == (why if explained else "")


def following(vantage, found, miss, *, opened=True, converged=-1.0, attempts=9, kind="http"):
    """A path that is tried for as long as a change may take, or long after it."""
    failed = path(vantage, found, miss, kind)
    failed.converged, failed.attempts = converged, attempts
    settled = ConvergenceDeadline.after(CHANGED, 30) if opened else time.monotonic() - 1
    failed.address = replace(failed.address, settled=settled)
    return failed


@pytest.mark.parametrize(
    ("found", "miss", "more", "late", "explained"),
    [
        ((OK, OK), BACKENDS, {}, 3.1, True),
        ((OK, OK), BACKENDS, {}, 3.0, True),
        ((OK, OK), BACKENDS, {}, 2.9, False),
        ((TIMEOUT, TIMEOUT), LOST, {}, 3.1, True),
        ((OK, OK), BACKENDS, {"converged": 0.1}, 9.0, False),
        ((OK, OK), BACKENDS, {"converged": 0.0}, 9.0, False),
        ((OK, OK), BACKENDS, {"attempts": 0}, 9.0, False),
        ((OK, OK), BACKENDS, {"opened": False}, 9.0, False),
        ((TIMEOUT, TIMEOUT), LOST, {"opened": False}, 9.0, False),
        # an answer that must not come, of whomever; backends that have answered have told
        ((OK, OK), ANSWERED, {}, 9.0, False),
        ((OK, FOREIGN), BACKENDS, {}, 9.0, False),
        ((OK, REFUSED), LOST, {}, 9.0, False),
        ((OK, TIMEOUT), LOST, {}, 9.0, False),
    ],
)
def test_a_change_may_be_followed_late_for_a_machine_that_is_not_on_the_path(
    vantage, found, miss, more, late, explained
):
    failed = following(vantage, result(*found), miss, **more)
    vantage.context.lateness.note("pod@other", result(OK, backend_late=late))
    assert bool(overloaded(failed)) is explained
    assert overloaded(failed).startswith("timers of a backend that answered pod@other") is explained


@pytest.mark.parametrize(("late", "explained"), [(2.9, False), (3.0, True)])
def test_an_answer_that_must_not_come_takes_more_than_a_late_timer(vantage, late, explained):
    failed = path(vantage, result(OK, TIMEOUT, late=late))
    failed.astray = True
    assert bool(overloaded(failed)) is explained


def test_for_an_answer_that_must_not_come_speaks_nobody_else(vantage):
    failed = path(vantage, result(OK, TIMEOUT), kind="dns")
    vantage.context.lateness.note("pod@other", result(OK, late=9.0))
    assert overloaded(failed)
    failed.astray = True
    assert not overloaded(failed)


@pytest.mark.parametrize(
    ("kind", "burst", "late", "explained"),
    [
        ("transfer", False, 1.1, True),  # stall_timeout is 4 s
        ("transfer", False, 0.9, False),
        ("http", True, 2.6, True),  # burst_timeout is 10 s
        ("http", True, 2.4, False),
        ("http", False, 0.9, True),
    ],
)
def test_what_is_much_work_takes_many_turns_each_of_which_may_be_late(vantage, kind, burst, late, explained):
    failed = path(vantage, result(TIMEOUT, late=late))
    failed.series = Series(kind, burst=burst)
    assert bool(overloaded(failed)) is explained


@pytest.mark.parametrize(
    ("kind", "burst", "late", "explained"),
    [
        ("transfer", False, 1.0, True),
        ("transfer", False, 0.9, False),
        ("http", True, 2.5, True),
        ("http", True, 2.4, False),
        ("http", False, 9.0, False),
    ],
)
def test_what_is_much_work_does_not_say_when_its_machine_was_late(vantage, kind, burst, late, explained):
    """Any lateness of its series counts; of a single question, only what was late while it was under way."""
    failed = path(vantage, result(TIMEOUT, late=late, lapses=[0.0]))
    failed.series = Series(kind, burst=burst)
    assert bool(overloaded(failed)) is explained


def test_an_overloaded_machine_gives_neither_a_failure_nor_a_pass(vantage, events):
    with pytest.raises(CannotMeasure, match=r"timers of pod@one fired up to 1.00 s late.*load average"):
        settle([path(vantage, result(OK, TIMEOUT, late=1.0))])
    assert not [event for event in events if isinstance(event, Probed)]
    assert not vantage.context.troubled


def test_what_the_load_does_not_explain_is_a_failure_all_the_same(vantage, events):
    late, broken = path(vantage, result(OK, TIMEOUT, late=1.0)), path(vantage, result(REFUSED, REFUSED))
    with pytest.raises(NotConforming) as error:
        settle([late, broken])
    assert len(error.value.failures) == 1
    assert [event.outcomes for event in events if isinstance(event, Probed)] == [{REFUSED: 2}]
