"""What a check found out and wants read, whatever its verdict."""

from __future__ import annotations

from typing import Protocol

from kubereach.expect.settle import current_check
from kubereach.model.events import Note
from kubereach.probe.context import RunContext


class _InRun(Protocol):
    @property
    def context(self) -> RunContext: ...


def add_note(where: _InRun, text: str) -> None:
    """Put a line into the report of the check that is running; `where` is its world, or a vantage."""
    where.context.bus.emit(Note(current_check.get(), text))
