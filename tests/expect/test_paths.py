"""What expectations make of what they saw: counted, complete, and diagnosed at nobody's cost."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kubereach.expect import expect, verify
from kubereach.expect.flows import to_keep_reaching
from kubereach.expect.settle import checking, paths, settle
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.outcome import OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.tally import Tally, must_go_on
from kubereach.probe.path import Path
from kubereach.probe.running_series import RunningSeries

ADDRESS = Address("clusterip", "http", "10.96.0.1", 80)
NAME = "name.example."


def probes(outcome, count, *, every=0.0, seconds=0.01):
    answer = Answer(outcome, pod="a", nonce="0123456789abcdef", detail="10.96.0.1")
    return tuple(Probe(answer, seconds, 0, n * every) for n in range(count))


class Scripted:
    """A vantage whose prober gives `results(series)` at once."""

    kind, node, name, address, pod, namespace = "pod", "one", "pod@one", "10.0.0.1", "p", "n"
    resends_after = 5.0

    def __init__(self, context, results):
        self.context, self.results = context, results
        self.refusals = SimpleNamespace(take=lambda _: 0.0)

    def open(self):
        pass

    def submit(self, series):
        done = Future()
        done.set_result(SeriesResult(tuple(self.results(series)), 0.1))
        return done

    def collect(self, future, series, waited=0.0):
        return future.result()

    def ended(self, future, series, waited=0.0):
        return future.result()

    def run(self, series):
        return self.submit(series).result()

    def begin(self, series):
        return RunningSeries(lambda **_: None, self.submit(series), series, self)

    def is_own(self, answer):
        return True

    def second_opinion(self, url, timeout):
        return ""


@pytest.fixture
def scripted(context):
    from kubereach.probe import VantageGroup

    return lambda results: VantageGroup([Scripted(context, results)])


def counted(tally, call):
    with checking("demo.one", False, tally):
        return call()


# --- what is counted


def test_probes_are_counted_with_what_their_expectation_needs(scripted):
    tally = Tally()
    all_ok = scripted(lambda series: probes(OK, series.count))
    counted(tally, lambda: expect(all_ok).to_reach(ADDRESS))
    assert (tally.judged, tally.minimum) == (135, 135)
    counted(tally, lambda: verify(True, "a fact"))
    assert (tally.judged, tally.minimum) == (136, 136)


def test_outside_of_checks_nothing_is_counted():
    verify(True, "a fact")
    with pytest.raises(AssertionError, match="no fact"):
        verify(False, "no fact")


def test_a_check_that_was_given_up_expects_nothing_more(scripted):
    tally = Tally(abandoned="did not end within 1 s")
    with pytest.raises(CannotMeasure, match="did not end within 1 s"):
        counted(tally, lambda: paths(scripted(lambda _: ()).members, [ADDRESS]))
    with pytest.raises(CannotMeasure):
        counted(tally, must_go_on)
    must_go_on()


# --- series of no probes, or of too few

NOTHING = {
    "to_reach": lambda e: e.to_reach(ADDRESS),
    "to_reach, every": lambda e: e.to_reach(ADDRESS, backends={"a"}, every=True),
    "to_be_refused": lambda e: e.to_be_refused(ADDRESS, control=ADDRESS),
    "not_to_be_answered": lambda e: e.not_to_be_answered(ADDRESS, control=ADDRESS),
    "to_stick": lambda e: e.to_stick(ADDRESS),
    "to_resolve": lambda e: e.to_resolve(NAME, ["10.96.0.1"]),
    "not_to_resolve": lambda e: e.not_to_resolve(NAME, control=NAME),
    "not_to_know": lambda e: e.not_to_know(NAME),
    "to_find": lambda e: e.to_find(NAME),
    "to_take_a_burst": lambda e: e.to_take_a_burst(ADDRESS, count=5),
    "to_transfer": lambda e: e.to_transfer(ADDRESS, size=5),
    "to_carry": lambda e: e.to_carry(ADDRESS, size=5),
    "to_be_balanced": lambda e: e.to_be_balanced(ADDRESS, backends={"a"}),
    "to_report_source": lambda e: e.to_report_source(ADDRESS),
    "to_agree": lambda e: e.to_agree(ADDRESS),
    "to_signal": lambda e: e.to_signal(ADDRESS),
    "to_trust": lambda e: e.to_trust(ADDRESS, ca=""),
}


@pytest.mark.parametrize("expectation", NOTHING.values(), ids=NOTHING)
def test_where_nothing_was_probed_nothing_conforms(scripted, expectation):
    with pytest.raises(CannotMeasure, match=r"pod@one sent no probe to|the control just before"):
        expectation(expect(scripted(lambda _: ())))


def test_a_control_without_a_probe_is_none(scripted):
    silent = scripted(lambda series: () if OK in series.wanted else probes(TIMEOUT, series.count))
    with pytest.raises(CannotMeasure, match="sent no probe"):
        expect(silent).not_to_be_answered(ADDRESS, control=ADDRESS)


SHORT = {
    "to_reach": (OK, lambda e: e.to_reach(ADDRESS), "1 of at least 135"),
    "to_resolve": (OK, lambda e: e.to_resolve(NAME, ["10.96.0.1"]), "1 of at least 3"),
    "to_stick": (OK, lambda e: e.to_stick(ADDRESS), "1 of at least 50"),
    "to_carry": (OK, lambda e: e.to_carry(ADDRESS, size=5), "1 of at least 12"),
    "to_report_source": (OK, lambda e: e.to_report_source(ADDRESS), "1 of at least 12"),
    "to_signal": (OK, lambda e: e.to_signal(ADDRESS), "1 of at least 200"),
    "to_trust": (OK, lambda e: e.to_trust(ADDRESS, ca=""), "1 of at least 5"),
}


@pytest.mark.parametrize(("outcome", "expectation", "told"), SHORT.values(), ids=SHORT)
def test_a_series_that_ended_early_without_a_miss_is_none(scripted, outcome, expectation, told):
    with pytest.raises(CannotMeasure, match=told):
        expectation(expect(scripted(lambda _: probes(outcome, 1))))


@pytest.mark.parametrize("refused", [True, False])
def test_a_negative_of_too_few_probes_is_none(scripted, refused):
    few = scripted(lambda s: probes(OK, s.count) if OK in s.wanted else probes(REFUSED, 1))
    with pytest.raises(CannotMeasure, match=r"sent 1 of at least [24]"):
        if refused:
            expect(few).to_be_refused(ADDRESS, control=ADDRESS)
        else:
            expect(few).not_to_be_answered(ADDRESS, control=ADDRESS)


def test_a_failure_elsewhere_weighs_more_than_too_few_probes(context):
    vantage = Scripted(context, lambda _: ())
    short, failed = Path(vantage, ADDRESS), Path(vantage, ADDRESS)
    short.result, short.least = SeriesResult(probes(OK, 1), 0.1), 2
    failed.fail("an answer", "none")
    with pytest.raises(NotConforming):
        settle([short, failed])


# --- new connections all the time


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ((), "sent no probe"),
        (probes(OK, 1), "made no connection to"),
        (probes(OK, 3) + tuple(replace(p, at=0.6) for p in probes(OK, 40)), "made no connection to"),
        (probes(OK, 60, every=0.01, seconds=0.0), "made no connection to"),
    ],
    ids=["none", "only the first", "a pause within", "a pause at the end"],
)
def test_a_prober_without_a_turn_has_not_kept_reaching(scripted, context, made, told):
    context.settings = replace(context.settings, connect_timeout=0.1)
    (vantage,) = scripted(lambda _: made).members
    with pytest.raises(CannotMeasure, match=told), to_keep_reaching([vantage], ADDRESS, backends={"a"}):
        time.sleep(0.9)


def test_connections_that_take_long_are_no_pause(scripted, context):
    context.settings = replace(context.settings, connect_timeout=0.1)
    (vantage,) = scripted(lambda _: probes(OK, 12, every=0.05, seconds=0.3)).members
    tally = Tally()
    with checking("demo.one", False, tally), to_keep_reaching([vantage], ADDRESS, backends={"a"}):
        time.sleep(0.7)
    assert (tally.judged, tally.minimum) == (12, 8)


def test_what_was_lost_weighs_more_than_a_pause(scripted, context):
    context.settings = replace(context.settings, connect_timeout=0.1)
    (vantage,) = scripted(lambda _: probes(TIMEOUT, 1)).members
    with pytest.raises(NotConforming), to_keep_reaching([vantage], ADDRESS):
        time.sleep(0.5)


# --- diagnosis


def test_a_diagnosis_that_crashes_costs_only_itself(scripted, context, events):
    def examine(_):
        raise KeyError("podIP")

    context.examine = examine
    with pytest.raises(NotConforming) as error:
        expect(scripted(lambda series: probes(TIMEOUT, series.count))).to_reach(ADDRESS)
    (failure,) = error.value.failures
    assert failure.finding is None
    assert failure.evidence[-1] == "diagnosis failed: KeyError('podIP')"
    assert not events[-1].conforming


def test_a_diagnosis_that_cannot_be_made_says_why(scripted, context):
    def examine(_):
        raise CannotMeasure("the stream to pod@two broke", "Look at it.")

    context.examine = examine
    with pytest.raises(NotConforming) as error:
        expect(scripted(lambda series: probes(TIMEOUT, series.count))).to_reach(ADDRESS)
    assert error.value.failures[0].evidence[-1] == "diagnosis failed: the stream to pod@two broke"
