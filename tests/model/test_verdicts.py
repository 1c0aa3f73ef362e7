"""From what a check raised to its verdict, from all verdicts to the run's, and how much was judged."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kubereach.model import tally
from kubereach.model.check import CORE, EXT, INFO, Check
from kubereach.model.errors import (
    CannotMeasure,
    Failure,
    KubereachError,
    NotConforming,
    Unsupported,
    UsageError,
)
from kubereach.model.tally import Tally, current_tally, judged, must_go_on
from kubereach.model.verdicts import (
    CONFORMANT,
    ERROR,
    FAIL,
    NOT_CONFORMANT,
    NOT_MEASURED,
    NOTED,
    PARTIAL,
    PASS,
    UNSUPPORTED,
    RunVerdict,
    Verdict,
    absent,
    as_known,
    conclude,
    earned,
    judge,
    open_question,
)


def check(id: str = "demo.one", level: str = CORE) -> Check:
    return Check(id, level, (), "https://x", "It works.", "", Path("test_demo.py"))


FAILURE = Failure("pod@one", "clusterip", "an answer", "none")
CORES, INFORMS = check(), check("demo.informs", INFO)


def raised(error: BaseException) -> BaseException:
    """The error with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


# --- one check


def test_an_absent_feature_is_unsupported_unless_it_is_required_itself() -> None:
    error = Unsupported("no node has it", feature="sctp")
    for required in ((), ("loadbalancer",)):
        assert judge(CORES, "call", error, frozenset(required)) == Verdict(UNSUPPORTED, "no node has it")
    assert judge(INFORMS, "call", error, frozenset({"sctp"})) == Verdict(UNSUPPORTED, "no node has it")
    verdict = judge(CORES, "setup", error, frozenset({"sctp"}))
    assert (verdict.word, verdict.exit_code, verdict.unexpected) == (FAIL, 1, False)
    assert verdict.message == absent("sctp", "no node has it") == "required sctp is absent: no node has it"
    (failure,) = verdict.failures
    assert (failure.address, failure.got, failure.evidence) == ("sctp", "absent", ("no node has it",))


def test_an_unsupported_check_costs_no_exit_code() -> None:
    assert judge(CORES, "call", Unsupported("not here")).exit_code == 0


def test_an_assertion_fails_in_the_call_alone() -> None:
    verdict = judge(CORES, "call", raised(AssertionError("\n  two is not one\nreally")))
    assert verdict == Verdict(FAIL, "two is not one", (), 1)
    for phase in ("setup", "teardown"):
        verdict = judge(CORES, phase, raised(AssertionError("two is not one")))
        assert (verdict.word, verdict.exit_code, verdict.unexpected) == (ERROR, 3, True)
        assert verdict.message.startswith("AssertionError: two is not one (test_verdicts.py:")


def test_an_assertion_without_words_says_where_it_is() -> None:
    verdict = judge(CORES, "call", raised(AssertionError()))
    line = raised.__code__.co_firstlineno + 3
    assert verdict.message == f"an assertion failed (test_verdicts.py:{line})"


def test_failures_are_kept_and_only_noted_where_a_check_informs() -> None:
    verdict = judge(CORES, "call", NotConforming([FAILURE, FAILURE]))
    assert (verdict.word, verdict.failures, verdict.exit_code) == (FAIL, (FAILURE, FAILURE), 1)
    verdict = judge(INFORMS, "call", NotConforming([FAILURE]))
    assert (verdict.word, verdict.failures, verdict.exit_code) == (NOTED, (FAILURE,), 0)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (CannotMeasure("no exec"), "no exec", 3),
        (CannotMeasure("no exec", "Allow it."), "no exec (Allow it.)", 3),
        (UsageError("no such file"), "no such file", 2),
    ],
)
def test_what_could_not_be_measured_is_an_error_with_its_remedy(error, message, code) -> None:
    for one in (CORES, INFORMS):
        assert judge(one, "call", error) == Verdict(ERROR, message, (), code)
    assert not judge(CORES, "call", error).unexpected


def test_what_nobody_expected_is_an_error() -> None:
    verdict = judge(CORES, "call", raised(KeyError("podIP")))
    assert (verdict.word, verdict.exit_code, verdict.unexpected) == (ERROR, 3, True)
    assert verdict.message.startswith("KeyError: 'podIP' (test_verdicts.py:")


@pytest.mark.parametrize(
    ("ran", "number", "minimum", "word"),
    [
        (True, 3, 3, PASS),
        (True, 4, 3, PASS),
        (True, 2, 3, ERROR),
        (True, 0, 1, ERROR),
        (True, 1, 1, PASS),
        (False, 3, 3, ERROR),
        (False, 0, 0, ERROR),
    ],
)
def test_a_pass_is_earned(ran, number, minimum, word) -> None:
    verdict = earned(ran, number, minimum)
    assert verdict.word == word
    assert verdict.exit_code == (0 if word == PASS else 3)
    assert not verdict.unexpected


