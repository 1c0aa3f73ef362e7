"""How long a lab takes from nothing to Ready, against the start of a bare Python."""

from __future__ import annotations

import time

from benchmarks.yardstick import beside
from kubereach_lab import Lab, LabConfig

_REPEATS = 5


def measure_start() -> list[tuple[str, str, float]]:
    """Rows (what, measured, ratio to a bare Python's start)."""
    rows = []
    for nodes in (1, 3, 5):
        seconds, ratio = beside(lambda nodes=nodes: _start(nodes), _REPEATS)
        rows.append((f"lab of {nodes} up and Ready / start of a bare Python", f"{seconds:.2f} s", ratio))
    return rows


def _start(nodes: int) -> float:
    lab = Lab(LabConfig(nodes=nodes))
    begun = time.perf_counter()
    try:
        lab.start()
        return time.perf_counter() - begun
    finally:
        lab.stop()
