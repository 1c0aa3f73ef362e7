"""Who listens to a run's events and crashes costs only itself."""

from __future__ import annotations

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

CHECKS = '''
from kubereach.model.events import Note

@check("demo.one", source=DOCS)
def test_one(world):
    """It works."""
    world.bus.emit(Note("demo.one", "a note"))
    verify(True, "it works")

@check("demo.two", source=DOCS)
def test_two(world):
    """It works."""
    world.bus.emit(Note("demo.two", "a note"))
    verify({holds}, "it does not")
'''
BREAKS = """
import {module} as module
from kubereach.model.events import {event}
class Broken(module.{name}):
    def __call__(self, event):
        if isinstance(event, {event}):
            raise KeyError("podIP")
        super().__call__(event)
import kubereach.{user} as user
user.{name} = Broken
"""


def breaking(project: Project, module: str, name: str, user: str, event: str) -> None:
    conftest = project.path / "conftest.py"
    code = BREAKS.format(module=module, name=name, user=user, event=event)
    conftest.write_text(conftest.read_text() + code)


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the inner project patches is put back."""
    import kubereach.report.output
    import kubereach.run.session

    monkeypatch.setattr(kubereach.run.session, "Record", kubereach.run.session.Record)
    monkeypatch.setattr(kubereach.report.output, "PlainProgress", kubereach.report.output.PlainProgress)


def test_a_display_that_crashes_is_told_once_and_changes_nothing(project: Project) -> None:
    breaking(project, "kubereach.report.progress", "PlainProgress", "report.output", "CheckStarted")
    project.checks(CHECKS.format(holds=True))
    result = project.run(code=0)
    told = [line for line in result.outlines if "Broken failed and was disabled: KeyError" in line]
    assert len(told) == 1
    assert project.verdicts == {"demo.one": "pass", "demo.two": "pass"}
    assert [check["notes"] for check in project.report["checks"]] == [["a note"]] * 2


@pytest.mark.parametrize("event", ["Note", "CheckFinished", "RunFinished"])
@pytest.mark.parametrize("holds", [True, False])
def test_a_run_with_a_wrong_report_does_not_end_well(project: Project, holds: bool, event: str) -> None:
    breaking(project, "kubereach.report.record", "Record", "run.session", event)
    project.checks(CHECKS.format(holds=holds))
    result = project.run(code=3 if holds else 1)
    result.stdout.fnmatch_lines(["kubereach: the report is incomplete: KeyError: 'podIP'"])
