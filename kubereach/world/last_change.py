"""A Service's last change, and how long the data plane may take to follow it."""

from __future__ import annotations

from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.probe.context import RunContext


class LastChange:
    """Shared by all that changes a Service and all that leads to it."""

    def __init__(self, context: RunContext, settled: float) -> None:
        self._context = context
        #: time.monotonic() until which the data plane may take to follow the last change
        self.settled = settled

    def note(self, what: str = CHANGED) -> None:
        """From now on the data plane has ``settings.converge_deadline`` seconds again; reports name `what`."""
        self.settled = ConvergenceDeadline.after(what, self._context.settings.converge_deadline)
