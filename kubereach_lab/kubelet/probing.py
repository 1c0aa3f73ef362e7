"""Which probes of a container run when, and what their verdicts change.

Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubereach_lab.kubelet.probes import Prober, probe_once

if TYPE_CHECKING:
    from kubereach_lab.kubelet.container import Container


class Probing:
    """The probes of one run of a container: startup first, then readiness and liveness."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._process = container.process
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start what comes first."""
        if "startupProbe" in self._container.spec:
            self._run("startupProbe", self._started, None)
        else:
            self._started(True)

    def end(self) -> None:
        """The container is stopping or has stopped: no probe changes anything any more."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def _run(self, kind: str, changed: Callable[[bool], None], verdict: bool | None) -> None:
        container, probe = self._container, self._container.spec.get(kind)
        if not probe:
            return
        worker = container.worker
        word = kind[: -len("Probe")].capitalize()
        prober = Prober(
            probe,
            lambda: probe_once(
                worker.kubelet.network, probe, container.spec, worker.addresses[0], container.execute
            ),
            lambda: container.process is self._process and not worker.ending.is_set(),
            changed,
            lambda reason: container.event("Warning", "Unhealthy", f"{word} probe failed: {reason}"),
        )
        self._tasks.append(asyncio.create_task(prober.run(verdict)))

    def _started(self, verdict: bool) -> None:
        if not verdict:
            self._restart("startup")
            return
        state = self._container.state
        before = state.started, state.ready
        state.started = True
        state.ready = self._container.ready_without_probe
        self._container.up.set()
        if (state.started, state.ready) != before:
            self._container.worker.write_status()
        self._run("readinessProbe", self._ready, False)
        self._run("livenessProbe", self._alive, True)

    def _ready(self, verdict: bool) -> None:
        self._container.state.ready = verdict
        self._container.worker.write_status()

    def _alive(self, verdict: bool) -> None:
        if not verdict:
            self._restart("liveness")

    def _restart(self, which: str) -> None:
        container = self._container
        if container.process is not None:
            why = f"Container {container.name} failed {which} probe, will be restarted"
            self._tasks.append(asyncio.create_task(container.stop(why)))
