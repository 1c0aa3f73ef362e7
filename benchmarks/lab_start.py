"""How long a lab takes from nothing to Ready, against the start of a bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from kubereach.lab import Lab, LabConfig

_REPEATS = 5


def measure_start() -> list[tuple[str, str, float]]:
    """Rows (what, measured, ratio to a bare Python's start)."""
    python = bare_python()
    rows = []
    for nodes in (1, 3, 5):
        seconds = _median(lambda nodes=nodes: Lab(LabConfig(nodes=nodes)))
        rows.append(
            (f"lab of {nodes} up and Ready / start of a bare Python", f"{seconds:.2f} s", seconds / python)
        )
    return rows


def bare_python() -> float:
    """Seconds that the start and end of a Python take that does nothing: the yardstick of all else."""
    return _median(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))


def _median(make: Callable[[], object]) -> float:
    """Median seconds; a lab is started inside the measured time and stopped outside of it."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        made = make()
        if isinstance(made, Lab):
            made.start()
        times.append(time.perf_counter() - start)
        if isinstance(made, Lab):
            made.stop()
    return statistics.median(times)
