"""From what a test raised to the verdict of its check, and from the checks' verdicts to the run's."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from kubereach.model.check import CORE, INFO, Check
from kubereach.model.errors import (
    CannotMeasure,
    Failure,
    KubereachError,
    NotConforming,
    Unsupported,
    UsageError,
)
from kubereach.model.known_defects import KnownDefect
from kubereach.model.plural import plural

PASS, FAIL, UNSUPPORTED, ERROR = "pass", "fail", "unsupported", "error"
#: an info check found that the cluster does not conform: reported, and no failure
NOTED = "noted"

CONFORMANT, PARTIAL, NOT_CONFORMANT, NOT_MEASURED = "conformant", "partial", "not conformant", "not measured"


@dataclass(frozen=True)
class Verdict:
    """The verdict of one check with its reason: one line in `message`, each miss in `failures`."""

    word: str
    message: str = ""
    failures: tuple[Failure, ...] = ()
    #: what the run exits with if nothing worse happens
    exit_code: int = 0
    #: True for an exception that nobody expected: only then a traceback is of use
    unexpected: bool = field(default=False, compare=False)
    #: of a failure that is put down to Kubernetes itself
    defect: KnownDefect | None = None


def judge(check: Check, phase: str, error: BaseException, required: frozenset[str] = frozenset()) -> Verdict:
    """The verdict for a check whose `phase` (``setup``, ``call`` or ``teardown``) ended with `error`.

    An assertion counts as a failure in the call alone: while fixtures are set up nothing has been tested yet.
    A check that is unsupported for want of just a feature in `required` fails, unless it only informs.
    """
    if isinstance(error, Unsupported):
        if error.feature not in required or check.level == INFO:
            return Verdict(UNSUPPORTED, error.message)
        missing = Failure("cluster", error.feature, "present (--require)", "absent", (error.message,))
        return Verdict(FAIL, absent(error.feature, error.message), (missing,), 1)
    if isinstance(error, AssertionError) and phase == "call":
        failures = tuple(error.failures) if isinstance(error, NotConforming) else ()
        message = _first_line(str(error)) or f"an assertion failed ({_place(error)})"
        if check.level == INFO:
            return Verdict(NOTED, message, failures)
        return Verdict(FAIL, message, failures, 1)
    if isinstance(error, KubereachError):
        text = f"{error.message} ({error.remedy})" if error.remedy else error.message
        return Verdict(ERROR, text, exit_code=error.exit_code)
    text = f"{type(error).__name__}: {_first_line(str(error))} ({_place(error)})"
    return Verdict(ERROR, text, exit_code=3, unexpected=True)


def earned(ran: bool, judged: int, minimum: int) -> Verdict:
    """The verdict of a check that raised nothing: a pass only if its body ran to its end and has judged enough."""
    if not ran:
        return Verdict(ERROR, "the test function did not run: pytest or a plugin skipped it", exit_code=3)
    if judged >= minimum:
        return Verdict(PASS)
    what = (
        f"the check compared {judged} of at least {minimum} probes or facts"
        if judged
        else "the check compared no probe and no fact"
    )
    return Verdict(ERROR, f"{what}, so its result proves nothing", exit_code=3)


def absent(feature: str, evidence: str) -> str:
    """That a feature which --require names is not there, in one line."""
    return f"required {feature} is absent: {evidence}"


def open_question(feature: str) -> str:
    """That it is not known of a feature which --require names whether it is there, in one line."""
    return f"nothing decided whether the cluster has {feature}, as --require asks: no check that needs it has passed"


def as_known(error: Exception, doing: str) -> KubereachError:
    """`error` itself if its text is meant for users, else a `CannotMeasure` that says what was `doing`."""
    if isinstance(error, KubereachError):
        return error
    text = f"{doing}: {type(error).__name__}: {_first_line(str(error))}"
    return CannotMeasure(text, "Unexpected error. Rerun with -v for the traceback and report it.")


@dataclass(frozen=True)
class RunVerdict:
    """The run's verdict and exit code; `reason` says why it is not simply conformant."""

    word: str
    exit_code: int
    reason: str = ""


def conclude(
    verdicts: Iterable[tuple[Check, Verdict]],
    known: Iterable[Check],
    error: KubereachError | None = None,
    interrupted: str = "",
    missing: Mapping[str, str] = MappingProxyType({}),
    undecided: Sequence[str] = (),
) -> RunVerdict:
    """The verdict of a run.

    `verdicts` are the finished checks, one for each case; `known` all checks that there are: core checks that
    did not run make the run partial. `error` is what kept the run from starting or ending, `interrupted` what
    stopped it, `missing` the features that --require names and that were found to be absent, with the evidence,
    `undecided` those of which nothing told whether they are there: a run that did not end has not asked.
    A failure weighs more than what could not be measured: the cluster does not conform. Checks that only inform have no
    say in it, whatever came of them; a run of nothing else is partial. Where every check was unsupported nothing was
    measured: a run has to earn what it says, too.
    """
    finished = [(check, verdict) for check, verdict in verdicts if check.level != INFO]
    failed = [check for check, verdict in finished if verdict.word == FAIL]
    errors = [verdict for _, verdict in finished if verdict.word == ERROR]
    notes = [absent(feature, evidence) for feature, evidence in missing.items()]
    notes += [error.message] if error else []
    notes += [interrupted] if interrupted else []
    notes += [] if error or interrupted else map(open_question, undecided)
    if failed or missing:
        return RunVerdict(NOT_CONFORMANT, 1, ", ".join(notes))
    if notes or errors:
        wrong_use = bool(errors) and all(verdict.exit_code == UsageError.exit_code for verdict in errors)
        # what kept the run from its end is no wrong use because the checks before it were used wrongly
        usage = isinstance(error, UsageError) if error else wrong_use
        return RunVerdict(NOT_MEASURED, 2 if usage and not interrupted else 3, ", ".join(notes))
    passed = {check.id for check, verdict in finished if verdict.word == PASS}
    unsupported = {
        check.id for check, verdict in finished if verdict.word == UNSUPPORTED and check.level == CORE
    }
    if finished and not passed:
        return RunVerdict(NOT_MEASURED, 3, "no check passed")
    left_out = {check.id for check in known if check.level == CORE} - passed - unsupported
    if unsupported or left_out or not passed:
        reasons = [f"{plural(len(unsupported), 'core check')} unsupported"] if unsupported else []
        reasons += [f"{plural(len(left_out), 'core check')} not selected"] if left_out else []
        reasons += [] if passed else ["no core or ext check passed"]
        return RunVerdict(PARTIAL, 0, ", ".join(reasons))
    return RunVerdict(CONFORMANT, 0)


def _place(error: BaseException) -> str:
    """Where an exception was raised."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
