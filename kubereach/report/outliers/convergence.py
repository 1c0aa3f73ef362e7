"""Nodes that follow changes late: the same change, at the same address, was followed long before from other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubereach.report.outliers.outlier import Outlier, Place, shown
from kubereach.report.outliers.short import short_names

if TYPE_CHECKING:
    from kubereach.report.record import Path

#: seconds, and times, by which a node has to be later than all others. Service proxies collect changes for a second and
#: need some more for thousands of Services, on every node alike.
FLOOR, FACTOR = 5.0, 5
#: paths that were so late, and different addresses among them: once is no rule
_PATHS, _ADDRESSES = 3, 2
#: share of a run's late paths that have to be that node's
_SHARE = 0.8
#: seconds of lateness of any vantage's timers with which a machine may have kept a node from following
_LATE = 0.5


def late_nodes(checks: Sequence[Sequence[Path]]) -> list[Outlier]:
    """Names are left out: what caches have is followed when its time to live is over, on each node in its own time.

    What was as expected at the first attempt had followed before, nobody knows how long: that is no node's being late.
    """
    short = short_names(checks)
    late: dict[str, list[Path]] = {}
    longest: dict[str, float] = {}
    for change in _changes(checks):
        by_node: dict[str, float] = {}
        for path in change:
            by_node[path.node] = max(by_node.get(path.node, 0.0), path.converged)
        for path in change:
            if path.attempts < 2:
                continue
            longest[path.node] = max(longest.get(path.node, 0.0), path.converged)
            others = [seconds for node, seconds in by_node.items() if node != path.node]
            if others and path.converged - max(others) >= FLOOR and path.converged >= FACTOR * max(others):
                late.setdefault(path.node, []).append(path)
    total = sum(map(len, late.values()))
    found = []
    for node, paths in sorted(late.items()):
        if len(paths) < _PATHS or len({path.address for path in paths}) < _ADDRESSES:
            continue
        if len(paths) < _SHARE * total:
            continue
        value = max(path.converged for path in paths)
        other = max((seconds for name, seconds in longest.items() if name != node), default=0.0)
        if value - other < FLOOR:
            continue
        place = Place(node=short[node])
        text = f"changes{_of(paths)} take up to {shown(value)} s on {place.node}, up to {shown(other)} s on other nodes"
        found.append(Outlier("convergence", place, value, other, "s", text))
    return found


def _changes(checks: Sequence[Sequence[Path]]) -> Iterator[list[Path]]:
    """The paths of each check that have followed one kind of change at one address from one kind of vantages.

    A change is left out if a machine may have kept some node from following it.
    """
    for paths in checks:
        found: dict[tuple[str, str, str], list[Path]] = {}
        for path in paths:
            if path.change and path.conforming and path.converged >= 0 and path.node and path.way != "dns":
                found.setdefault((path.change, path.address, path.kind), []).append(path)
        yield from (same for same in found.values() if max(path.latest for path in same) < _LATE)


def _of(paths: Sequence[Path]) -> str:
    """`` of Services``, `` of endpoints``: what was changed, if that is of one kind."""
    kinds = {path.change.partition(" ")[0] for path in paths}
    if kinds == {"service"}:
        return " of Services"
    return " of endpoints" if kinds == {"endpoints"} else ""
