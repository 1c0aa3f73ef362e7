"""Vantages: the places that probes start from, all spoken to in the same way."""

from __future__ import annotations

from kubereach.vantage.group import VantageGroup
from kubereach.vantage.series import Series
from kubereach.vantage.vantage import Vantage

__all__ = ["Series", "Vantage", "VantageGroup"]
