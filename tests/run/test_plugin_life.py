"""The life of a run: features, errors while starting and ending, signals, and sessions that are not ours."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

ONE = '''
@check("demo.one", source=DOCS)
def test_one(nodeport):
    """One works."""
    verify(True, "it works")
'''


def test_a_missing_feature_is_unsupported_with_the_evidence(project: Project) -> None:
    project.fake(nodes=1)
    project.checks(
        ONE
        + '''
@check("demo.many", needs=MULTI_NODE, source=DOCS)
def test_many():
    """Many work."""
    raise AssertionError("must not run")
'''
    )
    result = project.run(code=0)
    result.stdout.fnmatch_lines(
        [
            "* demo.many  unsupported: multi-node: 1 node: control-plane",
            "partial: 1 passed, 1 unsupported*1 core check unsupported",
        ]
    )
    assert project.report["features"]["multi-node"] == {"present": False, "evidence": "1 node: control-plane"}
    result = project.run("--kubereach-require=multi-node,outside", code=1)
    result.stdout.fnmatch_lines(
        ["  cluster ?* multi-node", "    expected present (--require)", "    got      absent"]
    )


def test_a_feature_that_only_use_can_tell_is_waited_for_once(project: Project) -> None:
    project.checks(
        '''
        @check("lb.first", level=EXT, needs=LOADBALANCER, source=DOCS)
        def test_first():
            """An address is assigned."""
            raise Unsupported("no address within 60 s", feature=LOADBALANCER)

        @check("lb.second", level=EXT, needs=[LOADBALANCER, OUTSIDE], source=DOCS)
        def test_second():
            """The address answers."""
            raise AssertionError("must not run")

        @check("demo.nodes", needs=HOST_NETWORK, source=DOCS)
        def test_nodes(nodes):
            """Nodes reach it."""
        '''
    )
    project.run(code=3).stdout.fnmatch_lines(
        ["* lb.second *unsupported: loadbalancer: no address within 60 s"]
    )
    assert set(project.verdicts.values()) == {"unsupported"}
    assert not project.report["features"]["loadbalancer"]["present"]
    assert project.report["features"]["host-network"]["evidence"] == "pods on the host network are forbidden"


@pytest.mark.parametrize(
    ("where", "code", "log"),
    [("open", 2, "open close"), ("connect", 3, "open close"), ("start", 3, "open start nodeport stop close")],
)
def test_an_error_while_starting_takes_everything_down(
    project: Project, where: str, code: int, log: str
) -> None:
    error = "UsageError" if code == 2 else "CannotMeasure"
    project.fake(**{where: f'raise {error}("no such thing", "Make one.")'})
    project.checks(ONE)
    result = project.run(code=code)
    result.stdout.fnmatch_lines(["kubereach: no such thing", "  Make one."])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert project.log == log
    assert project.report["verdict"] == "not measured"
    assert project.report["run"]["error"] == {"message": "no such thing", "remedy": "Make one."}


def test_an_unexpected_error_while_starting_is_one_line_too(project: Project) -> None:
    project.fake(start='raise ValueError("what is this")')
    project.checks(ONE)
    result = project.run(code=3)
    result.stdout.fnmatch_lines(["kubereach: starting: ValueError: what is this", "*Rerun with -v*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_error_while_ending_is_told_and_the_target_closed(project: Project) -> None:
    project.fake(stop='raise CannotMeasure("the API went away", "Delete the namespaces by hand.")')
    project.checks(ONE)
    project.run(code=3).stdout.fnmatch_lines(["kubereach: the API went away", "not measured: 1 passed in *"])
    assert project.log.endswith("stop close")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_take_everything_down(project: Project, number: signal.Signals) -> None:
    project.checks(
        ONE
        + '''
@check("demo.slow", source=DOCS)
def test_slow():
    """Slow works."""
    open("slow", "w").close()
    while True:
        time.sleep(0.05)
'''
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (project.path / "slow").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert project.log == "open start nodeport stop close"
    assert project.verdicts == {"demo.one": "pass", "demo.slow": "error"}
    assert (
        "interrupted by Ctrl-C" in output
        if number == signal.SIGINT
        else f"stopped by {number.name}" in output
    )


def test_stopping_at_the_first_failure(project: Project) -> None:
    project.checks(
        ONE.replace("One works", "It fails").replace("demo.one", "demo.zero").replace("test_one", "test_zero")
        + "    assert False\n"
        + ONE
    )
    project.run("-x", code=1)
    assert project.verdicts == {"demo.zero": "fail"}
    assert project.report["not_run"] == ["demo.one"]
    assert "stopping after 1 failures" in project.report["reason"]


def test_other_projects_do_not_notice_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from kubereach.run.plugin import ensure_plugin
        def pytest_addoption(parser, pluginmanager):
            ensure_plugin(parser, pluginmanager)
        """
    )
    pytester.makepyfile(
        """
        import sys
        def test_names(request):
            assert not any(name in request.fixturenames for name in ("world", "cluster", "nodes"))
            assert not request.config.pluginmanager.hasplugin("kubereach run")
        def test_unknown_fixture(cluster): pass
        def test_fails(): assert 1 == 2
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*fixture 'cluster' not found", "*def test_fails*", "*1 failed, 1 passed, 1 error in*"]
    )
    assert not (pytester.path / "reports").exists()


def test_checks_beside_other_tests_keep_pytests_output(project: Project) -> None:
    project.checks(ONE)
    (project.path / "test_plain.py").write_text("def test_plain():\n    assert 1 == 2\n")
    result = project.run(code=1)
    result.stdout.fnmatch_lines(["*def test_plain*", "conformant: 1 passed in *", "*1 failed, 1 passed in*"])


def test_workers_of_xdist_refuse_checks(project: Project) -> None:
    project.checks(ONE)
    conftest = project.path / "conftest.py"
    conftest.write_text(
        conftest.read_text() + "\ndef pytest_configure(config):\n    config.workerinput = {}\n"
    )
    result = project.pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*pytest-xdist cannot distribute checks*"])
    assert not (project.path / "log.txt").exists()


@pytest.mark.parametrize(
    "order", [("pytest_kind.plugin", "kubereach.run.plugin"), ("kubereach.run.plugin", "pytest_kind.plugin")]
)
def test_pytest_kind_shares_its_options(project: Project, order: tuple[str, str]) -> None:
    pytest.importorskip("pytest_kind")
    names = {"pytest_kind.plugin": "pytest-kind", "kubereach.run.plugin": "kubereach"}
    listed = "\n".join(f"{names[module]} = {module}" for module in order)
    metadata = project.path / "site" / "both-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: both\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{listed}\n")
    project.checks(
        '''
        @check("demo.option", source=DOCS)
        def test_option(pytestconfig):
            """One value for both."""
            options = [pytestconfig.getoption(name) for name in ("kubeconfig", "cluster_name", "kind_image")]
            verify(options == ["/some/where", "one", None], f"they are {options}")
            verify(pytestconfig.pluginmanager.hasplugin("pytest-kind"), "it is not there")
        '''
    )
    # the folder comes first on the path, so that its entry points are the first to be loaded
    code = f"import sys, pytest; sys.path.insert(0, {str(project.path / 'site')!r}); sys.exit(pytest.main())"
    arguments = ["-p", "no:cacheprovider", "--kubeconfig=/some/where", "--cluster-name=one"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
