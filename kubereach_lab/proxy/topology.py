"""Which of a Service's endpoints a node uses: the near ones, where EndpointSlices hint at them.

Sources: https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution, KEP-4444, KEP-3015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubereach_lab.faults import HEALTHY, Faults


@dataclass(frozen=True)
class Endpoint:
    """A ready (or, when there is no other, still serving) endpoint of one Service port."""

    address: str
    port: int
    node: str
    #: for whom it is meant to be, as its hints say
    nodes: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()


def near(endpoints: Sequence[Endpoint], node: str, zone: str, faults: Faults = HEALTHY) -> list[Endpoint]:
    """Those that are hinted for the node; if there are none, for its zone; else all.

    Hints count only where every endpoint has them: in the middle of a change it is not known whom the others are for.
    """
    if faults.topology.hints_ignored:
        return list(endpoints)
    if endpoints and all(endpoint.nodes for endpoint in endpoints):
        found = [endpoint for endpoint in endpoints if node in endpoint.nodes]
        if found or faults.topology.no_fallback:
            return found
    if endpoints and all(endpoint.zones for endpoint in endpoints):
        found = [endpoint for endpoint in endpoints if zone in endpoint.zones]
        if found or faults.topology.no_fallback:
            return found
    return list(endpoints)
