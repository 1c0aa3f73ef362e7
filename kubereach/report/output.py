"""What a run shows on pytest's terminal, from the first step to the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text

from kubereach.report import summary, terminal
from kubereach.report.json_report import Surroundings
from kubereach.report.progress import LiveProgress, PlainProgress
from kubereach.report.record import Record


class Output:
    """Owns the console. Open it while pytest does not capture."""

    def __init__(self, config: pytest.Config, record: Record, reporter: pytest.TerminalReporter) -> None:
        self._config = config
        self._record = record
        self._reporter = reporter
        self._console, self._marks, self._live = terminal.open_console(reporter)
        self._taken_over = False

    @classmethod
    def open(cls, config: pytest.Config, record: Record) -> Output | None:
        """None where pytest itself has no terminal (``-p no:terminal``)."""
        reporter = terminal.stock_reporter(config)
        return cls(config, record, reporter) if reporter else None

    def take_over(self, total: int) -> LiveProgress | PlainProgress:
        """Silence pytest's own reporter and show the progress of `total` checks instead."""
        self._reporter.ensure_newline()
        self._reporter.flush()
        terminal.silence(self._config)
        self._taken_over = True
        option = self._config.option
        if self._live and option.capture != "no" and not option.usepdb:
            return LiveProgress(self._console, self._marks, self._record, total, option.verbose > 0)
        return PlainProgress(self._console, self._marks)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """With -v an unexpected error's traceback; every other failure has become a string."""
        if (
            self._taken_over
            and report.failed
            and self._config.option.verbose > 0
            and not isinstance(report.longrepr, str)
        ):
            self._console.print(Text(str(report.longrepr)), soft_wrap=True)

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def summary(self, around: Surroundings, report: Path | None) -> None:
        summary.show(self._console, self._marks, self._record, around, report)

    def close(self) -> None:
        """Write what is not written yet: pytest ends the process by it."""
        self._reporter.flush()
        self._console.file.close()
