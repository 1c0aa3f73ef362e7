"""A group of vantages of one kind, usually one for each node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import overload

from kubereach.model.check import HOST_NETWORK
from kubereach.model.errors import CannotMeasure, Unsupported
from kubereach.model.outcome import SeriesResult
from kubereach.probe.series import Series
from kubereach.probe.vantage import StreamBroke, Vantage


class VantageGroup(Sequence[Vantage]):
    """The vantages of one kind. A group that the cluster does not allow raises `Unsupported` when it is used."""

    def __init__(self, vantages: Sequence[Vantage], absent: str = "", feature: str = HOST_NETWORK) -> None:
        self._vantages = tuple(vantages)
        #: why there are none, and which feature is not there then
        self._absent, self._feature = absent, feature

    @property
    def members(self) -> tuple[Vantage, ...]:
        if self._absent:
            raise Unsupported(self._absent, feature=self._feature)
        if not self._vantages:
            raise CannotMeasure("this run has no such vantage")
        return self._vantages

    def __len__(self) -> int:
        return len(self._vantages)

    def __iter__(self) -> Iterator[Vantage]:
        return iter(self.members)

    @overload
    def __getitem__(self, index: int) -> Vantage: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Vantage, ...]: ...

    def __getitem__(self, index: int | slice) -> Vantage | tuple[Vantage, ...]:
        return self.members[index]

    def __add__(self, other: VantageGroup | Vantage) -> VantageGroup:
        """Both together; absent if one of them is."""
        if isinstance(other, Vantage):
            other = VantageGroup((other,))
        lacking = self if self._absent else other
        return VantageGroup((*self._vantages, *other._vantages), lacking._absent, lacking._feature)

    def on(self, node: object) -> Vantage:
        """The vantage on `node` (a node or its name). Raises `CannotMeasure` when there is none."""
        name = str(getattr(node, "name", node))
        for vantage in self.members:
            if vantage.node == name:
                return vantage
        raise CannotMeasure(f"this run has no vantage on node {name}")

    def but_on(self, node: object) -> VantageGroup:
        """Those that are on other nodes than `node` (a node or its name)."""
        name = str(getattr(node, "name", node))
        return VantageGroup([vantage for vantage in self.members if vantage.node != name])

    def open(self) -> None:
        """Open all streams at the same time. Raises `CannotMeasure`."""
        each(self._vantages, lambda vantage: vantage.open())


def each(vantages: Sequence[Vantage], work: Callable[[Vantage], None]) -> None:
    """Do `work` for all vantages at the same time; the first error is raised when all have ended."""
    if not vantages:
        return
    pool = ThreadPoolExecutor(min(16, len(vantages)))
    try:
        futures = [pool.submit(work, vantage) for vantage in vantages]
        wait(futures)
    finally:
        # all have ended, or whoever waited has been interrupted: the vantages end with the multiplexer
        pool.shutdown(wait=False, cancel_futures=True)
    for future in futures:
        future.result()


def run_all(wanted: Sequence[tuple[Vantage, Series]]) -> list[SeriesResult]:
    """Run many series at the same time, on as many vantages; results in order. Raises `CannotMeasure`."""
    results = run_each(wanted)
    for result in results:
        if result.error is not None:
            raise result.error
    return results


def run_each(wanted: Sequence[tuple[Vantage, Series]]) -> list[SeriesResult]:
    """The same, where a stream that breaks costs its own series alone: its result is a `SeriesResult.lost`.

    Raises `CannotMeasure` for what concerns them all: the run is over, exec is forbidden.
    """
    started = [(vantage, series, _started(vantage, series)) for vantage, series in wanted]
    # series of one vantage share its limit of probes in flight, so each may have to wait for all the others
    whole: dict[Vantage, float] = {}
    for vantage, series in wanted:
        whole[vantage] = whole.get(vantage, 0.0) + series.longest
    return [
        future
        if isinstance(future, SeriesResult)
        else known(partial(vantage.collect, future, series, whole[vantage]))
        for vantage, series, future in started
    ]


def _started(vantage: Vantage, series: Series) -> Future[SeriesResult] | SeriesResult:
    try:
        return vantage.submit(series)
    except StreamBroke as error:
        return SeriesResult.lost(error)


def known(result: Callable[[], SeriesResult]) -> SeriesResult:
    """What `result` gives, or that its stream broke."""
    try:
        return result()
    except StreamBroke as error:
        return SeriesResult.lost(error)
