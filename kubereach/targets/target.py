"""What every target does: hand out the way into a cluster, and end what it has started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from kubereach.kube.access import ClusterAccess


class Target(Protocol):
    """`open` gives the way in and may start a cluster; `close` undoes that, also after half an `open`."""

    #: ``lab``, ``kind`` or ``existing``
    name: str

    def open(self) -> ClusterAccess: ...

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost(why)` once, in another thread, if the cluster that `open` started goes before `close`."""

    def close(self) -> None: ...


@runtime_checkable
class KeepsLogs(Protocol):
    """A target that can tell more when a run has failed."""

    def export_logs(self, folder: Path) -> Path | None:
        """Leave the cluster's logs in a folder below `folder`, before `close`; None when there are none."""
