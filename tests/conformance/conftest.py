"""Runs of the whole suite as a user makes them: in processes of their own, on labs of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: whole runs for everything, which takes some ten minutes: `make nightly`
WHOLE = bool(os.environ.get("KUBEREACH_WHOLE_RUNS"))


@dataclass
class RunResult:
    """How a run ended and what it reported."""

    code: int
    output: str
    report: dict[str, Any]

    def ids(self, verdict: str) -> set[str]:
        """The ids of the checks with this verdict."""
        return {check["id"] for check in self.report["checks"] if check["verdict"] == verdict}


Runner = Callable[..., RunResult]


def run_command(command: Sequence[str], folder: Path, **options: Any) -> RunResult:
    """Run a command line; {python} is this interpreter, {report} a folder for the report below `folder`."""
    report = folder / "report"
    words = [word.replace("{report}", str(report)).replace("{python}", sys.executable) for word in command]
    environment = {**os.environ, "NO_COLOR": "1", **options.pop("env", {})}
    done = subprocess.run(
        words,
        cwd=options.pop("cwd", ROOT),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=options.pop("timeout", 120),
        check=False,
    )
    file = report / "report.json"
    content = json.loads(file.read_text()) if file.exists() else {"checks": []}
    return RunResult(done.returncode, done.stdout, content)


@pytest.fixture
def run_suite(tmp_path: Path) -> Runner:
    """Runs a command line; see `run_command`."""
    return lambda command, **options: run_command(command, tmp_path, **options)
