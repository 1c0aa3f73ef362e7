"""A failure that is proved is one, whatever could not be measured beside it; both are told."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace

import pytest
from staged import ADDRESS, CONTROL, Staged, noting, ok, played

from kubereach.expect import affinity, flows, health, load, reach, signals, sources
from kubereach.expect.negative import negative, not_to_be_answered, to_be_refused
from kubereach.expect.overload import overloaded
from kubereach.expect.resolver import not_to_resolve, to_resolve
from kubereach.expect.settle import measurable, settle, was_measured
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.model.events import Note, Probed
from kubereach.model.lateness import Lateness
from kubereach.model.misses import ANSWERED, BACKENDS, LOST, RECORDS, SPREAD
from kubereach.model.outcome import (
    LOCAL,
    NXDOMAIN,
    OK,
    REFUSED,
    TIMEOUT,
    UNREACHABLE,
    Answer,
    Probe,
    SeriesResult,
)
from kubereach.probe.path import Path
from kubereach.probe.running_series import RunningSeries
from kubereach.probe.vantage import OUTSIDE, StreamBroke

LACKING = Answer(LOCAL, detail="no local port")
SILENT = Answer(TIMEOUT)
NAME = "web.shop.svc.cluster.local."
HOLDS = {
    "to_reach": lambda who: reach.to_reach(who, ADDRESS),
    "to_stick": lambda who: affinity.to_stick(who, ADDRESS, count=5),
    "to_signal": lambda who: signals.to_signal(who, ADDRESS),
    "to_report_source": lambda who: sources.to_report_source(who, ADDRESS),
    "to_transfer": lambda who: load.to_transfer(who, ADDRESS, size=5),
    "to_carry": lambda who: load.to_carry(who, ADDRESS, size=5),
    "to_get_health_checks": lambda who: health.statuses(who, [ADDRESS], {ADDRESS.host}),
    "to_resolve": lambda who: to_resolve(who, NAME, ["10.96.0.1"]),
    "not_to_be_answered": lambda who: negative(
        who, [ADDRESS], frozenset({TIMEOUT, UNREACHABLE}), [CONTROL], None
    ),
    "to_be_refused": lambda who: to_be_refused(who, ADDRESS, control=CONTROL),
}


@pytest.fixture
def two(context, clock):
    """Vantages on nodes one and two, with what their probes meet."""

    def make(first, second):
        def meets(answers):
            def script(series):
                return [ok()] if series.host == CONTROL.host else answers

            return script

        return [Staged(context, clock, meets(a), node=node) for node, a in (("one", first), ("two", second))]

    return make


def fails(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


def texts(events):
    return [event.text for event in events if isinstance(event, Note)]


@pytest.mark.parametrize("expectation", HOLDS.values(), ids=HOLDS)
def test_who_could_not_probe_hides_no_failure_of_another(two, events, expectation):
    answers_alone = expectation in (HOLDS["not_to_be_answered"],)
    missing = ok("b") if answers_alone else SILENT
    failures = fails(lambda: expectation(two([LACKING], [missing])))
    assert {failure.vantage for failure in failures} == {"pod@two"}
    (told,) = [text for text in texts(events) if text.startswith("also not measured: ")]
    assert "pod@one could not probe" in told and "no local port" in told
    probed = {event.vantage: event.conforming for event in events if isinstance(event, Probed)}
    assert probed == {"pod@one": False, "pod@two": False}


@pytest.mark.parametrize("expectation", HOLDS.values(), ids=HOLDS)
def test_where_nothing_is_proved_it_is_an_error(two, expectation):
    with pytest.raises(CannotMeasure, match="pod@one could not probe"):
        expectation(two([LACKING], [LACKING]))


def test_a_wrong_answer_is_wrong_though_another_probe_could_not_be_made(two):
    here = two([ok("b"), LACKING, ok("a")], [ok("a")])
    (failure,) = fails(lambda: reach.to_reach(here, ADDRESS, backends={"a"}))
    assert (failure.vantage, failure.miss) == ("pod@one", BACKENDS)
    here = two([LACKING, ok("a"), ok("b")], [ok("a")])
    (failure,) = fails(lambda: affinity.to_stick(here, ADDRESS, count=3))
    assert (failure.vantage, failure.miss) == ("pod@one", SPREAD)
    silence = frozenset({TIMEOUT, UNREACHABLE})
    here = two([LACKING, ok("a")], [SILENT])
    (failure,) = fails(lambda: negative(here, [ADDRESS], silence, [CONTROL], None))
    assert (failure.vantage, failure.miss) == ("pod@one", ANSWERED)
    assert "answered by pod a" in failure.evidence[0]
    here = two([LACKING, Answer(OK, detail="10.96.0.9")], [Answer(OK, detail="10.96.0.1")])
    (failure,) = fails(lambda: to_resolve(here, NAME, ["10.96.0.1"]))
    assert (failure.vantage, failure.miss, failure.got) == ("pod@one", RECORDS, "10.96.0.9")


def test_an_answer_weighs_more_than_the_silence_beside_it(two):
    """Where a refusal was expected; and one that came with an outcome that says nothing of the address."""
    for beside in (SILENT, Answer(NXDOMAIN)):
        (failure,) = fails(
            lambda beside=beside: negative(
                two([beside, ok()], [Answer(REFUSED)]), [ADDRESS], None, [CONTROL], None
            )
        )
        assert (failure.vantage, failure.miss) == ("pod@one", ANSWERED)


def test_what_cannot_be_tried_hides_no_answer_elsewhere(two, events):
    here = two([Answer(NXDOMAIN)], [ok()])
    (failure,) = fails(lambda: negative(here, [ADDRESS], None, [CONTROL], None))
    assert failure.vantage == "pod@two"
    assert any("pod@one could not probe" in text for text in texts(events))
    with pytest.raises(CannotMeasure, match="pod@one could not probe"):
        negative(two([Answer(NXDOMAIN)], [Answer(REFUSED)]), [ADDRESS], None, [CONTROL], None)


def test_a_wrong_record_is_wrong_beside_a_time_out_of_a_late_machine(context, clock):
    context.lateness = Lateness()
    wrong = Answer(OK, detail="10.96.0.9")
    who = Staged(context, clock, noting(context, [SILENT, wrong, wrong]))
    (failure,) = fails(lambda: to_resolve([who], NAME, ["10.96.0.1"]))
    assert (failure.miss, failure.got) == (RECORDS, "10.96.0.9")
    # with nothing but time-outs it is the machine's
    with pytest.raises(CannotMeasure, match="timers of pod@one fired"):
        to_resolve([Staged(context, clock, noting(context, [SILENT]))], NAME, ["10.96.0.1"])


def test_a_name_that_is_found_is_a_failure_though_the_control_fails_afterwards(context, clock, events):
    control = iter([[Answer(OK, detail="10.96.0.9")], [SILENT]])
    found = [SILENT, Answer(OK, detail="10.96.0.1")]
    who = Staged(context, clock, lambda series: next(control) if series.host == "control." else found)
    (failure,) = fails(lambda: not_to_resolve([who], NAME, control="control."))
    assert (failure.miss, failure.evidence) == (RECORDS, ("it resolves to 10.96.0.1",))
    assert any("the control just after failed" in text for text in texts(events))
    # silence proves nothing without one
    control = iter([[Answer(OK, detail="10.96.0.9")], [SILENT]])
    who = Staged(context, clock, lambda series: next(control) if series.host == "control." else [SILENT])
    with pytest.raises(CannotMeasure, match="the control just after failed"):
        not_to_resolve([who], NAME, control="control.")


def test_an_open_flow_that_went_astray_is_not_excused(context, clock):
    """Some pings were lost on a late machine; that others were answered by a stranger is not its fault."""
    context.lateness = Lateness()
    probes = tuple(Probe(answer, 0.5, 0, n, 1.0) for n, answer in enumerate((ok("a"), SILENT, ok("b"))))
    result = SeriesResult(probes, 3.0, late=1.0)
    path = Path(Staged(context, clock, lambda _: result), replace(ADDRESS, kind="udp"), result)
    context.lateness.note("pod@one", result)
    path.fail("every ping answered by a", "1 by b", miss=flows.FLOW)
    assert overloaded(path)
    path.astray = True
    assert not overloaded(path)


def test_what_keeps_a_path_from_being_measured_is_kept(context, clock):
    def path(*answers, **more):
        result = SeriesResult(tuple(Probe(answer, 0.01) for answer in answers), 0.1)
        return Path(Staged(context, clock, lambda _: result), replace(ADDRESS, **more), result)

    good, bad = path(ok()), path(LACKING)
    assert was_measured(good)
    assert good.unmeasured is None
    assert not was_measured(bad)
    no_sctp = path(Answer(LOCAL, detail="socket(): Protocol not supported"), kind="sctp")
    assert not was_measured(no_sctp)
    with pytest.raises(CannotMeasure, match="no local port"):
        settle([good, bad, no_sctp])
    with pytest.raises(Unsupported, match="lacks SCTP"):
        settle([good, no_sctp])
    good.fail("an answer", "none", miss=LOST)
    assert len(fails(lambda: settle([no_sctp, good, bad]))) == 1
    # of several reasons the first is told
    first = bad.unmeasured
    bad.result = no_sctp.result
    assert not was_measured(bad)
    assert first is not None
    assert bad.unmeasured is first


def test_what_could_not_be_measured_was_no_answer_for_later_and_is_asked_of_nobody_else(context, clock):
    """It is not remembered as a path that was as expected, and no ordinary client has to get through."""

    def reached(*answers):
        who = Staged(context, clock, lambda _: list(answers), kind=OUTSIDE)
        who.opinion = "refused"
        return who

    lacking = reached(ok("a"), LACKING)
    with pytest.raises(CannotMeasure, match="no local port"):
        reach.to_reach([lacking], ADDRESS)
    assert (context.answered, lacking.opinions) == ({}, [])
    good = reached(ok("a"))
    assert len(fails(lambda: reach.to_reach([good], ADDRESS))) == 1
    assert len(context.answered) == len(good.opinions) == 1


@pytest.mark.parametrize(
    ("answers", "tries"), [([SILENT], 2), ([SILENT, LACKING], 1)], ids=["silent", "partly silent"]
)
def test_only_what_could_be_measured_is_tried_again_with_patience(context, clock, answers, tries):
    """A backend was later than the silence that was waited for."""
    context.lateness = Lateness()
    context.settings = replace(context.settings, connect_timeout=2.0)

    def script(series):
        if series.host == CONTROL.host:
            return [ok()]
        context.lateness.note("pod@one", SeriesResult((), 0.0, backend_late=0.9))
        return answers

    who = Staged(context, clock, script)
    with pytest.raises(CannotMeasure, match="no local port") if LACKING in answers else nullcontext():
        not_to_be_answered([who], ADDRESS, control=CONTROL)
    asked = [series.timeout for series in who.asked if series.host == ADDRESS.host]
    assert asked == [0.5, 2.0][:tries]


# --- streams that break


class Cut(Staged):
    """A vantage whose stream breaks with each series."""

    def submit(self, series):
        super().submit(series)
        raise StreamBroke(f"the stream to {self.name} broke: reset")

    def begin(self, series):
        broken = Future()
        broken.set_exception(StreamBroke(f"the stream to {self.name} broke: reset"))
        return RunningSeries(lambda **_: None, broken, series, self)

    def ended(self, future, series, waited=0.0):
        return future.result()


class Going(Staged):
    """A vantage whose series that go on are over when they are stopped."""

    def begin(self, series):
        done = Future()
        done.set_result(played(replace(series, count=3), self.script(series)))
        return RunningSeries(lambda **_: None, done, series, self)

    def ended(self, future, series, waited=0.0):
        return future.result()


@pytest.mark.parametrize("name", HOLDS)
def test_a_stream_that_breaks_hides_no_failure_of_another(two, context, clock, events, name):
    _, other = two([SILENT], [ok("b") if name == "not_to_be_answered" else SILENT])
    cut = Cut(context, clock, lambda _: [ok()])
    # a control has to be there from everywhere
    cut.submit = lambda series: (
        Staged.submit(cut, series) if series.host == CONTROL.host else Cut.submit(cut, series)
    )
    failures = fails(lambda: HOLDS[name]([cut, other]))
    assert {failure.vantage for failure in failures} == {"pod@two"}
    assert any("the stream to pod@one broke" in text for text in texts(events))
    with pytest.raises(StreamBroke, match="the stream to pod@one broke"):
        HOLDS[name]([cut])


def test_a_stream_that_breaks_while_something_is_changed_hides_no_failure(context, clock, events):
    cut, losing = Cut(context, clock, lambda _: []), Going(context, clock, lambda _: [SILENT], node="two")
    with pytest.raises(NotConforming) as error, flows.to_keep_reaching([cut, losing], ADDRESS):
        pass
    assert {failure.vantage for failure in error.value.failures} == {"pod@two"}
    assert any("the stream to pod@one broke" in text for text in texts(events))
    with pytest.raises(StreamBroke), flows.to_keep_reaching([cut], ADDRESS):
        pass


@pytest.mark.parametrize("going_on", [flows.to_keep_reaching, flows.flow])
def test_a_stream_that_breaks_hides_no_failure_of_what_is_done_meanwhile(context, clock, going_on):
    cut = Cut(context, clock, lambda _: [])
    address = replace(ADDRESS, kind="tcp")
    with pytest.raises(NotConforming, match="lost"), going_on([cut], address):
        raise NotConforming([Failure("pod@one", "there", "an answer", "lost")])


def test_what_concerns_all_streams_is_raised_at_once(context, clock):
    over = Staged(context, clock, lambda _: [SILENT])

    def submit(_):
        raise CannotMeasure("the run is over")

    over.submit = submit
    with pytest.raises(CannotMeasure, match="the run is over"):
        reach.to_reach([over, Staged(context, clock, lambda _: [SILENT], node="two")], ADDRESS)


def test_a_lost_series_is_like_no_other():
    lost = SeriesResult.lost(CannotMeasure("no stream"))
    assert (lost.outcomes, lost.backends, lost.latencies) == ({LOCAL: 1}, {}, ())
    with pytest.raises(CannotMeasure, match="no stream"):
        measurable(Path(None, ADDRESS, lost))


def test_a_path_is_tried_by_a_few_probes_before_it_is_held(context, clock):
    one = Staged(context, clock, lambda _: [ok()])
    reach.to_reach([one], replace(ADDRESS, settled=clock.now + 9))
    first, *_ = one.asked
    assert first.count == reach.CONVERGED


def test_nobody_answers_where_nobody_must(context, clock):
    def meets(*answers):
        return Staged(context, clock, lambda s: [ok()] if s.host == CONTROL.host else list(answers))

    for answer in (REFUSED, TIMEOUT, UNREACHABLE):
        not_to_be_answered([meets(Answer(answer))], ADDRESS, control=CONTROL)
    (failure,) = fails(lambda: not_to_be_answered([meets(ok())], ADDRESS, control=CONTROL))
    assert failure.miss == ANSWERED
