"""Packets that arrive twice: a datagram answered twice, or a segment that the other side says it has got twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubereach.report.outliers.latency import DIRECT
from kubereach.report.outliers.outlier import Outlier, Place
from kubereach.report.outliers.places import Cell, Count, find
from kubereach.report.outliers.short import short_names

if TYPE_CHECKING:
    from kubereach.report.record import Path

#: what is counted of each kind of probes
_UNITS = {"udp": "datagrams", "http": "connections", "tcp": "connections"}
#: share of a place's probes that has to be met twice: switches may flood a packet while they learn an address
SHARE = 0.1


def duplicated(checks: Sequence[Sequence[Path]]) -> list[Outlier]:
    """Of datagrams and of connections, each for itself.

    A second answer tells nothing of the direction in which a datagram was doubled. A connection's client hears only of
    its own packets (RFC 2883), so that it does.
    """
    short = short_names(checks)
    counts: dict[str, dict[Cell, Count]] = {}
    for path in (path for paths in checks for path in paths):
        unit = _UNITS.get(path.probe.partition(" ")[0], "")
        if not unit or path.way not in DIRECT or path.node not in short:
            continue
        cells = counts.setdefault(unit, {})
        for one in path.answered:
            cell = Cell(short[path.node], short.get(one.node, one.node), one.pod)
            cells[cell] = cells.get(cell, Count()) + Count(one.duplicates, len(one.latencies))
    return [
        _outlier(found.place, found.here, found.elsewhere, unit)
        for unit, cells in counts.items()
        for found in find(cells, SHARE)
    ]


def _outlier(place: Place, here: Count, elsewhere: Count, unit: str) -> Outlier:
    text = f"packets {place.in_words} arrive twice: {here.far} of {here.total} {unit}"
    return Outlier("duplicates", place, 100 * here.share, 100 * elsewhere.share, f"% of {unit}", text)
