"""A series that goes on while something is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.model.outcome import SeriesResult
from kubereach.probe.series import Series

if TYPE_CHECKING:
    from kubereach.probe.vantage import Vantage


class RunningSeries:
    """What `Vantage.begin` gives. Must be stopped; what is under way is then waited for."""

    def __init__(
        self, stop: Callable[..., None], future: Future[SeriesResult], series: Series, vantage: Vantage
    ) -> None:
        self.vantage = vantage
        self._stop = stop
        self._future = future
        self._series = series
        self._longest = 0.0

    def end_when(self, pods: Iterable[str], times: int, within: float) -> None:
        """Let a flow end by itself; `result` then waits for it.

        That is after `times` answers in a row from one of `pods` (none: after so many pings that nobody answered), or
        with the first other ping that begins after `within` seconds.
        """
        self._stop(pods=sorted(pods), times=times, within=within)
        self._longest = within + (times + 1) * (self._series.timeout + self._series.spacing)

    def result(self) -> SeriesResult:
        """All probes of a flow that ends by itself. Raises `CannotMeasure`."""
        return self.vantage.ended(self._future, replace(self._series, count=1), self._longest)

    def stop(self) -> SeriesResult:
        """End the series and give all of its probes. Raises `CannotMeasure`."""
        self._stop()
        # of all its probes only those that are under way are left to wait for
        return self.vantage.ended(self._future, replace(self._series, count=1))
