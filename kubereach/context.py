"""What a run knows and its vantages share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubereach.events import Bus
from kubereach.settings import Settings

if TYPE_CHECKING:
    from kubereach.diagnosis.finding import Finding
    from kubereach.expect.evidence import Path
    from kubereach.world.proxies import ServiceProxy


@dataclass
class RunContext:
    """`nonce` is what every backend of this run answers with, so that no foreign responder is taken for ours."""

    settings: Settings
    bus: Bus
    nonce: str
    #: the API server's, as it says it; empty until the run has connected
    version: str = ""
    #: the IP version (4 or 6) of the cluster's first IP family: of Services that do not choose one, and of names that
    #: a vantage resolves
    ip_version: int = 4
    #: time.monotonic() until which what was applied with the world may still converge; afterwards it must just work
    settled: float = field(default_factory=time.monotonic)
    #: names of vantages for which something has failed, and since when: they are not waited for so long any more
    troubled: dict[str, float] = field(default_factory=dict)
    #: seconds that the slowest path so far has taken to follow a change: who is slow is not broken
    slowest: float = 0.0
    #: finds out which layer of a path that failed is broken
    examine: Callable[[Path], Finding | None] | None = None
    #: what serves Services on a node, by its name: asked only where service proxies lawfully differ
    proxy_on: Callable[[str], ServiceProxy | None] = lambda _: None
