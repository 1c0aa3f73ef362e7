"""The yardstick of all times: how long a Python takes that starts, does nothing and ends."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

#: starts of a bare Python beside each measurement: one alone takes some 10 ms, in which much may come between
_STARTS = 20


def beside(measure: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Medians of what `measure` gives, in seconds, and of its ratio to the start of a bare Python just before it.

    A machine may be faster in one minute than in the next, so that both are measured together each time.
    """
    ratios, times = [], []
    for _ in range(repeats):
        bare = _bare_python()
        times.append(measure())
        ratios.append(times[-1] / bare)
    return statistics.median(times), statistics.median(ratios)


def _bare_python() -> float:
    begun = time.perf_counter()
    for _ in range(_STARTS):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.perf_counter() - begun) / _STARTS
