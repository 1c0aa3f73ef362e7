"""One check after the other: what pytest's phases of a test mean for the check's verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

import pytest

from kubereach.model.check import INFO, Check
from kubereach.model.errors import KubereachError, NotConforming, Unsupported
from kubereach.model.events import Bus, CheckFinished, CheckStarted
from kubereach.model.features import FeatureState
from kubereach.model.known_defects import known_defect
from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED, Verdict, earned, judge
from kubereach.probe import suspension
from kubereach.report import failures
from kubereach.run.parallel import SECONDS, tally_of
from kubereach.run.selection import case_of, check_of

# When the phases of one test disagree, the worst counts.
_SEVERITY = (PASS, NOTED, UNSUPPORTED, ERROR, FAIL)


@dataclass(eq=False)
class CheckRunner:
    """A pytest plugin object: hooks around each test that is a check. Other tests are left alone."""

    bus: Bus
    #: features whose absence is a failure
    required: frozenset[str]
    #: what was detected; a check that finds out more adds to it
    features: dict[str, FeatureState] = field(default_factory=dict)
    #: why no check may run, if so: every check then says it
    refusal: KubereachError | None = None
    #: the cluster's, for defects that are known of it
    version: str = ""
    finished: list[tuple[Check, Verdict]] = field(default_factory=list)
    #: keeps an item from beginning in a thread; False when it has begun, so that its result is its verdict
    withdraw: Callable[[pytest.Item], bool] = lambda _: True
    #: what the phases of the running check that ended badly come to
    _current: Verdict | None = None
    #: whether its body ran to its end
    _ran: bool = False
    #: when the check began
    _clocks: suspension.Interval = field(default_factory=suspension.now)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        check = check_of(item)
        if check is None:
            return (yield)
        from kubereach.expect import checking  # heavy: not before the first check runs

        properties = {"check": check.id, "level": check.level, "requirement": check.requirement}
        item.user_properties += list(properties.items())
        case = case_of(item)
        tally = tally_of(item)
        self._current, self._ran = None, False
        verdict: Verdict | None = None
        self.bus.emit(CheckStarted(check.id, case))
        self._clocks = suspension.now()
        began = time.monotonic()
        try:
            with checking(check.id, check.level == INFO, tally):
                result = yield
            verdict = self._verdict(item, check)
            return result
        finally:
            # what was judged before an interrupt stands
            verdict = verdict or self._current or Verdict(ERROR, "interrupted", exit_code=3)
            self.finished.append((check, verdict))
            self.bus.emit(
                CheckFinished(
                    check.id,
                    case,
                    verdict.word,
                    item.stash.get(SECONDS, time.monotonic() - began),
                    verdict.message,
                    verdict.failures,
                    verdict.defect,
                    tally.judged,
                    max(tally.minimum, check.minimum),
                )
            )

    def _verdict(self, item: pytest.Item, check: Check) -> Verdict:
        """The worst of the phases; a pass has to be earned."""
        tally = tally_of(item)
        return self._current or earned(self._ran, tally.judged, max(tally.minimum, check.minimum))

    def wants(self, item: pytest.Item) -> bool:
        """Whether the check's features are there, as far as that is known."""
        check = check_of(item)
        return check is not None and not self.refusal and not self._absent(check)

    def _absent(self, check: Check) -> list[str]:
        """The features that it needs and that are known to be absent."""
        return [need for need in check.needs if (f := self.features.get(need)) and not f.present]

    @property
    def missing(self) -> dict[str, str]:
        """The features that --require names and that were found to be absent, with the evidence."""
        found = {name: self.features.get(name) for name in sorted(self.required)}
        return {name: f.evidence for name, f in found.items() if f and not f.present}

    @property
    def undecided(self) -> tuple[str, ...]:
        """The features that --require names and of which nothing has told whether they are there.

        Detection tells, or a check that needs one: by `Unsupported` that it is absent, by passing that it is present.
        """
        used = {need for check, verdict in self.finished if verdict.word == PASS for need in check.needs}
        return tuple(
            name
            for name in sorted(self.required - used)
            if not ((finding := self.features.get(name)) and finding.decided)
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        check = check_of(item)
        if check is None:
            return
        if self.refusal:
            raise self.refusal
        absent = self._absent(check)
        if not absent or not self.withdraw(item):
            return
        # of several the one that --require names says most
        need = next((need for need in absent if need in self.required), absent[0])
        raise Unsupported(f"{need}: {self.features[need].evidence}", feature=need)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        check = check_of(item)
        if check and call.excinfo and isinstance(call.excinfo.value, (KubereachError, NotConforming)):
            # pytest would look up the statement in the parsed source, for a text that is replaced below
            item.repr_failure = _in_words  # type: ignore[method-assign]
        report = yield
        if check is None:
            return report
        if call.excinfo is not None:
            error = suspension.unless_suspended(call.excinfo.value, self._clocks)
            verdict = self._raised(check, call.when, error)
        else:
            self._ran = self._ran or call.when == "call"
            # after the call it is known what was judged, after the teardown also whether there was a call
            verdict = Verdict(PASS) if call.when == "setup" else self._verdict(item, check)
        known = self._current
        if verdict.word != PASS:
            if known is None or _SEVERITY.index(verdict.word) > _SEVERITY.index(known.word):
                self._current = verdict
            # what a phase has not raised itself is told once
            if call.excinfo is not None or verdict != known:
                _rewrite(report, check, verdict)
        if call.when == "teardown":  # JUnit takes the properties from the last phase
            report.user_properties.append(("verdict", self._verdict(item, check).word))
        return report

    def _raised(self, check: Check, phase: str, error: BaseException) -> Verdict:
        """The verdict for what a phase has raised."""
        if isinstance(error, pytest.skip.Exception):  # by a mark or a plugin: the cluster was not asked
            return Verdict(ERROR, f"did not run (skipped: {error})", exit_code=3)
        if isinstance(error, pytest.fail.Exception):  # pytest.fail() is an assertion in other words
            error = AssertionError(str(error)).with_traceback(error.__traceback__)
        verdict = judge(check, phase, error, self.required)
        if verdict.word in (FAIL, NOTED):
            verdict = replace(verdict, defect=known_defect(check.id, self.version))
        self._learn(error)
        return verdict

    def _learn(self, error: BaseException) -> None:
        """A feature was found to be absent: further checks that need it are unsupported at once.

        Only the one that the error names. What else is absent, a check's own condition, says nothing to others.
        """
        if isinstance(error, Unsupported):
            finding = self.features.get(error.feature)
            if finding and not finding.decided:
                self.features[error.feature] = FeatureState(False, error.message)


def _in_words(excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:
    del style
    return str(excinfo.value)


def _rewrite(report: pytest.TestReport, check: Check, verdict: Verdict) -> None:
    """Make pytest's report, and so JUnit's, say what the verdict says. An unexpected error keeps its traceback."""
    if verdict.word == UNSUPPORTED:
        report.outcome = "skipped"
        report.longrepr = (str(check.file), report.location[1] or 0, f"unsupported: {verdict.message}")
    elif verdict.word == NOTED:
        report.outcome, report.longrepr = "passed", None
    elif check.level == INFO:  # a failed test would end a run with -x, and pytest's own exit code
        report.outcome = "skipped"
        report.longrepr = (
            str(check.file),
            report.location[1] or 0,
            f"not measured: {verdict.message}",
        )
    else:
        report.outcome = "failed"
        if not verdict.unexpected:
            report.longrepr = failures.plain(check, verdict)
