"""A check whose instrument broke is measured once more from its beginning, where all can be as it was before."""

from __future__ import annotations

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

#: a check that says how often it ran, and does `first` the first time, `then` from then on
CHECK = """
from kubereach.model.events import Changed, Probed
TIMES = []

@check("demo.one", source=DOCS{more})
def test_one(world{fixtures}):
    '''It works.'''
    TIMES.append("x")
    open("times.txt", "w").write("".join(TIMES))
    world.bus.emit(Changed("create", "Service a/web"))
    verify(True, "one")
    seen = ("pod@worker", "pod", "worker", "clusterip", "there", True, {{"ok": 1}}, (0.1,), 0.0)
    world.bus.emit(Probed("demo.one", *seen))
    if len(TIMES) == 1:
        {first}
    {then}
    verify(True, "two")

@check("demo.other", source=DOCS)
def test_other(nodeport):
    '''It works.'''
    verify(True, "it does")
"""
BREAKS = 'raise InstrumentBroke("the stream to pod@worker broke: reset")'


def run(
    project: Project, code: int, first: str = BREAKS, then: str = "pass", more: str = "", fixtures: str = ""
) -> int:
    """Gives how often the check ran."""
    project.checks(CHECK.format(first=first, then=then, more=more, fixtures=fixtures))
    project.run(code=code)
    return len((project.path / "times.txt").read_text())


def told(project: Project) -> list[str]:
    return [line for check in project.report["checks"] for line in check["notes"]]


@pytest.mark.parametrize("more", ["", ", slow=True"])
def test_it_passes_by_what_it_measures_anew(project: Project, more: str) -> None:
    assert run(project, 0, more=more) == 2
    assert project.verdicts == {"demo.one": "pass", "demo.other": "pass"}
    (one,) = [check for check in project.report["checks"] if check["id"] == "demo.one"]
    assert (one["judged"], one["minimum"], len(one["paths"])) == (2, 2, 1)
    assert told(project) == ["measured again from its beginning: the stream to pod@worker broke: reset"]
    assert "renew create Service a/web" in project.log


def test_it_is_measured_anew_once(project: Project) -> None:
    assert run(project, 3, then=BREAKS) == 2
    assert project.verdicts["demo.one"] == "error"


def test_what_fails_the_second_time_has_failed(project: Project) -> None:
    assert run(project, 1, then='verify(False, "it does not")') == 2
    assert project.verdicts["demo.one"] == "fail"


@pytest.mark.parametrize(
    ("first", "code", "verdict"),
    [
        ('verify(False, "it does not")', 1, "fail"),
        ('raise NotConforming([Failure("pod@worker", "clusterip", "an answer", "none")])', 1, "fail"),
        ('raise CannotMeasure("no such pod")', 3, "error"),
        ('raise Unsupported("not here")', 0, "unsupported"),
        ('raise KeyError("podIP")', 3, "error"),
    ],
)
def test_nothing_else_is_measured_anew(project: Project, first: str, code: int, verdict: str) -> None:
    assert run(project, code, first=first) == 1
    assert project.verdicts["demo.one"] == verdict


def test_what_changes_what_others_use_is_not_measured_anew(project: Project) -> None:
    assert run(project, 3, more=", changes='nodeport'", fixtures=", nodeport") == 1
    assert project.verdicts["demo.one"] == "error"


def test_what_disturbs_is_not_measured_anew(project: Project) -> None:
    project.checks(CHECK.format(first=BREAKS, then="pass", more=", level=DISR", fixtures=""))
    project.run("--kubereach-disruptive", code=3)
    assert (project.path / "times.txt").read_text() == "x"


def test_fixtures_of_others_cannot_be_made_anew(project: Project) -> None:
    assert run(project, 3, fixtures=", request") == 1


def test_what_cannot_be_as_it_was_stays_an_error(project: Project) -> None:
    project.fake(renew='return "the deletion of Service a/web did not finish"')
    assert run(project, 3) == 1
    assert project.verdicts["demo.one"] == "error"
    assert told(project) == ["not measured again: the deletion of Service a/web did not finish"]
    # what it had seen by then is told
    assert [len(check["paths"]) for check in project.report["checks"]] == [1, 0]
