"""The pytest plugin. Loaded wherever kubereach is installed, it stays idle until it sees a check.

What a run needs is imported with the first check: other projects pay for none of it. Options are in
`kubereach.run.options`, fixtures in `kubereach.run.fixtures`, a run's life in `kubereach.run.session`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kubereach.model.check import declaration_of
from kubereach.model.errors import KubereachError
from kubereach.report import stdio
from kubereach.run import options

if TYPE_CHECKING:
    from kubereach.run.session import Run

RUN: pytest.StashKey[Run] = pytest.StashKey()
_MANIFESTS = pytest.StashKey[Path]()


class LastingTerminal:
    """A pytest plugin object: what pytest cannot write is dropped, so that no verdict depends on who reads it."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        if config.pluginmanager.hasplugin("terminalreporter"):
            stdio.keep_writing(config.get_terminal_writer())


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_to_pytest(parser)


def ensure_plugin(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:  # noqa: ARG001
    """For a project of checks: load the plugin under its entry point's name, unless it is loaded or blocked already."""
    if pluginmanager.is_blocked("kubereach"):
        return
    if not pluginmanager.hasplugin("kubereach"):
        pluginmanager.register(sys.modules[__name__], "kubereach")
    # before the first check is seen, and whatever becomes of the output meanwhile
    if not pluginmanager.hasplugin("kubereach terminal"):
        pluginmanager.register(LastingTerminal(), "kubereach terminal")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from kubereach.run import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:  # noqa: ARG001
    """Make the fixtures of checks known before pytest looks up those of the first check."""
    if _MANIFESTS in collector.config.stash or declaration_of(obj) is None:
        return
    from kubereach.run.catalogue import manifests_for
    from kubereach.run.fixtures import make_fixtures

    collector.config.stash[_MANIFESTS] = manifests = manifests_for(collector.path)
    fixtures = make_fixtures(manifests, lambda config: config.stash[RUN].world)
    collector.config.pluginmanager.register(fixtures, "kubereach fixtures")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A wrong declaration is the author's mistake, not a defect of ours: one line instead of a traceback."""
    report = yield
    call = getattr(report, "call", None)
    if call is not None and call.excinfo is not None and isinstance(call.excinfo.value, KubereachError):
        report.longrepr = str(call.excinfo.value)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the checks to run. With none collected this session is none of our business."""
    if not any(declaration_of(getattr(item, "obj", None)) for item in items):
        return
    from kubereach.run.session import Run

    run = Run(config, config.stash[_MANIFESTS])
    config.stash[RUN] = run
    config.pluginmanager.register(run, "kubereach run")
    run.select(items)
