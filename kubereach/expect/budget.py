"""A budget for convergence: how long the data plane may take to obey a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from kubereach.context import RunContext
from kubereach.errors import Failure, NotConforming
from kubereach.events import Probed
from kubereach.expect.evidence import watched


class _InRun(Protocol):
    @property
    def context(self) -> RunContext: ...


@contextmanager
def within_budget(where: _InRun) -> Iterator[None]:
    """Every path of the block follows its change within ``settings.convergence_budget`` seconds; 0 is no budget.

    `where` is the world. Raises `NotConforming` at the end of the block, for all paths that took longer.
    """
    seen: list[Probed] = []
    token = watched.set(seen)
    try:
        yield
    finally:
        watched.reset(token)
    budget = where.context.settings.convergence_budget
    failures = over_budget(seen, budget) if budget else []
    if failures:
        raise NotConforming(failures)


def over_budget(seen: Sequence[Probed], seconds: float) -> list[Failure]:
    """A failure for each path that took more than so many seconds to follow a change."""
    return [
        Failure(
            path.vantage,
            path.address,
            f"{path.change}: obeyed within {seconds:g} s",
            f"after {path.converged:.1f} s",
        )
        for path in seen
        if path.change and path.converged > seconds
    ]
