"""A run inside pytest: choose checks, open the target, start the world, judge, clean up, report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kubereach.check import DISR, Check, assert_unique, declaration_of
from kubereach.collect import matching, read_checks
from kubereach.errors import CannotMeasure, KubereachError, Unsupported, UsageError
from kubereach.events import Bus, CheckFinished, CheckStarted, Progress, RunFinished, RunStarted
from kubereach.features import Finding, detect
from kubereach.fixtures import WorldLike, service_stems
from kubereach.options import RunOptions, validated
from kubereach.report import failures, json_report, summary, terminal
from kubereach.report.progress import LiveProgress, PlainProgress
from kubereach.report.record import Record
from kubereach.settings import Settings
from kubereach.targets import Target
from kubereach.verdicts import (
    ERROR,
    FAIL,
    NOTED,
    PASS,
    UNSUPPORTED,
    RunVerdict,
    Verdict,
    as_known,
    conclude,
    judge,
)

# When the phases of one test disagree, the worst counts.
_SEVERITY = (PASS, NOTED, UNSUPPORTED, ERROR, FAIL)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: ends the run as Ctrl-C does, so that everything is taken down."""


class Run:
    """A pytest plugin object, registered only when checks were collected. One for each pytest session."""

    def __init__(self, config: pytest.Config, manifests: Path) -> None:
        self._config = config
        self._manifests = manifests
        self._bus = Bus()
        self._options = RunOptions()
        self._settings = Settings()
        self._known: list[Check] = []
        self._target: Target | None = None
        self._description = ""
        self._world: WorldLike | None = None
        self._features: dict[str, Finding] = {}
        self._error: KubereachError | None = None
        self._interrupted = ""
        self._in_loop = False
        self._began = time.monotonic()
        self._record = Record({})
        self._finished: list[tuple[Check, Verdict]] = []
        self._current: Verdict | None = None
        self._verdict: RunVerdict | None = None
        self._report: Path | None = None
        self._progress: LiveProgress | PlainProgress | None = None
        self._console: Any = None
        self._marks: Any = None
        self._handlers: dict[int, Any] = {}

    @property
    def world(self) -> WorldLike:
        """The started world. Raises `CannotMeasure` before that: a fixture was asked for outside of a run."""
        if self._world is None:
            raise CannotMeasure(
                "the cluster is not open", "Fixtures of checks can only be used while a check runs."
            )
        return self._world

    # Choosing

    def select(self, items: list[pytest.Item]) -> None:
        """Reduce `items` to the checks asked for. A mistake ends the run before anything is started."""
        try:
            self._options = validated(lambda dest: self._config.getoption(dest, None))
            self._settings = self._options.settings()
            self._refuse_xdist()
            collected = [check for item in items if (check := _check(item))]
            assert_unique(collected)
            self._known = self._all_known(collected)
            chosen = self._chosen({check.id: check for check in collected})
        except KubereachError as error:
            self._error = error
            return
        left_out = [item for item in items if (check := _check(item)) and check.id not in chosen]
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]

    def _chosen(self, checks: dict[str, Check]) -> set[str]:
        options, everything = self._options, list(checks.values())
        chosen = matching(options.checks, everything) if options.checks else set(checks)
        if options.skip_checks:
            chosen -= matching(options.skip_checks, everything)
        chosen = {id for id in chosen if not options.levels or checks[id].level in options.levels}
        calm = {id for id in chosen if options.disruptive or checks[id].level != DISR}
        if chosen and not calm:
            raise UsageError("only disruptive checks are selected", "Add --disruptive to run them.")
        if not calm:
            raise UsageError("no check is left to run", "Look at --check, --skip-check and --level again.")
        return calm

    def _all_known(self, collected: list[Check]) -> list[Check]:
        """Every check of the suites, whether collected or not: what is left out makes a run partial."""
        suites = self._manifests.parent / "suites"
        known = {check.id: check for check in (read_checks(suites) if suites.is_dir() else [])}
        return list({**known, **{check.id: check for check in collected}}.values())

    def _refuse_xdist(self) -> None:
        if hasattr(self._config, "workerinput"):
            raise UsageError(
                "pytest-xdist cannot spread checks over processes: they share one world and its vantages",
                "Leave out -n. The probes of all vantages run at the same time anyway.",
            )

    # Starting

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Start the world before the first test. True ends pytest's loop: nothing can be run."""
        option = self._config.option
        if option.collectonly or (session.testsfailed and not option.continue_on_collection_errors):
            return True if self._error and self._say_error() else None
        if hasattr(self._config, "workerinput"):
            return (
                None  # every check then fails in its setup, which is how the controlling process gets to know
            )
        self._in_loop = True
        checks = [check for item in session.items if (check := _check(item))]
        if not self._error and not checks:
            self._error = UsageError("no check is left to run", "Look at -k, -m, --deselect and --lf again.")
        self._open_output(session, checks)
        if self._error is None:
            self._catch_signals()
            try:
                self._start(session, checks)
            except Exception as error:
                self._error = as_known(error, "starting")
                if not isinstance(error, KubereachError) and option.verbose > 0:
                    self._config.notify_exception(pytest.ExceptionInfo.from_exception(error), option)
        return True if self._error else None

    def _start(self, session: pytest.Session, checks: list[Check]) -> None:
        config = self._config
        self._bus.emit(Progress("opening the target"))
        self._target = config.hook.pytest_kubereach_target(config=config) or _target(self._options)
        # before any thread: the lab moves this process into its namespaces, which needs a single thread
        access = self._target.open()
        if self._progress:
            self._progress.threads_allowed()
        self._description = access.description
        stems = service_stems(self._manifests)
        used = {name for item in session.items if _check(item) for name in getattr(item, "fixturenames", ())}
        services = tuple(stem for name, stem in stems.items() if name in used)
        world: WorldLike | None = config.hook.pytest_kubereach_world(
            config=config,
            access=access,
            settings=self._settings,
            bus=self._bus,
            manifests=self._manifests,
            services=services,
        )
        if world is None:
            from kubereach.world import World

            world = World(access, self._settings, self._bus, self._manifests, services)
        self._bus.emit(Progress("connecting to the cluster"))
        cluster = world.connect()
        self._features = detect(cluster, self._settings)
        ids = tuple(dict.fromkeys(check.id for check in checks))
        self._bus.emit(RunStarted(self._target.name, ids, cluster.describe()))
        self._world = world  # from here on there may be objects to remove, even if the start fails half way
        world.start()

    def _open_output(self, session: pytest.Session, checks: list[Check]) -> None:
        self._record = Record({check.id: check for check in checks})
        self._bus.subscribe(self._record)
        reporter = terminal.stock_reporter(self._config)
        if reporter is None:
            return
        self._console, self._marks, live = terminal.open_console(reporter)
        if any(_check(item) is None for item in session.items):
            return  # tests of other kinds run too: pytest's own output stays
        reporter.ensure_newline()
        reporter.flush()
        terminal.silence(self._config)
        option = self._config.option
        if live and option.capture != "no" and not option.usepdb:
            every = option.verbose > 0
            self._progress = LiveProgress(self._console, self._marks, self._record, len(session.items), every)
        else:
            self._progress = PlainProgress(self._console, self._marks)
        self._bus.subscribe(self._progress)

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            raise Terminated(signal.Signals(number).name)

        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, terminate)

    # Running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        check = _check(item)
        if check is None:
            return (yield)
        from kubereach.expect import current_check

        case = _case(item)
        item.user_properties += [
            ("check", check.id),
            ("level", check.level),
            ("requirement", check.requirement),
        ]
        self._current = None
        self._bus.emit(CheckStarted(check.id, case))
        began = time.monotonic()
        token = current_check.set(check.id)
        interrupted = True
        try:
            result = yield
            interrupted = False
            return result
        finally:
            current_check.reset(token)
            verdict = self._current or Verdict(PASS)
            if interrupted:
                verdict = Verdict(ERROR, "interrupted", exit_code=3)
            self._finished.append((check, verdict))
            seconds = time.monotonic() - began
            self._bus.emit(
                CheckFinished(check.id, case, verdict.word, seconds, verdict.message, verdict.failures)
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        check = _check(item)
        if check is None:
            return
        if self._error:
            raise self._error
        for need in check.needs:
            finding = self._features.get(need)
            if finding and not finding.present:
                raise Unsupported(f"{need}: {finding.evidence}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        check = _check(item)
        if check and call.when == "teardown":
            item.user_properties.append(("verdict", self._current.word if self._current else PASS))
        report = yield
        if check is None or call.excinfo is None:
            return report
        error = call.excinfo.value
        if isinstance(error, pytest.skip.Exception):
            verdict = Verdict(UNSUPPORTED, str(error))
        else:
            verdict = judge(check, call.when, error, self._options.require)
            self._learn(check, error)
            self._rewrite(report, check, verdict)
        if self._current is None or _SEVERITY.index(verdict.word) > _SEVERITY.index(self._current.word):
            self._current = verdict
        return report

    def _learn(self, check: Check, error: BaseException) -> None:
        """A feature turned out to be absent: further checks that need it are unsupported at once."""
        if isinstance(error, Unsupported):
            for need in check.needs:
                finding = self._features.get(need)
                if finding and not finding.decided:
                    self._features[need] = Finding(False, error.message)

    def _rewrite(self, report: pytest.TestReport, check: Check, verdict: Verdict) -> None:
        """Make pytest's report, and so JUnit's, say what the verdict says."""
        if verdict.word == UNSUPPORTED:
            report.outcome = "skipped"
            report.longrepr = (str(check.file), report.location[1] or 0, f"unsupported: {verdict.message}")
        elif verdict.word == NOTED:
            report.outcome, report.longrepr = "passed", None
        elif not verdict.unexpected:
            report.longrepr = failures.plain(check, verdict)
        elif self._console is not None and self._progress is not None and self._config.option.verbose > 0:
            self._record_traceback(report)

    def _record_traceback(self, report: pytest.TestReport) -> None:
        self._console.print(str(report.longrepr), soft_wrap=True)

    # Ending

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        error = excinfo.value
        if isinstance(error, Terminated):
            self._interrupted = f"stopped by {error}"
        elif isinstance(error, pytest.Session.Interrupted):
            self._interrupted = str(error)
        elif isinstance(error, pytest.exit.Exception):
            self._interrupted = f"stopped: {error.msg}"
        else:
            self._interrupted = "interrupted by Ctrl-C"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Take everything down, judge the run and write the report; after pytest has ended the fixtures."""
        if not self._in_loop:
            if self._error:
                session.exitstatus = self._error.exit_code
            return
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR and self._error is None:
            self._error = CannotMeasure("pytest itself failed", "Its message above says where.")
        if session.shouldstop or session.shouldfail:
            self._interrupted = self._interrupted or str(session.shouldfail or session.shouldstop)
        self._take_down()
        self._verdict = conclude(self._finished, self._known, self._error, self._interrupted)
        code = self._verdict.exit_code
        seconds = time.monotonic() - self._began
        self._bus.emit(RunFinished(self._verdict.word, code, seconds))
        self._report = self._write_report()
        others = any(_check(item) is None for item in session.items)
        session.exitstatus = code or (exitstatus if others else 0)

    def _take_down(self) -> None:
        """Remove our objects and close the target, whatever happened. A failure there is the run's error."""
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)  # we are ending already
        try:
            if self._world is not None:
                self._world.stop()
        except Exception as error:
            self._error = self._error or as_known(error, "removing our objects")
        finally:
            try:
                if self._target is not None:
                    self._target.close()
            except Exception as error:
                self._error = self._error or as_known(error, "closing the target")
            if self._progress:
                self._progress.stop()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _surroundings(self) -> json_report.Surroundings:
        ran = {check.id for check, _ in self._finished}
        return json_report.Surroundings(
            settings=self._settings,
            target=self._target.name if self._target else self._options.target,
            description=self._description,
            features=self._features,
            reason=self._verdict.reason if self._verdict else "",
            error=self._error,
            not_run=tuple(check for check in self._known if check.id not in ran),
        )

    def _write_report(self) -> Path | None:
        folder = self._options.report_dir or self._config.rootpath / "reports" / "latest"
        try:
            return json_report.write(json_report.document(self._record, self._surroundings()), folder)
        except OSError as error:
            if self._console is not None:
                self._console.print(
                    f"kubereach: no report: {error.strerror}: {folder}; name a folder with --report-dir"
                )
            return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        if self._verdict and self._console is not None:
            summary.show(self._console, self._marks, self._record, self._surroundings(), self._report)

    def pytest_unconfigure(self) -> None:
        if self._console is not None:
            self._console.file.close()

    def _say_error(self) -> bool:
        reporter = terminal.stock_reporter(self._config)
        if reporter and self._error:
            reporter.write_line(f"kubereach: {self._error.message}")
            reporter.write_line(f"  {self._error.remedy}")
        return True


def _check(item: pytest.Item) -> Check | None:
    return declaration_of(getattr(item, "obj", None))


def _case(item: pytest.Item) -> str:
    specification = getattr(item, "callspec", None)
    return str(specification.id) if specification else ""


def _target(options: RunOptions) -> Target:
    if options.target == "lab":
        from kubereach.targets.lab import LabTarget

        return LabTarget(options.nodes, options.faults)
    from kubereach.targets.existing import ExistingTarget

    return ExistingTarget(options.kubeconfig, options.context)
