"""Which checks run, and what a wrong choice gets."""

from __future__ import annotations

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

SUITE = '''
@check("demo.one", source=DOCS)
def test_one(nodeport):
    """One works."""
    verify(True, "it works")

@check("demo.two", source=DOCS)
def test_two(second_service):
    """Two works."""
    verify(True, "it works")

@check("other.extra", level=EXT, source=DOCS)
def test_extra():
    """Extra works."""
    verify(True, "it works")

@check("other.disturbs", level=DISR, source=DOCS)
def test_disturbs():
    """Disturbing works."""
    verify(True, "it works")
'''


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], ["demo.one", "demo.two", "other.extra"]),
        (["--kubereach-disruptive"], ["demo.one", "demo.two", "other.extra", "other.disturbs"]),
        (["--kubereach-check=demo.two"], ["demo.two"]),
        (["--kubereach-check=demo.*,other.extra"], ["demo.one", "demo.two", "other.extra"]),
        (["--kubereach-check=demo", "--kubereach-skip-check=*.one"], ["demo.two"]),
        (["--kubereach-level=ext"], ["other.extra"]),
        (["--kubereach-quick"], ["demo.one", "demo.two"]),
        (["-k", "two"], ["demo.two"]),
    ],
)
def test_selection(project: Project, arguments: list[str], chosen: list[str]) -> None:
    project.checks(SUITE)
    project.run(*arguments, code=0)
    assert list(project.verdicts) == chosen
    everything = {"demo.one", "demo.two", "other.extra", "other.disturbs"}
    assert set(project.report["not_run"]) == everything - set(chosen)
    core = {"demo.one", "demo.two"} <= set(chosen)
    assert project.report["verdict"] == ("conformant" if core else "partial")


def test_only_the_services_of_the_selected_checks_are_started(project: Project) -> None:
    project.checks(SUITE)
    project.run("--kubereach-check=demo.two", code=0)
    assert project.log == "open start second-service stop close"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["--kubereach-check=demo.oen"],
            ["kubereach: no check matches demo.oen", "  Did you mean demo.one*?"],
        ),
        (
            ["--kubereach-skip-check=x.*"],
            ["kubereach: no check matches x.*", "  See `kubereach list` for the ids."],
        ),
        (
            ["--kubereach-check=other.disturbs"],
            ["kubereach: all selected checks are disruptive", "  Add --kubereach-disruptive*"],
        ),
        (
            ["--kubereach-level=must"],
            ["kubereach: --kubereach-level must: unknown level", "  Known: core, ext, info, disr."],
        ),
        (
            ["--kubereach-require=x"],
            ["kubereach: --kubereach-require x: unknown feature", "  Known: multi-node, *"],
        ),
        (
            ["--kubereach-quick", "--kubereach-level=ext"],
            ["kubereach: none of the selected checks is quick *", "  Leave out --kubereach-quick."],
        ),
        (["-k", "nothing"], ["kubereach: no check is selected", "*"]),
        (
            ["--kubereach-target=moon"],
            ["kubereach: --kubereach-target moon: unknown target", "  Targets: lab, kind, existing."],
        ),
        (
            ["--kubereach-target=lab", "--kubereach-context=x"],
            ["kubereach: --kubereach-target lab does not take --kubereach-context*", "*"],
        ),
        (
            ["--kubereach-context=x", "--kubereach-dual-stack"],
            ["kubereach: --kubereach-dual-stack works with the lab and kind only*"],
        ),
        (
            ["--kubereach-context=x", "--kubereach-fault=y"],
            ["kubereach: --kubereach-fault y: works with the lab only", "*"],
        ),
        (["--kubereach-nodes=none"], ["kubereach: --kubereach-nodes none: not a valid number of nodes", "*"]),
        (
            ["--kubereach-set=los=1"],
            [
                "kubereach: --kubereach-set los=1: there is no such setting",
                "  Did you mean loss? Settings: image,*",
            ],
        ),
        (
            ["--kubereach-set=loss=much"],
            ["kubereach: --kubereach-set loss=much: not a number, zero or more", "  The default is 0.05."],
        ),
    ],
)
def test_wrong_usage_is_two_lines_and_starts_nothing(
    project: Project, arguments: list[str], lines: list[str]
) -> None:
    project.checks(SUITE)
    result = project.run(*arguments, code=2)
    result.stdout.fnmatch_lines(lines)
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not (project.path / "log.txt").exists()


def test_settings_reach_the_world(project: Project) -> None:
    project.checks(
        '''
        @check("demo.settings", source=DOCS)
        def test_settings(world):
            """Settings arrive."""
            s = world.settings
            found = (s.loss, s.keep, s.image, s.in_flight)
            verify(found == (0.1, True, "python:3", 4), f"they are {found}")
        '''
    )
    project.run(
        "--kubereach-set=loss=0.1",
        "--kubereach-set",
        "in-flight=4",
        "--kubereach-keep",
        "--kubereach-image=python:3",
        code=0,
    )
    assert project.report["settings"]["in_flight"] == 4


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (
            '@check("Demo.One", source=DOCS)\ndef test_one():\n    """One."""',
            "*malformed check id 'Demo.One'*",
        ),
        ('@check("demo.one", source=DOCS)\ndef test_one():\n    pass', "*check demo.one has no docstring*"),
        (
            '@check("demo.one", level="must", source=DOCS)\ndef test_one():\n    """One."""',
            "*unknown level 'must'*",
        ),
        (
            '@check("demo.one", needs="x", source=DOCS)\ndef test_one():\n    """One."""',
            "*unknown feature 'x'*",
        ),
    ],
)
def test_a_wrong_declaration_names_the_file(project: Project, declaration: str, message: str) -> None:
    project.checks(declaration)
    result = project.run(code=2)
    result.stdout.fnmatch_lines([f"*test_checks.py: test_one: {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_id_is_declared_once(project: Project) -> None:
    declaration = '@check("demo.one", source=DOCS)\ndef test_one():\n    """One."""'
    project.checks(declaration)
    project.checks(declaration, "test_again.py")
    project.run(code=2).stdout.fnmatch_lines(
        ["kubereach: check id demo.one is declared twice: *test_again.py*test_checks.py*"]
    )


def test_collect_only_starts_nothing(project: Project) -> None:
    project.checks(SUITE)
    project.run("--collect-only", "-q", code=0).stdout.fnmatch_lines(
        ["*::test_one", "*::test_two", "*::test_extra"]
    )
    project.run("--collect-only", "--kubereach-check=demo.x", code=2).stdout.fnmatch_lines(
        ["kubereach: no check matches demo.x"]
    )
    assert not (project.path / "log.txt").exists()


def test_last_failed_runs_again(project: Project) -> None:
    project.checks(
        SUITE
        + '''
@check("demo.bad", source=DOCS)
def test_bad():
    """Bad works."""
    assert False
'''
    )
    project.pytester.runpytest_inprocess()
    assert project.pytester.runpytest_inprocess("--lf").ret == 1
    assert list(project.verdicts) == ["demo.bad"]


def test_a_quick_run_leaves_out_what_is_slow_and_is_partial(project: Project) -> None:
    project.checks(
        SUITE
        + '''
@check("demo.slow", slow=True, source=DOCS)
def test_slow():
    """Slow works."""
    verify(True, "it works")
'''
    )
    project.run("--kubereach-quick", code=0)
    assert list(project.verdicts) == ["demo.one", "demo.two"]
    assert project.report["verdict"] == "partial"
    assert project.report["reason"] == "1 core check not selected"
