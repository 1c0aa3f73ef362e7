"""Outside vantages by a command: the prober comes over standard input, through however many shells there are."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from kubereach.context import RunContext
from kubereach.errors import CannotMeasure, UsageError
from kubereach.options import RunOptions
from kubereach.vantage.command import CommandVantage, further_outsides, label_of, words_of
from kubereach.vantage.series import Series
from kubereach.vantage.wire import Wire

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
def test_probes_start_wherever_the_command_leads(command, serve, wire: Wire, context: RunContext) -> None:
    backend = serve("a")
    vantage = CommandVantage(command, wire, context)
    assert reach(vantage, backend.ports["http"]) == ["ok"] * 20


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program-at-all python3", "no-such-program-at-all cannot be started: No such file"),
        (
            "sh -c 'cat >/dev/null & echo first >&2; echo \"edge1: Permission denied (publickey).\" >&2; exit 255'",
            r"edge1: Permission denied \(publickey\)\.",
        ),
        ("sh -c 'exit 7'", "it ended with exit code 7 and wrote no error"),
        (f"{PYTHON} --no-such-option", "Try .python.* for more information|no-such-option"),
    ],
)
def test_a_command_that_fails_cannot_measure(
    command: str, message: str, wire: Wire, context: RunContext
) -> None:
    with pytest.raises(CannotMeasure, match=message) as error:
        CommandVantage(command, wire, context).open()
    assert error.value.remedy


def test_a_command_that_ends_under_way_says_why(serve, wire: Wire, context: RunContext) -> None:
    vantage = CommandVantage(
        f"""sh -c 'timeout 1 {PYTHON} "$@"; echo "Connection to edge1 closed." >&2; exit 255' sh""",
        wire,
        context,
    )
    with pytest.raises(CannotMeasure, match=r"Connection to edge1 closed\."):
        vantage.run(Series("http", "127.0.0.1", serve("a").ports["http"], count=3, spacing=2.0))


def test_names_say_where_and_differ(wire: Wire, context: RunContext) -> None:
    assert label_of(words_of("ssh edge1 python3")) == "outside@ssh edge1"
    assert label_of(words_of("/usr/bin/python3.12")) == "outside@/usr/bin/python3.12"
    assert len(label_of(["x" * 99])) == len("outside@") + 40
    made = further_outsides("ssh a python3\nssh a python3\nssh b python3", wire, context)
    assert [vantage.name for vantage in made] == ["outside@ssh a", "outside@ssh a #2", "outside@ssh b"]
    assert further_outsides(None, wire, context) == []


@pytest.mark.parametrize("command", ["", "  ", "ssh 'edge"])
def test_a_malformed_command_is_told_before_the_run(command: str) -> None:
    with pytest.raises(UsageError, match="--outside-via"):
        RunOptions(outside_via=(command,)).settings()


def test_commands_keep_their_commas_and_semicolons() -> None:
    given = ("sh -c 'a; b, c' sh", "ssh edge1 python3")
    assert RunOptions(outside_via=given).settings().outside_via == "\n".join(given)
