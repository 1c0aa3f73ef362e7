"""What the API server fills in, refuses and wipes, one module for each kind that needs it."""

from __future__ import annotations

from kubereach_lab.defaults.strategy import Strategy
from kubereach_lab.defaults.table import strategy_of

__all__ = ["Strategy", "strategy_of"]
