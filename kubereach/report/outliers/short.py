"""The names of nodes that reports use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubereach.report.record import Path


def short_names(checks: Sequence[Sequence[Path]]) -> dict[str, str]:
    """By the name of each node that has a vantage the name that this one has it under: ``pod@worker``."""
    return {
        path.node: path.vantage.partition("@")[2] or path.node
        for paths in checks
        for path in paths
        if path.node
    }
