"""The probes of a diagnosis are those that failed: of their kind and size, with their time-out."""

from __future__ import annotations

from dataclasses import replace

from kubereach.expect.hold import hold_length
from kubereach.expect.reach import series_for
from kubereach.probe import Series
from kubereach.probe.path import Path

#: kinds of which one probe is much already
_BIG = frozenset({"transfer"})


def probing(path: Path, count: int = 0) -> Series:
    """A series as the one that failed, of `count` probes or as many as notice what ``settings.loss`` says."""
    series = path.series
    if series is None or series.kind in ("flow", "dns"):
        series = series_for(path)
    if series.kind in _BIG:
        return replace(series, count=1)
    if series.burst:
        return series
    return replace(series, count=count or hold_length(path.vantage.context.settings), stop_after=3)
