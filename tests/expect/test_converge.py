"""Until when a path is tried, how often, how patiently, and what is measured of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from staged import ADDRESS, CONTROL, Staged, ok, played

from kubereach.expect.converge import IMPATIENT, SLOW, converge, latest, remaining
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.outcome import FOREIGN, OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe import Series
from kubereach.probe.path import Path

SILENT, REFUSAL = Answer(TIMEOUT), Answer(REFUSED)


def result(*answers, seconds=0.1):
    return SeriesResult(tuple(Probe(answer, 0.01) for answer in answers), seconds)


@pytest.fixture
def path(context, clock):
    """A path whose vantage answers as `script` says."""

    def make(script=lambda _: [ok()], settled=0.0, address=ADDRESS, **more):
        return Path(Staged(context, clock, script, **more), replace(address, settled=settled))

    return make


def as_wanted(_, found):
    return found.outcomes[OK] == len(found.probes)


def asking(timeout=0.5, count=1):
    return lambda path: Series("http", path.address.host, path.address.port, count=count, timeout=timeout)


# --- until when


def test_a_path_has_until_its_address_has_settled_or_as_long_as_is_given(path):
    assert latest(path(settled=50.0), 10.0) == 50.0
    assert latest(path(settled=5.0), 10.0) == 10.0
    assert latest(path(settled=50.0), 10.0, 3.0) == 13.0
    assert latest(path(settled=50.0), 10.0, 0.0) == 10.0


@pytest.mark.parametrize("answer", [SILENT, REFUSAL])
def test_what_is_broken_already_is_not_waited_for_so_long(context, path, answer):
    context.settings = replace(context.settings, troubled_deadline=3.0)
    one = path(settled=100.0)
    one.result = result(ok(), answer)
    assert latest(one, 10.0) == 100.0
    context.troubled["pod@two"] = 20.0
    assert latest(one, 10.0) == 100.0
    context.troubled["pod@one"] = 20.0
    # whoever was under way when it broke has as long from then on
    assert latest(one, 10.0) == 23.0
    assert latest(one, 30.0) == 33.0
    context.slowest = 2.0
    assert latest(one, 30.0) == 30.0 + SLOW * 2.0 == 36.0
    assert latest(one, 99.0) == 100.0
    assert latest(one, 30.0, 1.0) == 31.0
    # the beginning of time is a moment as well
    context.troubled["pod@one"] = 0.0
    assert latest(one, 1.0) == 7.0


@pytest.mark.parametrize("answer", [ok(), Answer(FOREIGN)])
def test_an_answer_that_is_not_right_yet_is_waited_for(context, path, answer):
    one = path(settled=100.0)
    one.result = result(answer)
    context.troubled["pod@one"] = 20.0
    assert latest(one, 10.0) == 100.0


# --- attempts


def test_each_path_is_tried_once_whatever_its_time(path):
    right, wrong = path(), path(lambda _: [REFUSAL])
    assert converge([right, wrong], asking(), as_wanted) == [wrong]
    assert (right.attempts, wrong.attempts) == (1, 1)
    assert right.converged == 0.0
    assert wrong.converged == -1.0
    assert right.result.outcomes == {OK: 1}
    assert wrong.result.outcomes == {REFUSED: 1}


def test_a_path_is_tried_until_it_conforms(path, clock, context):
    begun = clock.now

    def script(_):
        return [ok()] if clock.now - begun > 2 else [REFUSAL]

    one = path(script, settled=clock.now + 30)
    other = path(lambda _: [ok()], settled=clock.now + 30, node="two")
    assert converge([one, other], asking(), as_wanted) == []
    assert 2 < one.converged < 2.6
    assert one.vantage.at[-1] - begun == pytest.approx(one.converged)
    assert one.attempts == len(one.vantage.asked) > 5
    assert (other.attempts, other.converged) == (1, 0.0)
    # waits are short and grow up to half a second
    gaps = [b - a - 0.01 for a, b in zip(one.vantage.at, one.vantage.at[1:], strict=False)]
    assert gaps == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5][: len(gaps)])
    # no change was open
    assert (one.change, context.slowest) == ("", 0.0)


def test_it_ends_when_nobody_has_time_left(path, clock):
    begun = clock.now
    short, long = path(lambda _: [REFUSAL], settled=begun + 1), path(lambda _: [REFUSAL], settled=begun + 3)
    assert converge([short, long], asking(), as_wanted) == [short, long]
    assert 2.5 < clock.now - begun < 3.6
    # who shares an attempt is tried with the others
    assert short.attempts == long.attempts


def test_within_counts_from_now(path, clock):
    begun = clock.now
    one = path(lambda _: [REFUSAL], settled=begun + 30)
    assert converge([one], asking(), as_wanted, 1.0) == [one]
    assert 0.5 < clock.now - begun < 1.6
    again = path(lambda _: [REFUSAL], settled=begun + 30)
    assert converge([again], asking(), as_wanted, 0.0) == [again]
    assert again.attempts == 1


def test_nothing_to_try_takes_no_time(clock):
    begun = clock.now
    assert converge([], asking(), as_wanted) == []
    assert clock.now == begun


def test_its_time_ends_at_the_deadline(path):
    one = path(lambda series: replace(played(series, [REFUSAL]), seconds=1.0))
    assert converge([one], asking(), as_wanted, 1.0) == [one]
    assert one.attempts == 1


# --- what is measured


def test_convergence_is_measured_from_the_change(path, clock):
    clock.now += 5
    settled = ConvergenceDeadline.after(CHANGED, 30)
    clock.now += 2
    one = path(settled=settled)
    converge([one], asking(), as_wanted)
    assert (one.change, one.converged) == (CHANGED, pytest.approx(2.0))


def followed_after(path, clock, seconds, settled=None):
    """How long a path took to follow a change that is obeyed so many seconds after it."""
    begun = clock.now
    settled = ConvergenceDeadline.after(CHANGED, 30) if settled is None else settled
    one = path(lambda _: [ok() if clock.now >= begun + seconds else REFUSAL], settled=settled)
    converge([one], asking(), as_wanted)
    return one.converged


def test_the_slowest_change_of_all(path, clock, context):
    """And the slowest that was seen to be followed: at the first attempt nobody knows since when it had been."""
    clock.now += 1
    assert followed_after(path, clock, 0.0) == 0.0
    settled = ConvergenceDeadline.after(CHANGED, 30)
    clock.now += 9
    assert followed_after(path, clock, 0.0, settled) == pytest.approx(9.0)
    assert (context.slowest, context.followed) == (pytest.approx(9.0), 0.0)
    slowest = followed_after(path, clock, 2.0)
    assert slowest >= 2.0
    assert (context.slowest, context.followed) == (pytest.approx(9.0), slowest)
    assert followed_after(path, clock, 1.0) < slowest
    assert context.followed == slowest
    longest = followed_after(path, clock, 11.0)
    assert (context.slowest, context.followed) == (longest, longest)
    # at the second attempt already
    context.slowest = context.followed = 0.0
    assert followed_after(path, clock, 0.01) == context.followed == context.slowest > 0.0
    # what no service proxy serves says nothing of service proxies
    begun, named = clock.now, replace(ADDRESS, way="dns", settled=ConvergenceDeadline.after(CHANGED, 30))
    one = path(lambda _: [ok() if clock.now >= begun + 7 else REFUSAL], settled=named.settled)
    one.address = named
    converge([one], asking(), as_wanted)
    assert context.slowest >= 7.0 > 1.0 > context.followed
    context.slowest = context.followed
    # what has no change is none
    assert followed_after(path, clock, 5.0, clock.now + 30) >= 5.0
    assert context.followed == context.slowest < 1.0


def test_a_change_that_has_had_its_time_is_not_measured_from(path, clock, context):
    settled = ConvergenceDeadline.after(CHANGED, 1)
    clock.now += 2
    one = path(settled=settled)
    converge([one], asking(), as_wanted)
    assert (one.change, one.converged, context.slowest) == ("", 0.0, 0.0)


# --- patience


def timeouts(path):
    return [series.timeout for series in path.vantage.asked]


def test_the_first_attempts_are_not_patient(path, clock):
    one = path(lambda _: [SILENT], settled=clock.now + 4)
    assert converge([one], asking(1.5), as_wanted, patient=False) == [one]
    found = timeouts(one)
    assert found[:4] == [IMPATIENT, 0.5, 1.0, 1.5]
    assert set(found[3:]) == {1.5}
    assert IMPATIENT == 0.25


def test_patience_is_never_more_than_was_asked_for(path, clock):
    one = path(lambda _: [SILENT], settled=clock.now + 2)
    converge([one], asking(0.25), as_wanted, patient=False)
    assert set(timeouts(one)) == {0.25}
    two = path(lambda _: [SILENT], settled=clock.now + 2)
    converge([two], asking(0.2), as_wanted, patient=False)
    assert set(timeouts(two)) == {0.2}


def test_who_was_as_patient_as_asked_for_was_in_no_hurry(path, clock):
    """An attempt that took until the end is the last one, then."""
    one = path(lambda series: replace(played(series, [SILENT]), seconds=2.0), settled=clock.now + 1)
    assert converge([one], asking(IMPATIENT), as_wanted, patient=False) == [one]
    assert one.attempts == 1


def test_the_patient_are_patient_at_once(path, clock):
    one = path(lambda _: [SILENT], settled=clock.now + 4)
    converge([one], asking(1.5), as_wanted)
    assert set(timeouts(one)) == {1.5}


def test_an_only_attempt_is_patient(path):
    one = path(lambda _: [SILENT])
    converge([one], asking(1.5), as_wanted, patient=False)
    assert timeouts(one) == [1.5]


def test_the_last_attempt_is_patient(path, clock):
    """The first may take 0.25 s; that it leaves none of the time is seen beforehand."""
    for left, expected in ((0.25, [1.5]), (0.26, [IMPATIENT, 1.5]), (0.7, [IMPATIENT, 1.5])):
        one = path(lambda _: [SILENT], settled=clock.now + left)
        converge([one], asking(1.5), as_wanted, patient=False)
        assert timeouts(one) == expected, left


def test_an_attempt_in_a_hurry_that_took_until_the_end_is_not_the_last(path, clock):
    """A busy machine: an attempt takes two seconds, while its time-out was a quarter."""

    def script(series):
        return replace(played(series, [SILENT if series.timeout < 1 else ok()]), seconds=2.0)

    one = path(script, settled=clock.now + 1)
    assert converge([one], asking(1.5), as_wanted, patient=False) == []
    assert timeouts(one) == [IMPATIENT, 1.5]
    # but a patient one is
    other = path(lambda series: replace(played(series, [SILENT]), seconds=2.0), settled=clock.now + 1)
    assert converge([other], asking(1.5), as_wanted, patient=False) == [other]
    assert timeouts(other) == [IMPATIENT, 1.5]


def test_who_was_in_a_hurry_tries_again_also_where_others_have_time(path, clock):
    """Only the paths that were in a hurry are tried beyond their time."""

    def slow(series):
        return replace(played(series, [SILENT]), seconds=2.0)

    hurried, patient = path(slow, settled=clock.now + 1), path(slow, settled=clock.now + 1, address=CONTROL)
    by = {id(hurried): 1.5, id(patient): 0.25}
    series = lambda one: Series("http", one.address.host, 80, timeout=by[id(one)])  # noqa: E731
    assert converge([hurried, patient], series, as_wanted, patient=False) == [hurried, patient]
    assert timeouts(hurried) == [IMPATIENT, 1.5]


def test_what_remains_of_an_expectations_time(clock):
    begun = clock.now
    clock.now += 2
    assert remaining(begun, None) is None
    assert [remaining(begun, within) for within in (5.0, 2.0, 1.0)] == pytest.approx([3.0, 0.0, 0.0])
