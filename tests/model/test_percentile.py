"""The one percentile of a run's report, matrix and notes."""

from __future__ import annotations

from kubereach.model.percentile import percentile


def test_percentiles_are_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.01) == 3.0
