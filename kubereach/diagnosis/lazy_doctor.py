"""The doctor of a run, who comes when something has failed: most runs need none, and do not load what it takes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kubereach.model.finding import Finding

if TYPE_CHECKING:
    from kubereach.diagnosis.doctor import Doctor
    from kubereach.probe.path import Path
    from kubereach.world.world import World


class LazyDoctor:
    """Stands in for `kubereach.diagnosis.doctor.Doctor` until the first path fails; may be used by several threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._doctor: Doctor | None = None
        self._lock = threading.Lock()

    def examine(self, path: Path) -> Finding | None:
        """See `Doctor.examine`."""
        with self._lock:
            if self._doctor is None:
                from kubereach.diagnosis.doctor import Doctor

                self._doctor = Doctor(self._world)
        return self._doctor.examine(path)