def test_what_has_not_been_earned_says_why() -> None:
    assert earned(False, 9, 1).message.startswith("the test function did not run")
    assert earned(True, 0, 1).message.startswith("the check compared no probe")
    assert earned(True, 1, 2).message.startswith("the check compared 1 of at least 2 probes or facts,")


def test_errors_become_known_ones() -> None:
    known = UsageError("no such file")
    assert as_known(known, "reading") is known
    other = as_known(ValueError("odd\nmore"), "reading")
    assert isinstance(other, CannotMeasure)
    assert other.message == "reading: ValueError: odd"


def test_verdicts_that_differ_only_in_being_unexpected_are_one() -> None:
    assert Verdict(ERROR, unexpected=True) == Verdict(ERROR)
    assert not Verdict(PASS).unexpected
    assert Verdict(PASS).exit_code == 0


# --- the whole run

A, B, C = check("demo.a"), check("demo.b"), check("demo.c", EXT)
PASSED, FAILED, UNMEASURED = Verdict(PASS), Verdict(FAIL, exit_code=1), Verdict(ERROR, exit_code=3)
MISUSED, LACKING = Verdict(ERROR, exit_code=2), Verdict(UNSUPPORTED)
BROKEN, WRONG = CannotMeasure("no world"), UsageError("no such file")


@pytest.mark.parametrize(
    ("verdicts", "more", "expected"),
    [
        ([(A, PASSED), (B, PASSED)], {}, (CONFORMANT, 0, "")),
        ([(A, PASSED), (B, PASSED), (C, LACKING)], {}, (CONFORMANT, 0, "")),
        ([(A, PASSED), (B, PASSED), (C, PASSED)], {}, (CONFORMANT, 0, "")),
        # parts of the core
        ([(A, PASSED)], {}, (PARTIAL, 0, "1 core check not selected")),
        ([(C, PASSED)], {}, (PARTIAL, 0, "2 core checks not selected")),
        ([(A, PASSED), (B, LACKING)], {}, (PARTIAL, 0, "1 core check unsupported")),
        ([(C, PASSED), (A, LACKING)], {}, (PARTIAL, 0, "1 core check unsupported, 1 core check not selected")),
        # nothing passed
        ([(A, LACKING)], {}, (NOT_MEASURED, 3, "no check passed")),
        ([(C, LACKING)], {}, (NOT_MEASURED, 3, "no check passed")),
        ([(A, LACKING), (A, LACKING), (C, LACKING)], {}, (NOT_MEASURED, 3, "no check passed")),
        ([(INFORMS, PASSED)], {}, (PARTIAL, 0, "2 core checks not selected, no core or ext check passed")),
        ([], {}, (PARTIAL, 0, "2 core checks not selected, no core or ext check passed")),
        # failures
        ([(A, FAILED), (B, PASSED)], {}, (NOT_CONFORMANT, 1, "")),
        ([(C, FAILED), (A, PASSED), (B, PASSED)], {}, (NOT_CONFORMANT, 1, "")),
        ([(A, FAILED), (B, UNMEASURED)], {}, (NOT_CONFORMANT, 1, "")),
        ([(A, FAILED)], {"error": BROKEN}, (NOT_CONFORMANT, 1, "no world")),
        ([(A, FAILED)], {"interrupted": "SIGTERM"}, (NOT_CONFORMANT, 1, "SIGTERM")),
        ([(A, FAILED)], {"error": WRONG, "interrupted": "SIGTERM"}, (NOT_CONFORMANT, 1, "no such file, SIGTERM")),
        # what is required and absent
        ([(A, PASSED), (B, PASSED)], {"missing": {"sctp": "no"}}, (NOT_CONFORMANT, 1, "required sctp is absent: no")),
        ([], {"missing": {"sctp": "-"}, "error": BROKEN}, (NOT_CONFORMANT, 1, "required sctp is absent: -, no world")),
        # what is required and of which nothing was found out
        ([(A, PASSED), (B, PASSED)], {"undecided": ["sctp"]}, (NOT_MEASURED, 3, open_question("sctp"))),
        ([(A, FAILED)], {"undecided": ["sctp"]}, (NOT_CONFORMANT, 1, open_question("sctp"))),
        ([(A, PASSED)], {"undecided": ["sctp"], "error": BROKEN}, (NOT_MEASURED, 3, "no world")),
        ([(A, PASSED)], {"undecided": ["sctp"], "interrupted": "SIGTERM"}, (NOT_MEASURED, 3, "SIGTERM")),
        # what could not be measured
        ([(A, PASSED), (B, UNMEASURED)], {}, (NOT_MEASURED, 3, "")),
        ([(A, PASSED), (B, MISUSED)], {}, (NOT_MEASURED, 2, "")),
        ([(A, UNMEASURED), (B, MISUSED)], {}, (NOT_MEASURED, 3, "")),
        ([(A, MISUSED), (B, MISUSED)], {}, (NOT_MEASURED, 2, "")),
        ([(A, PASSED), (B, PASSED)], {"error": BROKEN}, (NOT_MEASURED, 3, "no world")),
        ([(A, PASSED), (B, PASSED)], {"error": WRONG}, (NOT_MEASURED, 2, "no such file")),
        ([(A, UNMEASURED)], {"error": WRONG}, (NOT_MEASURED, 2, "no such file")),
        ([(A, PASSED), (B, PASSED)], {"interrupted": "SIGTERM"}, (NOT_MEASURED, 3, "SIGTERM")),
        ([(A, PASSED)], {"error": WRONG, "interrupted": "SIGTERM"}, (NOT_MEASURED, 3, "no such file, SIGTERM")),
        ([(A, MISUSED)], {"error": BROKEN}, (NOT_MEASURED, 3, "no world")),
        ([(A, MISUSED)], {"error": WRONG}, (NOT_MEASURED, 2, "no such file")),
        ([(A, MISUSED)], {"interrupted": "SIGTERM"}, (NOT_MEASURED, 3, "SIGTERM")),
        # who only informs has no say
        ([(A, PASSED), (B, PASSED), (INFORMS, FAILED)], {}, (CONFORMANT, 0, "")),
        ([(A, PASSED), (B, PASSED), (INFORMS, UNMEASURED)], {}, (CONFORMANT, 0, "")),
        ([(A, PASSED), (B, PASSED), (INFORMS, LACKING)], {}, (CONFORMANT, 0, "")),
        ([(A, PASSED), (B, MISUSED), (INFORMS, UNMEASURED)], {}, (NOT_MEASURED, 2, "")),
    ],
)  # fmt: skip
def test_the_verdict_of_a_run(verdicts, more, expected) -> None:
    assert conclude(verdicts, [A, B, C, INFORMS], **more) == RunVerdict(*expected)


