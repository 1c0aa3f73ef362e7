"""One check after the other: what pytest's phases of a test mean for the check's verdict."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import pytest

from kubereach import suspension
from kubereach.beside import SECONDS
from kubereach.check import INFO, Check
from kubereach.errors import KubereachError, NotConforming, Unsupported
from kubereach.events import Bus, CheckFinished, CheckStarted
from kubereach.features import Finding
from kubereach.known_defects import known_defect
from kubereach.report import failures
from kubereach.selection import case_of, check_of
from kubereach.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED, Verdict, judge

# When the phases of one test disagree, the worst counts.
_SEVERITY = (PASS, NOTED, UNSUPPORTED, ERROR, FAIL)


@dataclass(eq=False)
class CheckRunner:
    """A pytest plugin object: hooks around each test that is a check. Other tests are left alone."""

    bus: Bus
    #: features whose absence is a failure
    required: frozenset[str]
    #: what was detected; a check that finds out more adds to it
    features: dict[str, Finding] = field(default_factory=dict)
    #: why no check may run, if so: every check then says it
    refusal: KubereachError | None = None
    #: the cluster's, for defects that are known of it
    version: str = ""
    finished: list[tuple[Check, Verdict]] = field(default_factory=list)
    _current: Verdict | None = None
    #: when the check began
    _clocks: suspension.Interval = field(default_factory=suspension.now)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        check = check_of(item)
        if check is None:
            return (yield)
        from kubereach.expect import current_check, informing

        properties = {"check": check.id, "level": check.level, "requirement": check.requirement}
        item.user_properties += list(properties.items())
        case = case_of(item)
        self._current = None
        verdict = Verdict(ERROR, "interrupted", exit_code=3)  # unless it gets to its end
        self.bus.emit(CheckStarted(check.id, case))
        self._clocks = suspension.now()
        began = time.monotonic()
        token = current_check.set(check.id)
        informs = informing.set(check.level == INFO)
        try:
            result = yield
            verdict = self._current or Verdict(PASS)
            return result
        finally:
            current_check.reset(token)
            informing.reset(informs)
            self.finished.append((check, verdict))
            seconds = item.stash.get(SECONDS, time.monotonic() - began)
            self.bus.emit(
                CheckFinished(
                    check.id, case, verdict.word, seconds, verdict.message, verdict.failures, verdict.defect
                )
            )

    def wants(self, item: pytest.Item) -> bool:
        """Whether the check's features are there, as far as that is known."""
        check = check_of(item)
        absent = (
            [need for need in check.needs if (f := self.features.get(need)) and not f.present]
            if check
            else []
        )
        return check is not None and not self.refusal and not absent

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        check = check_of(item)
        if check is None:
            return
        if self.refusal:
            raise self.refusal
        for need in check.needs:
            finding = self.features.get(need)
            if finding and not finding.present:
                raise Unsupported(f"{need}: {finding.evidence}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        check = check_of(item)
        if check and call.when == "teardown":  # JUnit takes the properties from the last phase
            item.user_properties.append(("verdict", self._current.word if self._current else PASS))
        if check and call.excinfo and isinstance(call.excinfo.value, (KubereachError, NotConforming)):
            # pytest would look up the statement in the parsed source, for a text that is replaced below
            item.repr_failure = _in_words  # type: ignore[method-assign]
        report = yield
        if check is None or call.excinfo is None:
            return report
        error = suspension.unless_suspended(call.excinfo.value, self._clocks)
        if isinstance(error, pytest.skip.Exception):
            verdict = Verdict(UNSUPPORTED, str(error))
        else:
            verdict = judge(check, call.when, error, self.required)
            if verdict.word in (FAIL, NOTED):
                verdict = replace(verdict, defect=known_defect(check.id, self.version))
            self._learn(check, error)
            _rewrite(report, check, verdict)
        if self._current is None or _SEVERITY.index(verdict.word) > _SEVERITY.index(self._current.word):
            self._current = verdict
        return report

    def _learn(self, check: Check, error: BaseException) -> None:
        """A feature turned out to be absent: further checks that need it are unsupported at once."""
        if isinstance(error, Unsupported):
            # a check may need several: only the one that the error names is known to be absent
            needs = [error.feature] if error.feature else check.needs if len(check.needs) == 1 else []
            for need in needs:
                finding = self.features.get(need)
                if finding and not finding.decided:
                    self.features[need] = Finding(False, error.message)


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
    elif not verdict.unexpected:
        report.longrepr = failures.plain(check, verdict)
