"""What an overloaded machine excuses of clients that must stay with one endpoint, and of health checks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from staged import ADDRESS, Staged, ok, played

from kubereach.errors import NotConforming
from kubereach.expect import affinity, health
from kubereach.expect.misses import LOST, SPREAD, STATUS
from kubereach.lateness import Lateness
from kubereach.outcome import OK, TIMEOUT, Answer

SILENT = Answer(TIMEOUT)


@pytest.fixture
def late(context, clock):
    """A vantage whose timers were a second late, and which says so of each miss, with the answers of each series."""
    context.lateness = Lateness()

    def make(*turns):
        left = iter(turns)
        last = [None]

        def script(series):
            last[0] = next(left, last[0])
            result = played(series, last[0])
            probes = tuple(replace(p, late=0.0 if p.answer.outcome == OK else 1.0) for p in result.probes)
            result = replace(result, probes=probes, late=1.0)
            context.lateness.note("pod@one", result)
            return result

        return Staged(context, clock, script)

    return make


def stick(vantage, kept=None):
    return affinity.stick([vantage], [ADDRESS], 5, 0.0, kept)


def misses(call):
    with pytest.raises(NotConforming) as error:
        call()
    return [failure.miss for failure in error.value.failures]


BEFORE = {("pod@one", str(ADDRESS)): "a"}


@pytest.mark.parametrize("kept", [None, BEFORE])
def test_what_a_late_machine_lost_of_a_client_is_measured_again(late, kept):
    vantage = late([ok("a"), SILENT, ok("a")], [ok("a")])
    assert stick(vantage, kept) == BEFORE
    assert len(vantage.asked) == 3


@pytest.mark.parametrize(
    ("answers", "kept"),
    [([ok("a"), SILENT, ok("b"), ok("a")], None), ([ok("b"), SILENT, ok("b")], BEFORE)],
)
def test_another_endpoint_is_no_late_machines_doing(late, answers, kept):
    vantage = late(answers, [ok("a")])
    assert misses(lambda: stick(vantage, kept)) == [SPREAD]
    assert len(vantage.asked) == 1


def test_a_client_that_lost_answers_has_lost_them(late, context):
    context.lateness = Lateness()
    vantage = late([ok("a"), SILENT, ok("a")])
    vantage.script = lambda series: played(series, [ok("a"), SILENT, ok("a")])
    assert misses(lambda: stick(vantage)) == [LOST]


GOOD, BAD = Answer(OK, detail="200"), Answer(OK, detail="503")


def test_what_a_late_machine_lost_of_a_health_check_is_measured_again(late):
    vantage = late([GOOD], [GOOD, SILENT, GOOD], [GOOD])
    health.told([vantage], [ADDRESS], [ADDRESS.host])


def test_a_wrong_status_is_no_late_machines_doing(late):
    vantage = late([GOOD], [GOOD, SILENT, BAD], [GOOD])
    assert misses(lambda: health.told([vantage], [ADDRESS], [ADDRESS.host])) == [STATUS]
    assert len(vantage.asked) == 2
