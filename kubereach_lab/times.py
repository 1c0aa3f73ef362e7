"""Moments as the API writes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def now() -> str:
    """The time as metav1.Time writes it: UTC, whole seconds."""
    return later(0)


def later(seconds: float) -> str:
    """The time so many seconds from now, as metav1.Time writes it."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro() -> str:
    """The time as metav1.MicroTime writes it: six decimals."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
