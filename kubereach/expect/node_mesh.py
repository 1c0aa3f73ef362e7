"""From every node to every other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubereach.expect.reach import OWN, over
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.probe import Vantage
from kubereach.probe.path import Path

#: other nodes that each node tries: all of them on clusters that are not larger
SAMPLE = 10


def mesh(vantages: Sequence[Vantage], addresses: Mapping[str, Sequence[Address]], own: bool = False) -> None:
    """See `Expectation.to_reach_other_nodes`."""
    ring = list(addresses)
    seen = []
    for vantage in vantages:
        others = [name for name in ring if name != vantage.node]
        start = ring.index(vantage.node) if vantage.node in ring else 0
        # the next ones round the ring: every node is somebody's target
        chosen = [others[(start + i) % len(others)] for i in range(min(SAMPLE, len(others)))]
        seen += [Path(vantage, address) for name in chosen for address in addresses[name]]
    if not seen:
        raise CannotMeasure("there is no other node that could be reached")
    over(seen, source=OWN if own else None)
