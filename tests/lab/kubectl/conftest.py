"""Runs kubectl against the session's lab."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from lab_access import LabAccess

from . import programs

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Ok = Callable[..., str]
agreement: pytest.StashKey[list[str]] = pytest.StashKey()


class Kubectl:
    """kubectl in one namespace of a lab."""

    def __init__(self, program: str, lab: LabAccess, namespace: str) -> None:
        self.program = program
        self.namespace = namespace
        self.command = [program, "--kubeconfig", str(lab.kubeconfig), "-n", namespace]
        self.environment = {"HOME": str(lab.kubeconfig.parent), "PATH": os.environ["PATH"]}

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=40,
            env=self.environment | environment,
            check=False,
        )

    def ok(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """What a command writes, which must succeed."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command that somebody else ends."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*self.command, *arguments], stdout=pipe, stderr=pipe, text=True, env=self.environment
        )


@pytest.fixture
def kubectl(lab: LabAccess, space: str) -> Kubectl:
    """kubectl in a namespace of the test's own."""
    return Kubectl(programs.kubectl(), lab, space)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(agreement, [])
    if lines:
        terminalreporter.section("kubectl's recorded commands")
        for line in lines:
            terminalreporter.line(line)
