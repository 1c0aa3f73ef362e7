"""From every node to every other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubereach.expect.reach import over
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.probe import Vantage
from kubereach.probe.path import Path

#: other nodes that each node tries: all of them on clusters that are not larger
SAMPLE = 10


def to_reach_other_nodes(vantages: Sequence[Vantage], where: Mapping[str, Sequence[Address]]) -> None:
    """Each vantage reaches the addresses that are given for other nodes than its own, by the nodes' names.

    On large clusters each tries the next ten nodes, so that each node is tried by ten.
    """
    ring = list(where)
    all_paths = []
    for vantage in vantages:
        others = [name for name in ring if name != vantage.node]
        start = ring.index(vantage.node) if vantage.node in ring else 0
        # the next ones round the ring: every node is somebody's target
        chosen = [others[(start + i) % len(others)] for i in range(min(SAMPLE, len(others)))]
        all_paths += [Path(vantage, address) for name in chosen for address in where[name]]
    if not all_paths:
        raise CannotMeasure("the cluster has no other reachable node")
    over(all_paths)
