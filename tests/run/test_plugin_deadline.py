"""A check that does not end: the run goes on without it."""

from __future__ import annotations

import time

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

HANGS = '''
import threading

def hang():
    threading.Event().wait(60)

@check("demo.hangs", {slow}source=DOCS)
def test_hangs({fixture}):
    """It ends."""
    hang()
'''
WORKS = '''
@check("demo.works", {slow}source=DOCS)
def test_works(nodeport):
    """It works."""
    verify(True, "it works")
'''


@pytest.mark.parametrize("slow", ["", "slow=True, "])
@pytest.mark.parametrize("fixture", ["nodeport", "request", ""])
def test_a_check_that_does_not_end_is_an_error_and_the_run_goes_on(
    project: Project, slow: str, fixture: str
) -> None:
    project.checks(HANGS.format(slow=slow, fixture=fixture) + WORKS.format(slow=slow))
    begun = time.monotonic()
    project.run("--kubereach-set=check_deadline=0.5", code=3)
    assert time.monotonic() - begun < 30
    assert project.verdicts == {"demo.hangs": "error", "demo.works": "pass"}
    assert project.report["checks"][0]["message"].startswith(
        "did not end within 0.5 s: it waits at test_checks.py:12 "
    )


def test_as_many_as_have_threads_may_hang(project: Project) -> None:
    hanging = HANGS.format(slow="", fixture="nodeport").replace('"demo.hangs"', "f'demo.hangs'")
    head, body = hanging.split("@check", 1)
    several = "".join(
        "@check" + body.replace("f'demo.hangs'", f"'demo.hangs-{n}'").replace("test_hangs", f"test_hangs_{n}")
        for n in range(6)
    )
    project.checks(head + several + WORKS.format(slow=""))
    project.run("--kubereach-set=check_deadline=0.3", code=3)
    assert project.verdicts.pop("demo.works") == "pass"
    assert list(project.verdicts.values()).count("error") == 6


def test_what_the_others_wait_for_is_given_up_too(project: Project) -> None:
    hanging = HANGS.format(slow='changes="nodeport", ', fixture="nodeport")
    project.checks(hanging + WORKS.format(slow=""))
    project.run("--kubereach-set=check_deadline=0.3", code=3)
    assert project.verdicts == {"demo.hangs": "error", "demo.works": "pass"}


def test_one_that_was_given_up_changes_and_probes_nothing_more(project: Project) -> None:
    project.checks(
        """
        import threading
        GIVEN_UP, TRIED = threading.Event(), threading.Event()

        @check("demo.wakes", source=DOCS)
        def test_wakes(nodeport):
            '''It wakes up too late.'''
            from kubereach.model.tally import must_go_on
            GIVEN_UP.wait(30)
            try:
                must_go_on()
            except CannotMeasure as error:
                open("why.txt", "w").write(error.message)
            TRIED.set()

        @check("demo.works", source=DOCS)
        def test_works(request):
            '''It works.'''
            GIVEN_UP.set()
            TRIED.wait(30)
            verify(True, "")
        """
    )
    project.run("--kubereach-set=check_deadline=0.5", code=3)
    assert (project.path / "why.txt").read_text().startswith("did not end within 0.5 s")


def test_without_a_deadline_it_is_waited_for(project: Project) -> None:
    project.checks(WORKS.format(slow="").replace("verify", "time.sleep(0.2)\n    verify"))
    project.run("--kubereach-set=check_deadline=0", code=0)
