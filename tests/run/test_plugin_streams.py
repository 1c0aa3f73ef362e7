"""The exit code is the verdict's, whatever becomes of the terminal, the pipe, the disk and the report."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

_FULL = Path("/dev/full")
_RUN = [sys.executable, "-m", "kubereach", "run", "--target", "existing"]
_PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

_GOOD = '''
@check("demo.one", source=DOCS)
def test_one(nodeport):
    """One works."""
    verify(True, "it works")
'''
#: goes on when the test has done what it wants to do
_WAITS = '''
@check("demo.waits", source=DOCS)
def test_waits(nodeport, request):
    """Waiting works."""
    open("waits", "w").close()
    for _ in range(3000):
        if os.path.exists("go"):
            break
        time.sleep(0.01)
    verify(os.path.exists("go"), "waited for")
'''
_BAD = '''
@check("demo.bad", source=DOCS)
def test_bad(nodeport, request):
    """Bad works."""
    assert False, "it does not"
'''


class Started:
    """A run in a process of its own."""

    def __init__(self, project: Project, command: list[str], **options: Any) -> None:
        self.folder = project.path
        environment = {**os.environ, "NO_COLOR": "1"}
        options.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen(command, cwd=project.path, env=environment, **options)

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (self.folder / name).exists()

    def go(self) -> None:
        (self.folder / "go").touch()

    def code(self) -> int:
        errors = self.process.stderr.read().decode() if self.process.stderr else ""
        code = self.process.wait(60)
        assert "Traceback" not in errors, errors
        assert "Exception ignored" not in errors, errors
        return code


def read_all(terminal: int, until: Path) -> None:
    """Read what a terminal's program writes: it would have to wait if nobody did."""
    while not until.exists():
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)


def removed_and_reported(project: Project, exit_code: int) -> None:
    assert project.log.endswith("stop close")
    assert project.report["exit_code"] == exit_code


@pytest.mark.parametrize(
    ("command", "checks", "code"), [(_PYTEST, _GOOD + _WAITS, 0), (_RUN, _GOOD + _WAITS + _BAD, 1)]
)
def test_a_reader_that_goes_away(project: Project, command: list[str], checks: str, code: int) -> None:
    project.checks(checks)
    run = Started(project, command, stdout=subprocess.PIPE)
    run.wait_for("waits")
    assert run.process.stdout
    run.process.stdout.close()
    run.go()
    assert run.code() == code
    removed_and_reported(project, code)


def test_a_reader_that_was_never_there(project: Project) -> None:
    project.checks(_GOOD + _BAD)
    reader, writer = os.pipe()
    os.close(reader)
    run = Started(project, _RUN, stdout=writer, stderr=writer)
    os.close(writer)
    assert run.code() == 1
    removed_and_reported(project, 1)


