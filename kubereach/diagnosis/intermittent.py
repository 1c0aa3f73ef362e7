"""What was lost and is not met again: told with its times, and blamed on nobody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import counted
from kubereach.diagnosis.subject import Subject
from kubereach.diagnosis.wording import describe
from kubereach.model.finding import BALANCER, INTERMITTENT, NETWORK, PROXY, Finding
from kubereach.probe.path import Path

if TYPE_CHECKING:
    from kubereach.world.world import World


def intermittent(world: World, path: Path, subject: Subject) -> Finding:
    """The finding of a path that failed, where the same probes do not fail any more.

    The layer is that of the way that was probed, since nothing tells more; no node is named.
    """
    way = path.address.way
    layer = (
        NETWORK if way == "pod" else BALANCER if way == "loadbalancer" and not path.vantage.node else PROXY
    )
    what = f"{describe(world, path, subject)} {clock_times(path)}, and the same probes are answered since"
    return Finding(layer, INTERMITTENT, what, (), (f"{path.vantage.name}: {counted([path.result])}",), _NEXT)


_NEXT = ("kubectl get events -A --sort-by=.lastTimestamp | tail -40", "kubereach run --check ... # once more")


def clock_times(path: Path) -> str:
    """``between 12:03:05 and 12:03:07``: since when a path has been probed, until now, by this machine's clock."""
    now = time.time()
    return f"between {_clock(now - (time.monotonic() - path.began))} and {_clock(now)}"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
