"""What a diagnosis says: the layer that is broken, where, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass

# The layers, in the words of reports.
DNS = "dns"
PROXY = "service-proxy"
NETWORK = "pod-network"
WORKLOAD = "workload"
BALANCER = "load-balancer"
NODE = "node"
API = "api"

#: the object of what was lost and not met again: nothing is blamed
INTERMITTENT = "intermittent loss"


@dataclass(frozen=True)
class Finding:
    """The broken layer of one path.

    `object` is what of the layer is broken (``service proxy``, ``DNS replica coredns-1``), the same for all paths that
    fail of it, and `nodes` are the short names of the nodes that it was seen on: none means that the place is not a
    node. `what` goes on from there in a sentence. `evidence` are the probes that it rests on, `next` commands to type.
    """

    layer: str
    object: str
    what: str
    nodes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """``service proxy on worker2: 10.96.3.7:80 is not answered, all of 3 endpoints are``."""
        return f"{self.object}{on(self.nodes)}: {self.what}"


def on(nodes: tuple[str, ...]) -> str:
    """`` on worker and worker2``; nothing for no nodes."""
    if not nodes:
        return ""
    return " on " + (f"{', '.join(nodes[:-1])} and {nodes[-1]}" if len(nodes) > 1 else nodes[0])
