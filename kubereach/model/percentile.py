"""Percentiles, computed in one way wherever a run shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, always one of the values; None of no values. `share` is from 0 to 1.

    Source: https://www.itl.nist.gov/div898/handbook/prc/section2/prc262.htm
    """
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
