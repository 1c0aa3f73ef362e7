"""A series that goes on while something is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.outcome import SeriesResult
from kubereach.vantage.series import Series

if TYPE_CHECKING:
    from kubereach.vantage.vantage import Vantage


class Ongoing:
    """What `Vantage.begin` gives. Must be stopped; what is under way is then waited for."""

    def __init__(
        self, stop: Callable[..., None], future: Future[SeriesResult], series: Series, vantage: Vantage
    ) -> None:
        self.vantage = vantage
        self._stop = stop
        self._future = future
        self._series = series

    def stop_when(self, pods: Iterable[str], times: int, deadline: float) -> SeriesResult:
        """End a flow after so many answers in a row from one of `pods`, or after `deadline` seconds."""
        self._stop(pods=sorted(pods), times=times)
        try:
            return self._future.result(deadline)
        except FutureTimeout:
            return self.stop()

    def stop(self) -> SeriesResult:
        """End the series and give all of its probes. Raises `CannotMeasure`."""
        self._stop()
        # of all its probes only those that are under way are left to wait for
        return self.vantage.collect(self._future, replace(self._series, count=1))
