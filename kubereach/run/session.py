"""A run inside pytest: choose checks, open the target, start the world, judge, clean up, report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kubereach.diagnosis.lazy_doctor import LazyDoctor
from kubereach.kube.detection import detect
from kubereach.model.check import Check, assert_unique
from kubereach.model.errors import CannotMeasure, KubereachError, UsageError
from kubereach.model.events import Bus, Progress, RunFinished, RunStarted
from kubereach.model.plural import plural
from kubereach.model.settings import Settings
from kubereach.model.verdicts import ERROR, FAIL, RunVerdict, as_known, conclude
from kubereach.report import json_report, stdio, terminal
from kubereach.report.output import Output
from kubereach.report.progress import LiveProgress, PlainProgress
from kubereach.report.record import Record
from kubereach.run import options, parallel
from kubereach.run.deadline import Deadline, leave_in_time
from kubereach.run.fixtures import WorldLike, service_stems
from kubereach.run.open_target import target_of
from kubereach.run.options import RunOptions, validated
from kubereach.run.parallel import ParallelRunner
from kubereach.run.runner import CheckRunner
from kubereach.run.selection import check_of, chosen, known, refuse_xdist
from kubereach.targets.target import KeepsLogs, Target


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
        self._runner = CheckRunner(self._bus, frozenset())
        self._parallel = ParallelRunner(self._bus)
        self._runner.withdraw = self._parallel.withdraw
        self.deadline = Deadline(0, self._parallel.has_result, self._parallel.stop)
        #: the run's, once it has been judged
        self.exit_code: int | None = None
        #: the options are pytest's own, with their names there
        self._by_pytest = False
        self._error: KubereachError | None = None
        self._interrupted = ""
        self._lost = False
        #: files that could not be collected
        self._uncollected = 0
        self._in_loop = False
        self._began = time.monotonic()
        self._record = Record({})
        self._verdict: RunVerdict | None = None
        self._report: Path | None = None
        self._output: Output | None = None
        self._progress: LiveProgress | PlainProgress | None = None
        self._handlers: dict[int, Any] = {}
        reporter = terminal.stock_reporter(config)
        if reporter:
            stdio.keep_writing(config.get_terminal_writer())

    @property
    def world(self) -> WorldLike:
        """The started world. Raises `CannotMeasure` before that: a fixture was asked for outside of a run."""
        if self._world is None:
            raise CannotMeasure("the cluster is not open", "Use fixtures of checks only while a check runs.")
        return self._world

    def select(self, items: list[pytest.Item]) -> None:
        """Reduce `items` to the checks asked for. A mistake ends the run before anything is started."""
        try:
            self._options = self._given_options()
            self._settings = self._options.settings()
            self._runner.required = self._options.require
            refuse_xdist(self._config)
            collected = [check for item in items if (check := check_of(item))]
            assert_unique(collected)
            self._known = known(self._manifests, collected)
            ids = chosen(self._options, collected)
        except KubereachError as error:
            self._fail(error)
            self._runner.refusal = error
            return
        left_out = [item for item in items if (check := check_of(item)) and check.id not in ids]
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]
        items[:] = parallel.last(items)

    def _given_options(self) -> RunOptions:
        """Those that were handed over, else pytest's. Raises `UsageError`."""
        handed: RunOptions | None = self._config.hook.pytest_kubereach_options(config=self._config)
        self._by_pytest = handed is None
        if handed is None:
            return validated(options.of_pytest(self._config))
        if given := options.given_to_pytest(self._config):
            raise UsageError(
                f"`kubereach run` does not take pytest's option {given[0]}",
                f"Use {given[0].replace('--kubereach-', '--')} before any --.",
            )
        return handed

    def _fail(self, error: KubereachError) -> None:
        """The first error is the run's."""
        if self._by_pytest:
            options.spell_for_pytest(error)
        self._error = self._error or error

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        if self._by_pytest and call.excinfo and isinstance(call.excinfo.value, KubereachError):
            options.spell_for_pytest(call.excinfo.value)

    # Starting

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Start the world before the first test. True ends pytest's loop: nothing can be run."""
        option = self._config.option
        if option.collectonly or (session.testsfailed and not option.continue_on_collection_errors):
            return True if self._error and self._say_error() else None
        if hasattr(self._config, "workerinput"):
            self._config.pluginmanager.register(self._runner, "kubereach runner")
            return (
                None  # every check then fails in its setup: this is how the controlling process gets to know
            )
        self._in_loop = True
        self._uncollected = session.testsfailed
        self._config.pluginmanager.register(self._runner, "kubereach runner")
        checks = [check for item in session.items if (check := check_of(item))]
        if not self._error and not checks:
            self._fail(UsageError("no check is selected", "Check -k, -m, --deselect and --lf."))
        self._open_output(session, checks)
        if self._error is None:
            self._catch_signals()
            self.deadline = Deadline(
                self._settings.run_deadline, self._parallel.has_result, self._parallel.stop
            )
            self._config.pluginmanager.register(self.deadline, "kubereach deadline")
            self.deadline.start()
            try:
                with self.deadline.interruptible("during the preparation"):
                    self._start(session, checks)
            except Exception as error:
                self._fail(as_known(error, "starting"))
                if not isinstance(error, KubereachError) and option.verbose > 0:
                    self._config.notify_exception(pytest.ExceptionInfo.from_exception(error), option)
        return True if self._error else None

    def _start(self, session: pytest.Session, checks: list[Check]) -> None:
        config = self._config
        self._bus.emit(Progress("opening the target"))
        self._target = config.hook.pytest_kubereach_target(config=config) or target_of(
            self._options, self._settings, self._manifests, lambda text: self._bus.emit(Progress(text))
        )
        # before any thread: the lab moves this process into its namespaces, which needs a single thread
        access = self._target.open()
        self.deadline.threads_allowed()
        if self._progress:
            self._progress.threads_allowed()
        if self._handlers:
            self._target.watch(self._target_lost)
        self._description = access.description
        given = {assignment.partition("=")[0].strip() for assignment in self._options.assignments}
        if access.self_load_balancer and not given & {"self_load_balancer", "self-load-balancer"}:
            self._settings = replace(self._settings, self_load_balancer=True)
        stems = service_stems(self._manifests)
        used = {
            name for item in session.items if check_of(item) for name in getattr(item, "fixturenames", ())
        }
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
            from kubereach.world import World  # not where a project has a world of its own

            world = real = World(access, self._settings, self._bus, self._manifests, services)
            real.context.examine = LazyDoctor(real).examine
        self._bus.emit(Progress("connecting to the cluster"))
        cluster = world.connect()
        self._runner.features = detect(cluster, self._settings, access.outside_why, access.no_outside)
        ids = tuple(dict.fromkeys(check.id for check in checks))
        self._runner.version = str(cluster.describe().get("version", ""))
        self._bus.emit(RunStarted(self._target.name, ids, cluster.describe()))
        self._world = world  # from here on there may be objects to remove, even if the start fails half way
        world.start()
        config.pluginmanager.register(self._parallel, "kubereach parallel checks")
        self._parallel.start(session.items, world, self._runner.wants, self._settings.check_deadline)

    def _open_output(self, session: pytest.Session, checks: list[Check]) -> None:
        self._record = Record({check.id: check for check in checks})
        self._bus.subscribe(self._record, essential=True)
        self._output = Output.open(self._config, self._record)
        # tests of other kinds beside the checks: pytest's own output stays
        if self._output and all(check_of(item) for item in session.items):
            self._config.pluginmanager.register(self._output, "kubereach output")
            self._progress = self._output.take_over(len(session.items))
            self._bus.subscribe(self._progress)

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            for further in self._handlers:  # a closed terminal may send several
                signal.signal(further, signal.SIG_IGN)
            raise Terminated(signal.Signals(number).name)

        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, terminate)

    def _target_lost(self, why: str) -> None:
        """In the target's thread: nothing can be measured any more, so the run ends as if it were told to."""
        self._lost = True
        self._fail(CannotMeasure(why, "Run it again; if it happens again, see its log."))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    # Ending

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        error = excinfo.value
        if self._lost:
            return  # told by the error
        if isinstance(error, Terminated):
            self._interrupted = f"stopped by {error}"
        elif isinstance(error, pytest.Session.Interrupted):
            self._interrupted = str(error)
        elif isinstance(error, pytest.exit.Exception):
            self._interrupted = f"stopped: {error.msg}"
        else:
            self._interrupted = "interrupted by Ctrl-C"

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        """Take everything down, judge the run and write the report; after pytest has ended the fixtures.

        What others do at a session's end, such as to write JUnit's file, may fail: that is the run's error, no more.
        """
        result = None
        if not self._in_loop:
            result = yield
            if self._error:
                session.exitstatus = self._error.exit_code
            return result
        try:
            result = yield
        except KeyboardInterrupt:
            self._interrupted = self._interrupted or "interrupted by Ctrl-C"
        except OSError as error:
            words = f"pytest cannot write a report: {error.strerror or error}"
            self._fail(CannotMeasure(f"{words}: {error.filename}" if error.filename else words))
        except Exception as error:
            self._fail(as_known(error, "ending pytest's session"))
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            self._fail(CannotMeasure("pytest itself failed", "See its message above."))
        if session.shouldstop or session.shouldfail:
            self._interrupted = self._interrupted or str(session.shouldfail or session.shouldstop)
        self._take_down()
        if threading.current_thread() is threading.main_thread():  # what is left takes no time
            self._handlers.setdefault(signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        for wrong in (self._left_out(session), self._record_error()):
            if wrong:
                self._fail(wrong)
        code = self._conclude()
        if self._error is None and (wrong := self._record_error()):  # it broke with the very last event
            self._fail(wrong)
            code = self._conclude()
        self._say_what_broke()
        self._report = self._write_report()
        if self._report is None:  # which decides anew
            code = self._conclude()
        others = any(check_of(item) is None for item in session.items)
        self.exit_code = code or (int(exitstatus) if others else 0)
        session.exitstatus = self.exit_code
        if self.deadline.hit:
            # what is pytest's own may still find something wrong; the command line takes none of that
            leave_in_time(lambda: int(session.exitstatus) if self._by_pytest else code)
        return result

    def _left_out(self, session: pytest.Session) -> KubereachError | None:
        """That checks could not be collected, or never had their turn though nobody stopped the run."""
        if self._uncollected:
            return CannotMeasure(
                f"pytest could not collect {plural(self._uncollected, 'file')} of checks",
                "See pytest's messages above.",
            )
        selected = sum(check_of(item) is not None for item in session.items)
        ran = len(self._runner.finished)
        if ran >= selected or self._interrupted:
            return None
        return CannotMeasure(
            f"{selected - ran} of {selected} selected checks did not run",
            "A plugin of pytest may have skipped them.",
        )

    def _conclude(self) -> int:
        """Judge the run, tell who wants to know, and give its exit code."""
        runner = self._runner
        self._verdict = conclude(
            runner.finished, self._known, self._error, self._interrupted, runner.missing, runner.undecided
        )
        code = self._verdict.exit_code
        self._bus.emit(RunFinished(self._verdict.word, code, time.monotonic() - self._began))
        return code

    def _record_error(self) -> KubereachError | None:
        """Why the report cannot be relied upon, if so: a run must not end well with a wrong one."""
        for consumer, error in self._bus.broken:
            if consumer is self._record:
                return as_known(error, "the report is incomplete")
        return None

    def _say_what_broke(self) -> None:
        """Tell once of each consumer of events that raised something; the run went on without it."""
        for consumer, error in self._bus.broken:
            if consumer is not self._record and self._output:
                name = type(consumer).__name__
                self._output.say(
                    f"kubereach: {name} failed and was disabled: {type(error).__name__}: {error}"
                )

    def _take_down(self) -> None:
        """Remove our objects and close the target, whatever happened. A failure there is the run's error."""
        self.deadline.stop()
        if self.deadline.hit and not self._error:
            self._interrupted = (
                self._interrupted or f"the run's deadline of {self._settings.run_deadline:g} s passed"
            )
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)  # we are ending already
        self._step("deleting the run's objects", self._remove)
        self._step("exporting logs", self._export_logs)
        if self._target is not None:
            self._step("closing the target", self._target.close)
        if self._progress:
            self._step("clearing the progress display", self._progress.stop)

    def _step(self, doing: str, step: Callable[[], object]) -> None:
        """Do one step of the end; the others follow whatever comes of it."""
        try:
            step()
        except KeyboardInterrupt:
            left = "The next run deletes what this one left in the cluster."
            self._fail(CannotMeasure(f"interrupted while {doing}", left))
        except Exception as error:
            self._fail(as_known(error, doing))

    def _remove(self) -> None:
        self._parallel.stop()
        if self._world is not None:
            if self._lost:
                self._world.abandon()
            else:
                self._world.stop()

    def _export_logs(self) -> None:
        """Of a run that has failed, as far as the target keeps any. What goes wrong here hides no other failure."""
        if self._interrupted or self._lost or not isinstance(self._target, KeepsLogs):
            return
        if not self._error and not any(v.word in (FAIL, ERROR) for _, v in self._runner.finished):
            return
        try:
            logs = self._target.export_logs(self._report_folder)
        except (Exception, KeyboardInterrupt) as error:
            self._bus.emit(Progress(f"no logs exported: {error or 'interrupted'}"))
            return
        if logs and self._output:
            self._output.say(f"logs of the cluster: {logs}")

    @property
    def _report_folder(self) -> Path:
        return self._options.report_dir or self._config.rootpath / "reports" / "latest"

    def _surroundings(self) -> json_report.Surroundings:
        ran = {check.id for check, _ in self._runner.finished}
        return json_report.Surroundings(
            settings=self._settings,
            target=self._target.name if self._target else self._options.target,
            description=self._description,
            features=self._runner.features,
            reason=self._verdict.reason if self._verdict else "",
            error=self._error,
            not_run=tuple(check for check in self._known if check.id not in ran),
        )

    def _write_report(self) -> Path | None:
        """Where it is. That it cannot be written is the run's error: what nobody can read is not known."""
        folder = self._report_folder
        try:
            return json_report.write(json_report.document(self._record, self._surroundings()), folder)
        except OSError as error:
            words = f"cannot write the report: {error.strerror or error}: {folder}"
            self._fail(CannotMeasure(words, "Choose another folder with --report-dir."))
        except Exception as error:
            self._fail(as_known(error, "writing the report"))
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        if self._verdict and self._output:
            self._output.summary(self._surroundings(), self._report)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self.deadline.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._output:
            self._output.close()

    def _say_error(self) -> bool:
        reporter = terminal.stock_reporter(self._config)
        if reporter and self._error:
            reporter.write_line(f"kubereach: {self._error.message}")
            reporter.write_line(f"  {self._error.remedy}")
        return True
