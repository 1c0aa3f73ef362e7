"""Converge: try until it is as expected, or until it should have been."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential

from kubereach.expect.evidence import Path
from kubereach.outcome import SeriesResult
from kubereach.vantage.group import run_all
from kubereach.vantage.series import Series


def converge(
    seen: Sequence[Path],
    series: Callable[[Path], Series],
    conforms: Callable[[Path, SeriesResult], bool],
    within: float | None = None,
) -> list[Path]:
    """Try all paths at the same time, one series each, again and again until each conforms; gives those that do not.

    A path has until its address has settled, or `within` seconds from now; it is always tried once. Between attempts
    come short exponential waits. `path.converged` is set to the seconds that it took, from now.
    """
    begun = time.monotonic()
    open_paths = list(seen)

    def deadline(path: Path) -> float:
        if within is not None:
            return begun + within
        return max(path.address.settled, begun)

    def attempt() -> bool:
        """Whether another attempt is worth it."""
        results = run_all([(path.vantage, series(path)) for path in open_paths])
        now = time.monotonic()
        for path, result in list(zip(open_paths, results, strict=True)):
            path.result = result
            if conforms(path, result):
                path.converged = now - begun
                open_paths.remove(path)
        return any(now < deadline(path) for path in open_paths)

    def overdue(state: RetryCallState) -> bool:
        return time.monotonic() >= max((deadline(path) for path in open_paths), default=0.0)

    Retrying(
        retry=retry_if_result(bool),
        wait=wait_exponential(multiplier=0.02, max=0.5),
        stop=overdue,
        retry_error_callback=lambda _: None,
    )(attempt)
    return open_paths
