"""What pytest's phases of a test mean for the check's verdict, its report and its events."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubereach.expect.settle import current_check, informing
from kubereach.model.check import ATTRIBUTE, CORE, INFO, Check
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.model.events import Bus, CheckFinished, CheckStarted
from kubereach.model.features import FeatureState
from kubereach.model.tally import current_tally
from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED, Verdict
from kubereach.probe import suspension
from kubereach.run import runner as run_runner
from kubereach.run.parallel import SECONDS, tally_of
from kubereach.run.runner import CheckRunner

FILE = Path("test_demo.py")
FAILURE = Failure("pod@one", "clusterip", "an answer", "none")
MISSED = NotConforming([FAILURE])
PRESENT, ABSENT = FeatureState(True, "seen"), FeatureState(False, "no node has it")
OPEN = FeatureState(True, "its use decides", False)


def item_of(level=CORE, needs=(), minimum=1, id="demo.one", case="", is_check=True):
    def function():
        pass

    if is_check:
        found = Check(id, level, needs, "https://x", "It works.", "", FILE, minimum=minimum)
        setattr(function, ATTRIBUTE, found)
    item = SimpleNamespace(
        obj=function, stash=pytest.Stash(), user_properties=[], repr_failure="pytest's own"
    )
    if case:
        item.callspec = SimpleNamespace(id=case)
    return item


@pytest.fixture
def seen():
    return []


@pytest.fixture
def runner(seen):
    bus = Bus()
    bus.subscribe(seen.append)
    return CheckRunner(bus, frozenset())


def ended(generator, value):
    """What a generator returns that is sent `value` where it waits."""
    with pytest.raises(StopIteration) as stop:
        generator.send(value)
    return stop.value.value


def phase(runner, item, when, error=None):
    """The report of one phase, which raised `error`."""
    outcome = (
        "passed" if error is None else "skipped" if isinstance(error, pytest.skip.Exception) else "failed"
    )
    longrepr = None if error is None else "a traceback"
    if error is not None and error.__traceback__ is None:
        with contextlib.suppress(BaseException):
            raise error
    report = SimpleNamespace(
        outcome=outcome, longrepr=longrepr, location=("x", 7, "test"), user_properties=[]
    )
    call = SimpleNamespace(when=when, excinfo=None if error is None else SimpleNamespace(value=error))
    making = runner.pytest_runtest_makereport(item, call)
    next(making)
    assert ended(making, report) is report
    return report


def run(runner, item, judged=(1, 1), **errors):
    """The reports of a check whose phases raise `errors`."""
    protocol = runner.pytest_runtest_protocol(item)
    next(protocol)
    reports = {}
    reports["setup"] = phase(runner, item, "setup", errors.get("setup"))
    if "setup" not in errors and errors.get("call") != "left out":
        tally_of(item).add(*judged)
        reports["call"] = phase(runner, item, "call", errors.get("call"))
    reports["teardown"] = phase(runner, item, "teardown", errors.get("teardown"))
    assert ended(protocol, "handled") == "handled"
    return reports


def verdict_of(runner, item, **more):
    reports = run(runner, item, **more)
    ((_, verdict),) = runner.finished
    assert ("verdict", verdict.word) in reports["teardown"].user_properties
    return verdict


# --- verdicts


def test_a_check_that_judged_enough_passes(runner, seen):
    item = item_of(case="IPv4", minimum=2)
    reports = run(runner, item, judged=(3, 3))
    assert runner.finished == [(item.obj.__kubereach_check__, Verdict(PASS))]
    assert [report.outcome for report in reports.values()] == ["passed"] * 3
    assert [report.longrepr for report in reports.values()] == [None] * 3
    assert reports["teardown"].user_properties == [("verdict", PASS)]
    assert reports["call"].user_properties == []
    assert item.user_properties == [("check", "demo.one"), ("level", CORE), ("requirement", "It works.")]
    began, finished = seen
    assert isinstance(began, CheckStarted)
    assert (began.id, began.case) == ("demo.one", "IPv4")
    assert isinstance(finished, CheckFinished)
    assert (finished.id, finished.case, finished.verdict, finished.message) == ("demo.one", "IPv4", PASS, "")
    assert (finished.judged, finished.minimum) == (3, 3)
    assert 0 <= finished.seconds < 60


def test_the_greater_minimum_counts(runner, seen):
    item = item_of(minimum=2)
    verdict = verdict_of(runner, item, judged=(1, 1))
    assert verdict.word == ERROR
    assert verdict.message.startswith("the check compared 1 of at least 2")
    assert (seen[-1].judged, seen[-1].minimum) == (1, 2)


def test_what_its_expectations_need_is_a_minimum_too(runner, seen):
    assert verdict_of(runner, item_of(), judged=(1, 2)).word == ERROR
    assert (seen[-1].judged, seen[-1].minimum) == (1, 2)


def test_a_check_that_judged_nothing_fails_in_pytests_eyes(runner):
    reports = run(runner, item_of(), judged=(0, 0))
    assert (reports["setup"].outcome, reports["call"].outcome) == ("passed", "failed")
    assert "compared no probe" in reports["call"].longrepr
    assert reports["teardown"].outcome == "passed"  # told once


def test_a_body_that_was_left_out_has_not_passed(runner):
    reports = run(runner, item_of(), call="left out")
    (verdict,) = (verdict for _, verdict in runner.finished)
    assert (verdict.word, verdict.exit_code) == (ERROR, 3)
    assert verdict.message.startswith("the test function did not run")
    assert reports["teardown"].outcome == "failed"
    assert reports["teardown"].user_properties == [("verdict", ERROR)]


def test_a_check_is_judged_by_itself_alone(runner):
    run(runner, item_of(), call=MISSED)
    run(runner, item_of())
    run(runner, item_of(), call="left out")
    assert [verdict.word for _, verdict in runner.finished] == [FAIL, PASS, ERROR]


@pytest.mark.parametrize(
    ("errors", "word"),
    [
        ({"call": MISSED}, FAIL),
        ({"call": MISSED, "teardown": RuntimeError("no way back")}, FAIL),
        ({"call": CannotMeasure("no exec")}, ERROR),
        ({"call": CannotMeasure("no exec"), "teardown": CannotMeasure("no way back")}, ERROR),
        ({"call": Unsupported("not here")}, UNSUPPORTED),
        ({"call": Unsupported("not here"), "teardown": RuntimeError("no way back")}, ERROR),
        ({"teardown": RuntimeError("no way back")}, ERROR),
        ({"setup": AssertionError("nothing was tested")}, ERROR),
        ({"setup": Unsupported("not here")}, UNSUPPORTED),
        ({"setup": pytest.skip.Exception("not today")}, ERROR),
        ({"call": pytest.skip.Exception("not today")}, ERROR),
        ({"call": pytest.fail.Exception("it does not")}, FAIL),
        ({"setup": pytest.fail.Exception("it does not")}, ERROR),
        ({"call": ValueError("odd")}, ERROR),
    ],
)
def test_the_worst_of_the_phases_counts(runner, errors, word):
    assert verdict_of(runner, item_of(), **errors).word == word


def test_the_first_of_what_is_equally_bad_is_told(runner):
    errors = {"call": CannotMeasure("no exec"), "teardown": CannotMeasure("no way back")}
    assert verdict_of(runner, item_of(), **errors).message == "no exec"


def test_a_failure_is_told_in_words(runner, seen):
    item = item_of()
    reports = run(runner, item, call=MISSED)
    assert reports["call"].outcome == "failed"
    assert "got      none" in reports["call"].longrepr
    assert item.repr_failure(SimpleNamespace(value=MISSED)) == str(MISSED)
    assert seen[-1].failures == (FAILURE,)
    assert seen[-1].message == str(MISSED)
    assert seen[-1].defect is None


def test_what_nobody_expected_keeps_its_traceback(runner):
    item = item_of()
    reports = run(runner, item, call=ValueError("odd"))
    assert (reports["call"].outcome, reports["call"].longrepr) == ("failed", "a traceback")
    assert item.repr_failure == "pytest's own"
    known = item_of()
    assert "no exec" in run(runner, known, call=CannotMeasure("no exec"))["call"].longrepr
    assert known.repr_failure != "pytest's own"


def test_what_pytest_fails_is_an_assertion_with_its_place(runner):
    try:
        pytest.fail("")
    except pytest.fail.Exception as error:
        verdict = verdict_of(runner, item_of(), call=error)
    assert verdict.word == FAIL
    assert "outcomes.py:" in verdict.message or "test_running.py:" in verdict.message


def test_what_is_unsupported_is_skipped_in_pytests_eyes(runner):
    reports = run(runner, item_of(), call=Unsupported("not here"))
    assert reports["call"].outcome == "skipped"
    assert reports["call"].longrepr == ("test_demo.py", 7, "unsupported: not here")


def test_a_line_that_is_not_known_is_the_first():
    report = SimpleNamespace(location=("x", None, "test"))
    check = item_of().obj.__kubereach_check__
    run_runner._rewrite(report, check, Verdict(UNSUPPORTED, "not here"))
    assert report.longrepr[1] == 0
    informs = item_of(INFO).obj.__kubereach_check__
    run_runner._rewrite(report, informs, Verdict(ERROR, "no exec"))
    assert report.longrepr[1] == 0


def test_who_skips_has_not_asked_the_cluster(runner):
    reports = run(runner, item_of(), call=pytest.skip.Exception("not today"))
    assert reports["call"].outcome == "failed"
    assert "did not run (skipped: not today)" in reports["call"].longrepr
    ((_, verdict),) = runner.finished
    assert (verdict.word, verdict.exit_code) == (ERROR, 3)
    assert verdict.message == "did not run (skipped: not today)"
    reports = run(runner, item_of(INFO), setup=pytest.skip.Exception("not today"))
    assert reports["setup"].outcome == "skipped"
    assert runner.finished[-1][1].word == ERROR


# --- checks that inform


def test_what_informs_fails_nothing_in_pytests_eyes(runner):
    item = item_of(INFO)
    reports = run(runner, item, call=MISSED)
    assert (reports["call"].outcome, reports["call"].longrepr) == ("passed", None)
    ((_, verdict),) = runner.finished
    assert (verdict.word, verdict.exit_code) == (NOTED, 0)
    reports = run(runner, item_of(INFO), call=CannotMeasure("no exec"))
    assert reports["call"].outcome == "skipped"
    assert reports["call"].longrepr == ("test_demo.py", 7, "not measured: no exec")


def test_what_informs_fails_nothing_twice(runner):
    """The same error in the call and when it is taken down."""
    errors = {"call": CannotMeasure("no exec"), "teardown": CannotMeasure("no exec")}
    reports = run(runner, item_of(INFO), **errors)
    assert [report.outcome for report in reports.values()] == ["passed", "skipped", "skipped"]
    reports = run(runner, item_of(), **errors)
    assert [report.outcome for report in reports.values()] == ["passed", "failed", "failed"]
    assert "a traceback" not in reports["teardown"].longrepr


def test_a_known_defect_is_named_where_something_failed(runner, seen):
    runner.version = "v1.36.2"
    known = "endpoints.udp-after-scale-to-zero"
    run(runner, item_of(INFO, id=known), call=MISSED)
    run(runner, item_of(id=known), call=MISSED)
    run(runner, item_of(INFO, id=known), call=CannotMeasure("no exec"))
    run(runner, item_of(id="demo.other"), call=MISSED)
    defects = [event.defect for event in seen if isinstance(event, CheckFinished)]
    assert [defect is not None for defect in defects] == [True, True, False, False]


# --- while it runs


def test_what_is_expected_meanwhile_is_the_checks(runner):
    for level in (CORE, INFO):
        item = item_of(level)
        protocol = runner.pytest_runtest_protocol(item)
        next(protocol)
        assert (current_check.get(), informing.get()) == ("demo.one", level == INFO)
        assert current_tally.get() is tally_of(item)
        ended(protocol, None)
        assert (current_check.get(), current_tally.get()) == ("", None)


def test_seconds_are_those_of_its_work_where_a_thread_did_it(runner, seen, clock):
    for threaded in (False, True):
        item = item_of()
        protocol = runner.pytest_runtest_protocol(item)
        next(protocol)
        if threaded:
            item.stash[SECONDS] = 7.0
        clock.now += 2.0
        ended(protocol, None)
    seconds = [event.seconds for event in seen if isinstance(event, CheckFinished)]
    assert seconds == pytest.approx([2.0, 7.0])


def interrupted(runner, item, *phases):
    protocol = runner.pytest_runtest_protocol(item)
    next(protocol)
    for when, error in phases:
        tally_of(item).add(1, 1)
        phase(runner, item, when, error)
    with pytest.raises(KeyboardInterrupt):
        protocol.throw(KeyboardInterrupt)
    return runner.finished[-1][1]


def test_an_interrupted_check_has_not_passed(runner):
    assert interrupted(runner, item_of()) == Verdict(ERROR, "interrupted", exit_code=3)
    done = (("setup", None), ("call", None))
    assert interrupted(runner, item_of(), *done).word == ERROR
    # what was judged before stands
    assert interrupted(runner, item_of(), ("setup", None), ("call", MISSED)).word == FAIL


def test_a_failure_while_the_machine_slept_is_none(runner, monkeypatch):
    moments = []
    monkeypatch.setattr(suspension.WATCH, "excuse", lambda begun: moments.append(begun) or "it slept")
    began = suspension.now()
    verdict = verdict_of(runner, item_of(), call=MISSED)
    assert (verdict.word, verdict.message.partition(" during")[0]) == (ERROR, "it slept")
    assert moments[0].running >= began.running


# --- other tests


def test_tests_that_are_no_checks_are_left_alone(runner, seen):
    item = item_of(is_check=False)
    protocol = runner.pytest_runtest_protocol(item)
    next(protocol)
    report = phase(runner, item, "call", MISSED)
    assert (report.outcome, report.longrepr, report.user_properties) == ("failed", "a traceback", [])
    assert ended(protocol, "handled") == "handled"
    assert item.repr_failure == "pytest's own"
    assert not runner.wants(item)
    runner.refusal = CannotMeasure("no world")
    runner.pytest_runtest_setup(item)
    assert (seen, runner.finished, item.user_properties) == ([], [], [])
    assert not runner.wants(item)


# --- features


def test_what_is_needed_and_absent_is_unsupported(runner):
    runner.features = {"sctp": PRESENT, "dual-stack": ABSENT}
    runner.pytest_runtest_setup(item_of(needs=("sctp",)))
    runner.pytest_runtest_setup(item_of(needs=("unknown",)))
    with pytest.raises(Unsupported, match="dual-stack: no node has it") as error:
        runner.pytest_runtest_setup(item_of(needs=("sctp", "dual-stack")))
    assert error.value.feature == "dual-stack"


def test_of_several_absent_features_the_required_one_is_named(runner):
    runner.features = {"sctp": ABSENT, "dual-stack": ABSENT}
    needs = ("sctp", "dual-stack")
    for required, named in (((), "sctp"), (("dual-stack",), "dual-stack"), (("outside",), "sctp")):
        runner.required = frozenset(required)
        with pytest.raises(Unsupported) as error:
            runner.pytest_runtest_setup(item_of(needs=needs))
        assert error.value.feature == named


def test_what_has_begun_is_not_withdrawn(runner):
    runner.features = {"sctp": ABSENT}
    runner.withdraw = lambda _: False
    runner.pytest_runtest_setup(item_of(needs=("sctp",)))


def test_what_is_there_is_not_withdrawn(runner):
    withdrawn = []
    runner.withdraw = lambda item: withdrawn.append(item) or True
    runner.pytest_runtest_setup(item_of(needs=("sctp",)))
    assert not withdrawn


def test_a_run_that_is_refused_refuses_each_check(runner):
    runner.refusal = CannotMeasure("no world")
    with pytest.raises(CannotMeasure, match="no world"):
        runner.pytest_runtest_setup(item_of())
    assert not runner.wants(item_of())


def test_what_is_wanted(runner):
    runner.features = {"sctp": PRESENT, "dual-stack": ABSENT}
    assert runner.wants(item_of())
    assert runner.wants(item_of(needs=("sctp", "unknown")))
    assert not runner.wants(item_of(needs=("sctp", "dual-stack")))


def test_what_is_required_and_missing(runner):
    runner.features = {"sctp": PRESENT, "dual-stack": ABSENT, "outside": ABSENT}
    assert runner.missing == {}
    runner.required = frozenset({"sctp", "dual-stack", "unknown"})
    assert runner.missing == {"dual-stack": "no node has it"}


def test_what_is_required_and_not_found_out(runner):
    runner.features = {"sctp": OPEN, "outside": PRESENT, "dual-stack": ABSENT, "loadbalancer": OPEN}
    assert runner.undecided == ()
    runner.required = frozenset({"sctp", "outside", "dual-stack", "loadbalancer", "unknown"})
    assert runner.undecided == ("loadbalancer", "sctp", "unknown")
    run(runner, item_of(needs=("sctp",)), call=CannotMeasure("no exec"))
    assert runner.undecided == ("loadbalancer", "sctp", "unknown")
    run(runner, item_of(needs=("sctp",)))
    assert runner.undecided == ("loadbalancer", "unknown")
    run(runner, item_of(INFO, needs=("loadbalancer",)), call=Unsupported("none", feature="loadbalancer"))
    assert runner.undecided == ("unknown",)


def test_a_required_feature_that_is_absent_fails_its_check(runner):
    runner.required = frozenset({"sctp"})
    error = Unsupported("no node has it", feature="sctp")
    assert verdict_of(runner, item_of(needs=("sctp",)), setup=error).word == FAIL
    assert (
        run(runner, item_of(), call=Unsupported("not here", feature="outside"))["call"].outcome == "skipped"
    )


@pytest.mark.parametrize(
    ("finding", "error", "absent"),
    [
        (OPEN, Unsupported("no socket", feature="sctp"), True),
        (OPEN, Unsupported("no socket"), False),
        (OPEN, Unsupported("no socket", feature="outside"), False),
        (OPEN, CannotMeasure("no exec"), False),
        (PRESENT, Unsupported("no socket", feature="sctp"), False),
    ],
)
def test_only_what_an_error_names_is_learnt(runner, finding, error, absent):
    runner.features = {"sctp": finding}
    run(runner, item_of(), call=error)
    expected = FeatureState(False, "no socket") if absent else finding
    assert runner.features == {"sctp": expected}
    assert runner.features["sctp"].decided is (absent or finding.decided)
