"""What stands out though it conforms: ways that are slow, nodes that follow changes late, packets that arrive twice.

An outlier never changes a verdict. A place is compared with the others of the same run, and noted only where chance, a
busy machine or zones do not explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubereach.report.outliers.convergence import late_nodes
from kubereach.report.outliers.duplicates import duplicated
from kubereach.report.outliers.latency import slow_places
from kubereach.report.outliers.outlier import Outlier

if TYPE_CHECKING:
    from kubereach.report.record import Path


def outliers(checks: Sequence[Sequence[Path]]) -> list[Outlier]:
    """Those of a run; `checks` are the series of each of its checks."""
    return [*slow_places(checks), *late_nodes(checks), *duplicated(checks)]
