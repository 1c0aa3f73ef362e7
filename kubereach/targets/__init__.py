"""Where the cluster comes from. A target hands out the way in; it knows nothing of checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ClusterAccess:
    """The way in: what the official client needs to make a connection, and words for the reports."""

    #: the kubeconfig file; None lets the client look in $KUBECONFIG and ~/.kube/config
    kubeconfig: Path | None
    #: the context in it; None is its current context
    context: str | None
    #: for people: ``context prod (https://192.0.2.1:6443)``
    description: str
    #: the cluster goes when the target is closed, and all that is in it: nothing of a run needs to be removed
    disposable: bool = False


class Target(Protocol):
    """`open` gives the way in and may start a cluster; `close` undoes that, also after half an `open`."""

    #: ``lab`` or ``existing``
    name: str

    def open(self) -> ClusterAccess: ...

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call `lost(why)` once, in another thread, if the cluster that `open` started goes before `close`."""

    def close(self) -> None: ...