@pytest.mark.parametrize(("command", "checks", "code"), [(_PYTEST, _GOOD, 0), (_RUN, _GOOD + _BAD, 1)])
@pytest.mark.skipif(not _FULL.exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_the_output(project: Project, command: list[str], checks: str, code: int) -> None:
    project.checks(checks)
    with _FULL.open("wb") as full:
        assert Started(project, command, stdout=full).code() == code
    removed_and_reported(project, code)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed_from_the_start(project: Project, closed: str) -> None:
    project.checks(_GOOD + _BAD)
    run = Started(project, ["sh", "-c", f'"$@" {closed}', "sh", *_RUN])
    assert run.code() == 1
    removed_and_reported(project, 1)


def test_programs_that_a_run_starts_have_standard_descriptors(project: Project) -> None:
    project.checks(
        _GOOD + '    import subprocess; subprocess.run("echo x >&1; echo y >&2", shell=True, check=True)'
    )
    assert Started(project, ["sh", "-c", '"$@" >&- 2>&-', "sh", *_RUN]).code() == 0


@pytest.mark.parametrize(("command", "hang_up"), [(_PYTEST, False), (_RUN, True)])
def test_a_terminal_that_goes_away(project: Project, command: list[str], hang_up: bool) -> None:
    project.checks(_GOOD + _WAITS + _BAD)
    ours, theirs = pty.openpty()
    ignore = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    run = Started(project, command if hang_up else [*ignore, *command], stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = threading.Thread(target=read_all, args=(ours, project.path / "waits"))
    screen.start()
    run.wait_for("waits")
    screen.join(60)
    os.close(ours)
    if hang_up:
        for _ in range(3):  # the kernel, the shell, and the terminal's own program may each send one
            run.process.send_signal(signal.SIGHUP)
    run.go()
    assert run.code() == (3 if hang_up else 1)
    removed_and_reported(project, 3 if hang_up else 1)


@pytest.mark.parametrize(("command", "checks", "code"), [(_RUN, _GOOD, 3), (_PYTEST, _GOOD + _BAD, 1)])
def test_a_report_that_cannot_be_written(
    project: Project, command: list[str], checks: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    project.checks(checks)
    (project.path / "reports").write_text("a file where a folder should be")
    assert Started(project, command).code() == code
    output = capfd.readouterr().out
    option = "--report-dir" if command is _RUN else "--kubereach-report-dir"
    assert "cannot write the report: " in output
    assert f"Choose another folder with {option}." in output
    assert ("not measured" if code == 3 else "not conformant") in output
    assert project.log.endswith("stop close")


@pytest.mark.skipif(not _FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(("checks", "code"), [(_GOOD, 3), (_GOOD + _BAD, 1)])
def test_a_full_disk_under_junit(project: Project, checks: str, code: int) -> None:
    project.checks(checks)
    result = project.run("--junitxml=/dev/full", code=code)
    result.stdout.fnmatch_lines(["*pytest cannot write a report: No space left on device*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    removed_and_reported(project, code)


def test_a_plugin_that_fails_after_the_run_changes_no_verdict(project: Project) -> None:
    project.checks(_GOOD + _BAD)
    conftest = project.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "\ndef pytest_unconfigure():\n    raise OSError('no space for what comes after')\n"
    )
    run = Started(project, _RUN, stdout=subprocess.DEVNULL)
    assert run.code() == 1
    removed_and_reported(project, 1)


def test_only_its_owner_may_read_a_report(project: Project) -> None:
    project.checks(_GOOD)
    folder = project.path / "reports" / "latest"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("an old one")
    (folder / "report.json").chmod(0o644)
    project.run(code=0)
    project.checks(_GOOD + "    raise KeyboardInterrupt\n")
    for code in (0, 3):  # also of a run that was interrupted
        if code:
            project.run(code=code)
        assert stat.S_IMODE((folder / "report.json").stat().st_mode) == 0o600
        assert [file.name for file in folder.iterdir()] == ["report.json"]
        assert project.report["exit_code"] == code


def test_ctrl_c_while_the_end_is_under_way(project: Project) -> None:
    project.fake(stop="import signal; signal.raise_signal(signal.SIGINT)")
    project.checks(_GOOD)
    project.run(code=3).stdout.fnmatch_lines(["kubereach: interrupted while deleting the run's objects"])
    removed_and_reported(project, 3)


def test_what_goes_wrong_in_a_part_of_a_report_costs_that_part(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise KeyError("podIP")

    monkeypatch.setattr("kubereach.report.matrix.build", wrong)
    monkeypatch.setattr("kubereach.report.record.causes", wrong)
    project.checks(_GOOD + _BAD)
    project.run(code=1).stdout.fnmatch_lines(
        [
            "kubereach: cannot show the matrix: KeyError: 'podIP'",
            "kubereach: cannot show the causes: KeyError: 'podIP'",
            "* demo.bad  (core)",
            "not conformant: 1 passed, 1 failed *",
        ]
    )
    assert project.report["incomplete"] == ["causes: KeyError: 'podIP'"]
    assert project.verdicts == {"demo.one": "pass", "demo.bad": "fail"}


def test_a_report_that_cannot_be_made_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise KeyError("podIP")

    monkeypatch.setattr("kubereach.report.json_report._check", wrong)
    project.checks(_GOOD)
    project.run(code=3).stdout.fnmatch_lines(["kubereach: writing the report: KeyError: 'podIP'"])


def test_secrets_of_options_are_in_no_report(project: Project) -> None:
    project.checks(_GOOD)
    project.run(
        "--kubereach-outside-via=edge1=sshpass -p hunter2 ssh edge1 python3",
        "--kubereach-outside-via=sshpass -p hunter2 ssh edge2 python3",
        "--kubereach-lb-value=certificate=hunter2",
        "--kubereach-set=lb_values=more=hunter2;hunter2",
        "--junitxml=junit.xml",
        code=0,
    )
    settings = project.report["settings"]
    assert settings["outside_via"] == "edge1,edge2"
    assert settings["lb_values"] == "certificate"
    for file in project.path.rglob("*"):
        assert not file.is_file() or "hunter2" not in file.read_text(errors="replace"), file


def test_users_and_passwords_of_urls_are_in_no_report(project: Project) -> None:
    project.fake(start='raise CannotMeasure("no way to https://user:hunter2@192.0.2.1:6443/api")')
    project.checks(_GOOD)
    project.run(code=3)
    text = (project.path / "reports/latest/report.json").read_text()
    assert "hunter2" not in text
    assert json.loads(text)["run"]["error"]["message"] == "no way to https://...@192.0.2.1:6443/api"
