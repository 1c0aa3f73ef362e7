"""Numbers with their nouns."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """``1 path``, ``14 paths``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
