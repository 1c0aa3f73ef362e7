"""Which of a Service's endpoints a node uses: the near ones, where EndpointSlices hint at them.

Sources: https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution, KEP-4444, KEP-3015.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """A ready (or, when there is no other, still serving) endpoint of one Service port."""

    address: str
    port: int
    node: str
    #: for whom it is meant to be, as its hints say
    nodes: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()


def near(endpoints: Sequence[Endpoint], node: str, zone: str, faults: Collection[str] = ()) -> list[Endpoint]:
    """Those that are hinted for the node; if there are none, for its zone; else all.

    Hints count only where every endpoint has them: in the middle of a change it is not known whom the others are for.
    """
    if "topology.hints-ignored" in faults:
        return list(endpoints)
    if endpoints and all(endpoint.nodes for endpoint in endpoints):
        found = [endpoint for endpoint in endpoints if node in endpoint.nodes]
        if found or "topology.no-fallback" in faults:
            return found
    if endpoints and all(endpoint.zones for endpoint in endpoints):
        found = [endpoint for endpoint in endpoints if zone in endpoint.zones]
        if found or "topology.no-fallback" in faults:
            return found
    return list(endpoints)
