"""An outlier: a place, what was measured there, and what was measured elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where, by short names of nodes; what is empty is not meant.

    `source` and `target` are the node of the client and that of the endpoint. `both` says that it is so in either
    direction. One of the two alone means all other nodes for the other. `node` alone is all that has a part there,
    with `pod` the endpoint.
    """

    source: str = ""
    target: str = ""
    node: str = ""
    pod: str = ""
    both: bool = False

    @property
    def in_words(self) -> str:
        """``from worker to worker2``, ``between worker and other nodes``, ``to pod a on worker``, ``on worker``."""
        source, target = self.source or "other nodes", self.target or "other nodes"
        if self.pod:
            return f"to pod {self.pod} on {self.node}"
        if self.node:
            return f"on {self.node}"
        return f"between {source} and {target}" if self.both else f"from {source} to {target}"


@dataclass(frozen=True)
class Outlier:
    """`what` is ``latency``, ``convergence`` or ``duplicates``; `others` is the value elsewhere, both in `unit`."""

    what: str
    place: Place
    value: float
    others: float
    unit: str
    text: str

    @property
    def note(self) -> str:
        """``outlier: from worker to worker2: p50 402 ms, others 0.6 ms``."""
        return f"outlier: {self.text}"


def shown(number: float) -> str:
    """Two digits at least, and no more behind the point than it takes: ``402``, ``20.7``, ``0.6``."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"
