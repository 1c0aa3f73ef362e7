"""What a run knows and its vantages share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
    """`nonce` is what every backend of this run answers with, so that no foreign responder is taken for ours.

    Anybody who reaches a backend reads it. What changes backends takes the `secret`, which no answer and no report has.
    """

    settings: Settings
    bus: Bus
    nonce: str
    secret: str = field(default="", repr=False)
    #: the API server's, as it says it; empty until the run has connected
    version: str = ""
    #: time.monotonic() until which what was applied with the world may still converge; afterwards it must just work
    settled: float = field(default_factory=time.monotonic)
    #: names of vantages for which something has failed, and since when: they are not waited for so long any more
    troubled: dict[str, float] = field(default_factory=dict)
    #: seconds that the slowest path so far has taken to follow a change: who is slow is not broken
    slowest: float = 0.0
    #: finds out which layer of a path that failed is broken
    examine: Callable[[Path], Finding | None] | None = None
    #: cluster IPs of an IP version that no Service has, as far as that is known: asked only where somebody answers who
    #: should not
    unallocated: Callable[[int], Sequence[str]] = lambda _: ()
    #: what has been told of middleboxes, by vantage
    middleboxes: dict[str, str] = field(default_factory=dict)
    #: what serves Services on a node, by its name: asked only where service proxies lawfully differ
    proxy_on: Callable[[str], ServiceProxy | None] = lambda _: None
