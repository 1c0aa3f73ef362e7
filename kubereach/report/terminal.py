"""Takes the terminal over from pytest once a run of checks starts: progress and a matrix instead of dots.

Only pytest's stock reporter is replaced, and only when every selected test is a check. With another reporter
(pytest-sugar) or tests of other kinds in the run, pytest's output stays and ours follows at the end.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from typing import Any, cast

import pytest
from pytest import TerminalReporter
from rich.console import Console

from kubereach.report import stdio
from kubereach.report.symbols import Symbols, symbols_for

_WIDTH = 100


class QuietReporter(TerminalReporter):  # type: ignore[misc]  # final for checkers, not for plugins
    """pytest's reporter without its tests' progress and summaries; other plugins still find and use it."""

    def __init__(self, stock: TerminalReporter) -> None:
        # one state for both: plugins that keep a reference to the stock reporter see the same statistics
        self.__dict__ = stock.__dict__

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """A check announces itself by an event."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        status = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        self._add_stats(status[0], [report])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A check's end is an event too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        yield
        self.config.hook.pytest_terminal_summary(
            terminalreporter=self, exitstatus=session.exitstatus or exitstatus, config=self.config
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(self) -> Generator[None, None, None]:
        yield
        if self.verbosity > 0:
            self.summary_warnings()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """The verdict says that the run was interrupted."""

    def pytest_unconfigure(self) -> None:
        """No interrupt is left to be told of."""


class _ReporterStream(io.TextIOBase):
    """Writes through pytest's reporter, into whatever file it was given."""

    def __init__(self, reporter: TerminalReporter) -> None:
        self._reporter = reporter

    def write(self, text: str) -> int:
        self._reporter.write(text)
        return len(text)

    def flush(self) -> None:
        self._reporter.flush()


def stock_reporter(config: pytest.Config) -> TerminalReporter | None:
    """pytest's reporter, or None with ``-p no:terminal``."""
    return cast("TerminalReporter | None", config.pluginmanager.get_plugin("terminalreporter"))


def silence(config: pytest.Config) -> None:
    """Put a `QuietReporter` into the place of pytest's own reporter."""
    reporter = stock_reporter(config)
    if type(reporter) is TerminalReporter:
        config.pluginmanager.unregister(reporter)
        config.pluginmanager.register(QuietReporter(reporter), "terminalreporter")


def open_console(reporter: TerminalReporter) -> tuple[Console, Symbols, bool]:
    """A console on pytest's terminal, the marks that it can show, and whether a live display makes sense.

    Call it while pytest does not capture: on a terminal the console gets a descriptor of its own, so that the
    live line goes on while a check's output is captured.
    """
    marks = symbols_for(getattr(sys.stdout, "encoding", None))
    live = _on_terminal(reporter)
    options: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    if not live:
        options.update(width=_WIDTH, force_terminal=reporter.hasmarkup)
        options.update(color_system="standard" if reporter.hasmarkup else None)
        return Console(file=cast("Any", _ReporterStream(reporter)), **options), marks, False
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace")
    console = Console(file=stdio.lasting(own), **options)
    if console.width > _WIDTH:
        console.width = _WIDTH
    return console, marks, not console.is_dumb_terminal


def _on_terminal(reporter: TerminalReporter) -> bool:
    try:
        return bool(reporter.isatty()) and os.isatty(sys.stdout.fileno())
    except (OSError, ValueError):  # io.UnsupportedOperation is both: a stdout without a descriptor
        return False
