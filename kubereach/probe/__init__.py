"""Vantages: the places that probes start from, all spoken to in the same way."""

from __future__ import annotations

from kubereach.probe.group import VantageGroup
from kubereach.probe.series import Series
from kubereach.probe.vantage import Vantage

__all__ = ["Series", "Vantage", "VantageGroup"]
