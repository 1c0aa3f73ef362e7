"""Slow ways: round trips that take much longer between some nodes, or to some endpoint, than between others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kubereach.model.percentile import percentile
from kubereach.report.outliers.outlier import Outlier, shown
from kubereach.report.outliers.places import Cell, Count, Found, find
from kubereach.report.outliers.short import short_names

if TYPE_CHECKING:
    from kubereach.report.record import Path

#: ways that lead from the client's node to the endpoint's without a third one between them
DIRECT = frozenset({"pod", "headless", "clusterip"})
#: kinds of probes that are one question and one answer of a backend
KINDS = frozenset({"http", "tcp", "udp", "sctp"})
#: seconds, and times, by which a median has to exceed that of the quickest quarter: zones are 1 to 2 ms apart
FLOOR, FACTOR = 0.02, 5
#: share of the checks that have met a place in which it has to be slow
SHARE = 0.75
#: answers without which a median says nothing, and cells without which there is nothing to compare with
_ANSWERS, _CELLS = 3, 3


class _Median(NamedTuple):
    """Of a cell's latencies in a check, in seconds; and the seconds by which timers were late meanwhile."""

    seconds: float
    late: float


def slow_places(checks: Sequence[Sequence[Path]]) -> list[Outlier]:
    """Each check compares its own cells, of one way and one kind of probes, and is one observation of each cell.

    What is slow is left out where a timer of the series' vantage, or of a backend that it heard, was as late meanwhile.
    """
    counts: dict[Cell, Count] = {}
    medians: dict[Cell, list[float]] = {}
    short = short_names(checks)
    for paths in checks:
        for cell, far in _compared(_blocks(paths, short), medians).items():
            counts[cell] = counts.get(cell, Count()) + Count(int(far), 1)
    places = find(counts, SHARE, together=True)
    slow = frozenset(cell for one in places for cell in one.cells)
    return [outlier for one in places if (outlier := _outlier(one, medians, slow))]


def _compared(blocks: Iterable[dict[Cell, _Median]], medians: dict[Cell, list[float]]) -> dict[Cell, bool]:
    """Whether each cell is far from the others in most of a check's blocks; adds what was compared to `medians`."""
    votes: dict[Cell, list[bool]] = {}
    for block in blocks:
        for within in (True, False):  # between nodes it takes longer than on one
            pool = {cell: one for cell, one in block.items() if cell.within == within}
            if len(pool) < _CELLS:
                continue
            quick = percentile([one.seconds for one in pool.values()], 0.25) or 0.0
            for cell, (seconds, late) in pool.items():
                more = seconds - quick
                far = more >= FLOOR and seconds >= FACTOR * quick
                if not (far and late >= more):
                    votes.setdefault(cell, []).append(far)
                    medians.setdefault(cell, []).append(seconds)
    return {cell: 2 * sum(found) > len(found) for cell, found in votes.items()}


def _blocks(paths: Sequence[Path], short: Mapping[str, str]) -> Iterator[dict[Cell, _Median]]:
    """That of each cell of a check, by way, kind of probes and kind of vantage."""
    blocks: dict[tuple[str, str, str], dict[Cell, list[float]]] = {}
    late: dict[Cell, float] = {}
    for path in paths:
        if not path.conforming or path.way not in DIRECT or path.node not in short:
            continue
        if path.probe.partition(" ")[0] not in KINDS:
            continue
        block = blocks.setdefault((path.way, path.probe, path.kind), {})
        for one in path.answered:
            cell = Cell(short[path.node], short.get(one.node, one.node), one.pod)
            block.setdefault(cell, []).extend(one.latencies)
            late[cell] = max(late.get(cell, 0.0), path.late)
    for block in blocks.values():
        yield {
            cell: _Median(percentile(found, 0.5) or 0.0, late[cell])
            for cell, found in block.items()
            if cell.server and len(found) >= _ANSWERS
        }


def _outlier(found: Found, medians: dict[Cell, list[float]], slow: frozenset[Cell]) -> Outlier | None:
    here = [seconds for cell in found.cells for seconds in medians[cell]]
    alike = {cell.within for cell in found.cells}
    others = [s for cell, some in medians.items() if cell not in slow and cell.within in alike for s in some]
    value, other = ((percentile(some, 0.5) or 0.0) * 1000 for some in (here, others))
    if not others or value - other < FLOOR * 1000 or value < FACTOR * other:
        return None
    text = f"{found.place.in_words}: p50 {shown(value)} ms, others {shown(other)} ms"
    return Outlier("latency", found.place, value, other, "ms", text)
