"""How long `kubereach run` takes by the shell's clock, against the start of a lab and of a bare Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from benchmarks.yardstick import beside

_RUNS = 3
#: command-line options by what they make of a run
_KINDS = {"quick run": ["--quick"], "whole run": [], "whole run, dual stack": ["--dual-stack"]}


def measure_runs() -> list[tuple[str, str, float]]:
    """Rows of the table: the median of a few runs on three nodes each. Raises CalledProcessError unless all conform."""
    rows = []
    for kind, options in _KINDS.items():
        taken, ratio = beside(lambda options=options: _seconds(options), _RUNS)
        rows.append((f"{kind}, three nodes / start of a bare Python", f"{taken:.1f} s", ratio))
    return rows


def _seconds(options: list[str]) -> float:
    with tempfile.TemporaryDirectory(prefix="kubereach-benchmark-") as folder:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "kubereach", "run", f"--report-dir={folder}", *options],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - begun
