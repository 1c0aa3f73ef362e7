"""A pass is earned: the check's body ran, and it judged something."""

from __future__ import annotations

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

JUDGES = '''
@check("demo.judges", source=DOCS)
def test_judges(nodeport):
    """It works."""
    verify(nodeport == "service nodeport", f"it is {nodeport}")
'''


def message(project: Project, id: str) -> str:
    (found,) = [check["message"] for check in project.report["checks"] if check["id"] == id]
    return str(found)


def test_the_report_says_how_much_was_judged(project: Project) -> None:
    project.checks(JUDGES)
    project.run(code=0)
    (check,) = project.report["checks"]
    assert (check["verdict"], check["judged"], check["minimum"]) == ("pass", 1, 1)


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_what_pytest_only_sets_up_has_not_passed(project: Project, option: str) -> None:
    project.checks(JUDGES)
    project.run(option, "--junitxml=junit.xml", code=3)
    assert project.verdicts == {"demo.judges": "error"}
    assert message(project, "demo.judges").startswith("the test function did not run")
    assert 'value="error"' in (project.path / "junit.xml").read_text()


@pytest.mark.parametrize(
    "hook",
    [
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_protocol(item, nextitem):\n    return True\n",
        "def pytest_runtest_setup(item):\n    item.runtest = lambda: None\n",
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n        item.obj.__func__ if hasattr(item.obj, '__func__') else None\n"
        "        item.runtest = lambda: None\n",
    ],
    ids=["the protocol", "the call", "the call, when collecting"],
)
def test_what_a_plugin_leaves_out_has_not_passed(project: Project, hook: str) -> None:
    project.checks(JUDGES)
    conftest = project.path / "conftest.py"
    conftest.write_text("import pytest\n" + conftest.read_text() + "\n" + hook)
    project.run("-x", code=3)
    assert project.verdicts == {"demo.judges": "error"}


def test_a_run_whose_checks_had_no_turn_is_not_measured(project: Project) -> None:
    project.checks(JUDGES)
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\ndef pytest_runtestloop(session):\n    return True\n")
    project.run(code=3).stdout.fnmatch_lines(["kubereach: 1 of 1 selected checks did not run"])
    assert project.report["verdict"] == "not measured"


@pytest.mark.parametrize(
    ("mark", "level"),
    [("skip(reason='not today')", "CORE"), ("skipif(True, reason='not today')", "EXT")],
)
def test_a_check_that_was_skipped_has_not_been_found_unsupported(
    project: Project, mark: str, level: str
) -> None:
    project.checks(f"@pytest.mark.{mark}" + JUDGES.replace("source", f"level={level}, source"))
    project.run("--junitxml=junit.xml", code=3)
    assert project.verdicts == {"demo.judges": "error"}
    assert message(project, "demo.judges") == "did not run (skipped: not today)"
    assert project.report["verdict"] == "not measured"
    assert 'value="error"' in (project.path / "junit.xml").read_text()


def test_a_run_in_which_nothing_passed_is_not_conformant(project: Project) -> None:
    project.checks(
        JUDGES.replace("test_judges(nodeport)", "test_judges(nodes)").replace("source", "level=EXT, source")
    )
    project.run(code=3).stdout.fnmatch_lines(["not measured: 1 unsupported *; no check passed"])
    assert project.verdicts == {"demo.judges": "unsupported"}


def test_a_check_that_judges_nothing_has_not_passed(project: Project) -> None:
    project.checks(
        JUDGES
        + '''
@check("demo.empty", source=DOCS)
def test_empty(nodeport):
    """It works, by an assertion that nobody counts."""
    assert nodeport
'''
    )
    project.run("--junitxml=junit.xml", code=3)
    assert project.verdicts == {"demo.judges": "pass", "demo.empty": "error"}
    assert message(project, "demo.empty").startswith("the check compared no probe")
    assert "compared no probe" in (project.path / "junit.xml").read_text()


def test_a_minimum_can_be_declared(project: Project) -> None:
    project.checks(JUDGES.replace("source", "minimum=2, source"))
    project.run(code=3)
    assert message(project, "demo.judges").startswith("the check compared 1 of at least 2")
    assert project.report["checks"][0]["minimum"] == 2
    project.checks(JUDGES.replace("source", "minimum=0, source"))
    project.run(code=2).stdout.fnmatch_lines(["*check demo.judges has the minimum 0*"])


def test_a_failure_that_pytest_is_told_of_fails(project: Project) -> None:
    project.checks(
        '''
        @check("demo.fails", source=DOCS)
        def test_fails():
            """It works."""
            pytest.fail("it does not")

        @check("demo.informs", level=INFO, source=DOCS)
        def test_informs():
            """It works."""
            pytest.fail("it does not")
        '''
    )
    project.run(code=1)
    assert project.verdicts == {"demo.fails": "fail", "demo.informs": "noted"}
    assert message(project, "demo.fails") == "it does not"


def test_a_failure_counts_though_pytest_expects_it(project: Project) -> None:
    project.checks("@pytest.mark.xfail" + JUDGES.replace('"service nodeport"', '"another"'))
    project.run(code=1)
    assert project.verdicts == {"demo.judges": "fail"}


def test_a_failure_stands_when_the_run_is_interrupted_in_its_teardown(project: Project) -> None:
    project.checks(
        '''
        @pytest.fixture
        def interrupting():
            yield
            raise KeyboardInterrupt

        @check("demo.fails", source=DOCS)
        def test_fails(interrupting):
            """It works."""
            verify(False, "it does not")
        '''
    )
    project.run(code=1)
    assert project.verdicts == {"demo.fails": "fail"}


def test_files_that_cannot_be_collected_are_no_pass(project: Project) -> None:
    """Pytest goes on without them, if it is told to."""
    project.checks('''
        @check("demo.one", source=DOCS)
        def test_one(nodeport):
            """One works."""
            verify(True, "it works")
    ''')
    project.checks("import no_such_module", "test_broken.py")
    result = project.run("--continue-on-collection-errors", code=3)
    result.stdout.fnmatch_lines(["kubereach: pytest could not collect 1 file of checks"])
