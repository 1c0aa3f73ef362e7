"""A budget for convergence: how long the data plane may take to obey a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from kubereach.expect.settle import watched
from kubereach.model.convergence import DELETED
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.events import Probed
from kubereach.model.finding import API, DNS, PROXY
from kubereach.probe.context import RunContext


class _InRun(Protocol):
    @property
    def context(self) -> RunContext: ...


@contextmanager
def within_budget(where: _InRun) -> Iterator[None]:
    """Every path of the block follows its change within ``settings.convergence_budget`` seconds; 0 is no budget.

    `where` is the world. Raises `NotConforming` at the end of the block, for all paths that took longer.
    """
    probed: list[Probed] = []
    token = watched.set(probed)
    try:
        yield
    finally:
        watched.reset(token)
    budget = where.context.settings.convergence_budget
    failures = over_budget(probed, budget) if budget else []
    if failures:
        raise NotConforming(failures)


def over_budget(probed: Sequence[Probed], seconds: float) -> list[Failure]:
    """A failure for each path that took more than so many seconds to follow a change."""
    late = [path for path in probed if path.change and path.converged > seconds]
    # what takes no EndpointSlice is obeyed at once where only these are late: the service proxy does as it is told
    deleted = [path for path in probed if path.change == DELETED and path.way != "dns"]
    layer = API if deleted and not any(path in late for path in deleted) else PROXY
    return [
        Failure(
            path.vantage,
            path.address,
            f"{path.change}: effective within {seconds:g} s",
            f"after {path.converged:.1f} s",
            layer=DNS if path.way == "dns" else layer,
        )
        for path in late
    ]