def test_a_run_without_a_core_has_to_earn_its_verdict() -> None:
    """Of checks of somebody else's, none of which is core."""
    assert conclude([(C, PASSED)], [C, INFORMS]) == RunVerdict(CONFORMANT, 0)
    assert conclude([(C, LACKING)], [C, INFORMS]).word == NOT_MEASURED
    assert conclude([(INFORMS, PASSED)], [C, INFORMS]).word == PARTIAL


def test_a_case_that_was_unsupported_beside_one_that_passed_is_told() -> None:
    assert conclude([(A, PASSED), (A, LACKING)], [A]).word == PARTIAL


def test_errors_have_exit_codes() -> None:
    assert (KubereachError.exit_code, UsageError.exit_code, Unsupported.exit_code) == (3, 2, 0)


# --- how much was judged


@pytest.fixture
def counting():
    made = Tally()
    token = current_tally.set(made)
    yield made
    current_tally.reset(token)


def test_what_is_judged_is_counted(counting) -> None:
    assert (counting.judged, counting.minimum) == (0, 0)
    judged()
    assert (counting.judged, counting.minimum) == (1, 1)
    judged(5, 3)
    judged(0, 2)
    assert (counting.judged, counting.minimum) == (6, 6)


def test_what_is_measured_again_is_counted_from_nothing(counting) -> None:
    judged(5, 3)
    counting.begin_anew()
    assert (counting.judged, counting.minimum) == (0, 0)


def test_outside_of_checks_nothing_is_counted_and_nothing_given_up() -> None:
    assert current_tally.get() is None
    judged()
    must_go_on()


def test_who_was_given_up_does_not_go_on(counting) -> None:
    must_go_on()
    counting.abandoned = "did not end within 1 s"
    with pytest.raises(CannotMeasure, match="did not end within 1 s"):
        must_go_on()


def test_threads_count_for_one_check(counting) -> None:
    """One at a time: what is read and added to must not change in between."""
    taken = []

    class Watched:
        def __enter__(self):
            taken.append(True)

        def __exit__(self, *_):
            pass

    counting._lock = Watched()
    counting.add(1, 1)
    counting.begin_anew()
    assert taken == [True, True]
    assert isinstance(Tally()._lock, type(threading.Lock()))
    assert tally.current_tally is current_tally
