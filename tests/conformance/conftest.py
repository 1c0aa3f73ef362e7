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


@pytest.fixture
def run_suite(tmp_path: Path) -> Runner:
    """Runs a command line that writes its report to the folder given as {report}."""

    def run(command: Sequence[str], **options: Any) -> RunResult:
        folder = tmp_path / "report"
        words = [
            word.replace("{report}", str(folder)).replace("{python}", sys.executable) for word in command
        ]
        environment = {**os.environ, "NO_COLOR": "1", **options.pop("env", {})}
        done = subprocess.run(
            words,
            cwd=options.pop("cwd", ROOT),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=options.pop("timeout", 120),
            check=False,
        )
        file = folder / "report.json"
        report = json.loads(file.read_text()) if file.exists() else {"checks": []}
        return RunResult(done.returncode, done.stdout, report)

    return run
