"""A machine that sleeps in the middle of a check has measured nothing."""

from __future__ import annotations

import pytest
from plugin_project import Project

from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.probe import suspension

pytest_plugins = ["pytester"]

#: `{arguments}` decide whether pytest or a thread of ours runs the check
_SLEEPS = '''
@check("demo.sleeps", source=DOCS)
def test_sleeps({arguments}):
    """A thing works."""
    from kubereach.probe import suspension
    def later(now=suspension.now):
        moment = now()
        return suspension.Interval(moment.running, moment.elapsed + 61)
    suspension.now = later
    {outcome}
'''


@pytest.mark.parametrize("arguments", ["", "nodeport"])
def test_a_failure_while_the_machine_slept_is_an_error(
    arguments: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspension, "now", suspension.now)
    project.checks(_SLEEPS.format(arguments=arguments, outcome="raise NotConforming([])"))
    project.run(code=3)
    (check,) = project.report["checks"]
    assert check["verdict"] == "error"
    assert check["message"].startswith("this machine was suspended for 61 s during the measurement")


def test_what_passed_in_spite_of_it_has_passed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "now", suspension.now)
    project.checks(_SLEEPS.format(arguments="nodeport", outcome="verify(True, 'it is')"))
    project.run(code=0)


def test_a_process_that_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = suspension.Watch()
    watch.start()
    begun = suspension.now()
    assert watch.excuse(begun) == ""
    watch._last -= 60  # the thread did not get a turn for that long
    assert watch.excuse(begun) == "kubereach was not scheduled for 60 s"
    assert watch.excuse(suspension.now()) == "", "what began afterwards was not"
    watch.stop()
    monkeypatch.setattr(suspension, "WATCH", watch)
    assert isinstance(suspension.unless_suspended(NotConforming([]), begun), CannotMeasure)
    for other in (CannotMeasure("x"), KeyError("x")):
        assert suspension.unless_suspended(other, begun) is other
