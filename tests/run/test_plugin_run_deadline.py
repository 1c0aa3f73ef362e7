"""The run's deadline ends what hangs, wherever it hangs; what it took down and reported is as of any other run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

#: until the run is taken down
_HANGS = "import threading; self.ended = threading.Event(); "
_STOP = "self.ended.set()"

_CHECKS = """
@check("demo.one", source=DOCS)
def test_one(nodeport):
    '''One works.'''
    verify(True, "it works")

@check("demo.hangs", source=DOCS)
def test_hangs(world{more}):
    '''It ends.'''
    world.ended.wait()

@check("demo.last", source=DOCS)
def test_last(nodeport, request):
    '''The last one is never begun.'''
    verify(True, "it works")
    open("begun", "w")
"""


def run(
    project: Project, *arguments: str, code: int, log: str = "stop close", subprocess: bool = False
) -> pytest.RunResult:
    begun = time.monotonic()
    result = project.run("--kubereach-deadline=1.5", *arguments, code=code, subprocess=subprocess)
    assert 1.4 < time.monotonic() - begun < 30
    assert project.log.endswith(log)
    result.stdout.no_fnmatch_line("*Traceback*")
    return result


@pytest.mark.parametrize(
    "wait",
    [
        "self.ended.wait()",
        # a thread that hangs, and a main thread that waits for it in the end of a block
        "from concurrent.futures import ThreadPoolExecutor\n"
        "        with ThreadPoolExecutor(1) as pool:\n"
        "            pool.submit(self.ended.wait, 20)",
    ],
)
def test_a_world_that_never_gets_ready(project: Project, wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubereach.run.deadline._AGAIN", 0.2)
    project.fake(start=_HANGS + wait, stop=_STOP)
    project.checks(_CHECKS.format(more=""))
    run(project, code=3).stdout.fnmatch_lines(
        [
            "kubereach: the run's deadline of 1.5 s passed during the preparation",
            "  Raise --kubereach-deadline, or select fewer checks.",
        ]
    )
    assert project.report["verdict"] == "not measured"
    assert project.report["not_run"] == ["demo.hangs", "demo.last", "demo.one"]


def test_a_target_that_never_opens(project: Project) -> None:
    """It is opened by a process of one thread: a lab can be entered by no other."""
    project.fake(open="import threading; assert threading.active_count() == 1; time.sleep(60)")
    conftest = project.path / "conftest.py"
    conftest.write_text("import time\n" + conftest.read_text())
    project.checks(_CHECKS.format(more=""))
    # in a process of its own: threads of other tests' checks that hang are here
    result = run(project, code=3, log="open close", subprocess=True)
    result.stdout.fnmatch_lines(["kubereach: the run's deadline of 1.5 s passed during the preparation"])


@pytest.mark.parametrize("more", ["", ", request"], ids=["in a thread", "in pytest"])
def test_a_check_that_hangs(project: Project, more: str) -> None:
    project.fake(start=_HANGS, stop=_STOP)
    project.checks(_CHECKS.format(more=more))
    run(project, code=3).stdout.fnmatch_lines(["not measured: *; the run's deadline of 1.5 s passed"])
    messages = {check["id"]: (check["verdict"], check["message"]) for check in project.report["checks"]}
    assert messages["demo.one"] == ("pass", "")
    assert messages["demo.hangs"][0] == messages["demo.last"][0] == "error"
    assert "the run's deadline of 1.5 s passed while this check ran" in messages["demo.hangs"][1]
    assert "the run's deadline of 1.5 s passed before this check ran" in messages["demo.last"][1]
    assert not (project.path / "begun").exists()
    assert project.report["not_run"] == []


def test_a_failure_before_it_counts(project: Project) -> None:
    project.fake(start=_HANGS, stop=_STOP)
    bad = "@check('demo.bad', source=DOCS)\ndef test_bad(nodeport):\n    '''Bad.'''\n    assert False\n"
    project.checks(bad + _CHECKS.format(more=""))
    run(project, code=1)
    assert project.report["reason"] == "the run's deadline of 1.5 s passed"


def test_a_check_that_swallows_errors_ends_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubereach.run.deadline._AGAIN", 0.2)
    project.fake(start=_HANGS, stop=_STOP)
    code = "try:\n        world.ended.wait()\n    except CannotMeasure:\n        world.ended.wait()"
    project.checks(_CHECKS.format(more=", request").replace("world.ended.wait()", code))
    run(project, code=3)
    assert project.verdicts["demo.hangs"] == "error"


def test_what_ended_in_time_in_a_thread_is_not_an_error(project: Project) -> None:
    project.fake(start=_HANGS, stop=_STOP)
    late = "@check('demo.late', source=DOCS)\ndef test_late(nodeport):\n    '''Its turn comes late.'''\n"
    late += "    verify(True, 'it is')\n"
    project.checks(_CHECKS.format(more="") + late)
    run(project, code=3)
    assert project.verdicts["demo.late"] == "pass"


def test_a_run_in_time_does_not_notice_it(project: Project) -> None:
    project.checks(_CHECKS.format(more="").replace("world.ended.wait()", "verify(True, 'it is')"))
    project.run("--kubereach-deadline=60", code=0)
    assert project.report["settings"]["run_deadline"] == 60


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_deadline_is_a_number_of_seconds(project: Project, text: str) -> None:
    project.checks(_CHECKS.format(more=""))
    project.run(f"--kubereach-deadline={text}", code=2).stdout.fnmatch_lines(
        [f"kubereach: --kubereach-deadline {text}: not a positive number of seconds"]
    )


@pytest.mark.parametrize(
    ("thread", "command"),
    [
        (
            "ThreadPoolExecutor(1).submit(time.sleep, 600)",
            ["kubereach", "run", "--target=existing", "--deadline=0.5"],
        ),
        ("ThreadPoolExecutor(1).submit(time.sleep, 600)", ["pytest", "--kubereach-deadline=0.5"]),
        ("threading.Thread(target=time.sleep, args=(600,)).start()", ["pytest", "--kubereach-deadline=0.5"]),
    ],
)
def test_threads_that_hang_do_not_keep_the_process(project: Project, thread: str, command: list[str]) -> None:
    """An interpreter waits for its threads before it ends, and for those of its executors."""
    begun = f"import threading; from concurrent.futures import ThreadPoolExecutor; {thread}; "
    project.fake(start=begun + "time.sleep(600)")
    conftest = project.path / "conftest.py"
    conftest.write_text(
        "import time\nimport kubereach.run.deadline\nkubereach.run.deadline._LEAVE = 0.5\n"
        + conftest.read_text()
    )
    project.checks(_CHECKS.format(more=""))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project.path,
        timeout=60,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 3
    assert project.log.endswith("stop close")
    assert project.report["verdict"] == "not measured"
    # all that was said has arrived, though standard output is a pipe
    assert "the run's deadline of 0.5 s passed during the preparation" in done.stdout


def test_a_process_that_goes_on_is_not_ended(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest was only called by it."""
    monkeypatch.setattr("kubereach.run.deadline._LEAVE", 0.1)
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    registered: list[object] = []
    monkeypatch.setattr("threading._register_atexit", registered.append)
    project.fake(start=_HANGS + "self.ended.wait()", stop=_STOP)
    project.checks(_CHECKS.format(more=""))
    run(project, code=3)
    end = registered[-1]
    time.sleep(0.3)
    assert not left
    end()  # type: ignore[operator]
    for _ in range(100):
        if left:
            break
        time.sleep(0.05)
    assert left == [3]
