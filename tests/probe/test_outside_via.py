"""Outside vantages by a command: the prober comes over standard input, through however many shells there are."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.probe.context import RunContext
from kubereach.probe.elsewhere import elsewhere
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.remote import CommandVantage, further_outsides
from kubereach.probe.series import Series
from kubereach.run.options import RunOptions

PYTHON = sys.executable


def reach(vantage: CommandVantage, port: int) -> list[str]:
    result = vantage.run(Series("http", "127.0.0.1", port, count=20))
    return [probe.answer.outcome for probe in result.probes]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that does what ssh does with its words: it joins them, and a shell at the other end splits them."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nhost=$1; shift\necho "Welcome to $host" >&2\nexec sh -c "$*"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.mark.parametrize(
    "command",
    [
        PYTHON,
        f"env {PYTHON}",
        f"""sh -c 'exec {PYTHON} "$@"' sh""",
        f"ssh edge1 {PYTHON}",
        f"env ssh edge1 {PYTHON}",
    ],
)
@pytest.mark.usefixtures("ssh")
def test_probes_start_wherever_the_command_leads(
    command, serve, multiplexer: Multiplexer, context: RunContext
) -> None:
    backend = serve("a")
    vantage = CommandVantage(command, multiplexer, context)
    assert reach(vantage, backend.ports["http"]) == ["ok"] * 20


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program-at-all python3", "cannot start no-such-program-at-all: No such file"),
        (
            "sh -c 'cat >/dev/null & echo first >&2; echo \"edge1: Permission denied (publickey).\" >&2; exit 255'",
            r"edge1: Permission denied \(publickey\)\.",
        ),
        ("sh -c 'exit 7'", "the command ended with exit code 7 and no error message"),
        (f"{PYTHON} --no-such-option", "Try .python.* for more information|no-such-option"),
    ],
)
def test_a_command_that_fails_cannot_measure(
    command: str, message: str, multiplexer: Multiplexer, context: RunContext
) -> None:
    with pytest.raises(CannotMeasure, match=message) as error:
        CommandVantage(command, multiplexer, context).open()
    assert error.value.remedy


def test_a_command_that_ends_under_way_says_why(serve, multiplexer: Multiplexer, context: RunContext) -> None:
    vantage = CommandVantage(
        f"""sh -c 'timeout 1 {PYTHON} "$@"; echo "Connection to edge1 closed." >&2; exit 255' sh""",
        multiplexer,
        context,
    )
    with pytest.raises(CannotMeasure, match=r"Connection to edge1 closed\."):
        vantage.run(Series("http", "127.0.0.1", serve("a").ports["http"], count=3, spacing=2.0))


def test_names_say_where_and_differ(multiplexer: Multiplexer, context: RunContext) -> None:
    commands = ("ssh a python3", "ssh a python3", "ssh b python3", "lab=sh -c 'exec python3'")
    made = further_outsides(commands, multiplexer, context)
    names = ["outside@a", "outside@a #2", "outside@b", "outside@lab"]
    assert [vantage.name for vantage in made] == names
    assert further_outsides((), multiplexer, context) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("edge1=sshpass -p hunter2 ssh 10.0.0.1 python3", "edge1"),
        ("sshpass -p hunter2 ssh edge1 python3", "edge1"),
        ("ssh -p 2222 -i hunter2 -v user:hunter2@edge1 python3", "edge1"),
        ("/usr/bin/ssh ssh://user@edge1:2222 python3", "edge1"),
        ("env TOKEN=hunter2 autossh -M0 edge1 /opt/python3.12 -u", "edge1"),
        ("docker run -i --rm -e TOKEN=hunter2 python:3.13-alpine python3", "python:3.13-alpine"),
        ("kubectl --token hunter2 exec -i some-pod -- python3", "some-pod"),
        ("kubectl exec -i some-pod --token hunter2 -- python3", "kubectl"),
        ("sshpass -p hunter2 python3", "sshpass"),
        ("/opt/enter hunter2", "enter"),
        ("/usr/bin/python3.12", "python3.12"),
        ("x" * 99, "x" * 40),
    ],
)
def test_a_name_is_never_a_secret(command: str, name: str) -> None:
    assert elsewhere(command).name == name
    assert elsewhere(str(elsewhere(command))).name == name
    assert "hunter2" not in repr(elsewhere(command))


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo; exit 7' hunter2",
        "sh -c 'exit 7' hunter2 'a very long word that is more than the stream takes'",
        "/no/hunter2-such/program hunter2",
        f"{PYTHON} -c 'import time; time.sleep(0.2)' hunter2",
    ],
)
def test_a_command_that_fails_is_not_shown(
    command: str, multiplexer: Multiplexer, context: RunContext
) -> None:
    with pytest.raises(CannotMeasure) as error:
        CommandVantage(command, multiplexer, context).run(Series("http", "127.0.0.1", 1))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("command", ["", "  ", "edge1=", "ssh 'edge", "edge1=sshpass -p 'hunter2 ssh"])
def test_a_malformed_command_is_told_before_the_run(command: str) -> None:
    with pytest.raises(UsageError, match="--outside-via") as error:
        RunOptions(outside_via=(command,)).settings()
    assert "hunter2" not in str(error.value)


def test_commands_keep_their_separators() -> None:
    given = ("x=sh -c 'a; b, c\nd' sh", "edge1=ssh edge1 python3")
    settings = RunOptions(outside_via=given).settings()
    assert settings.outside_via == given
    assert elsewhere(settings.outside_via[0]).words == ("sh", "-c", "a; b, c\nd", "sh")
    assigned = RunOptions(assignments=tuple(f"outside_via={one}" for one in given)).settings()
    assert assigned.outside_via == given
