"""What a run knows and its vantages share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kubereach.events import Bus
from kubereach.settings import Settings


@dataclass
class RunContext:
    """`nonce` is what every backend of this run answers with, so that no foreign responder is taken for ours."""

    settings: Settings
    bus: Bus
    nonce: str
    #: time.monotonic() until which what was applied with the world may still converge; afterwards it must just work
    settled: float = field(default_factory=time.monotonic)
    #: names of vantages for which something has failed: they are not waited for so long any more
    troubled: set[str] = field(default_factory=set)
