"""Pairs of nodes: what each of them sends to its own pods and to those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubereach.model.address import Address
from kubereach.probe import Vantage
from kubereach.probe.path import Path

#: other nodes that each node tries: all of them on clusters that are not larger
SAMPLE = 10


def pairs(
    vantages: Sequence[Vantage],
    where: Mapping[str, Sequence[Address]],
    *,
    own: bool = True,
    most: int = SAMPLE,
) -> list[Path]:
    """Each vantage with the addresses that are given for other nodes, by the nodes' names, and with `own` for its own.

    On large clusters each tries the next `most` nodes, so that each node is tried by as many. What is said of a
    pod's address has the node's name.
    """
    ring = list(where)
    short = {vantage.node: vantage.name.rpartition("@")[2] for vantage in vantages}
    all_paths = []
    for vantage in vantages:
        others = [name for name in ring if name != vantage.node]
        start = ring.index(vantage.node) if vantage.node in ring else 0
        # the next ones round the ring: every node is somebody's target
        chosen = [others[(start + i) % len(others)] for i in range(min(most, len(others)))]
        if own and vantage.node in ring:
            chosen.insert(0, vantage.node)
        all_paths += [
            Path(vantage, _on(address, short.get(name, name))) for name in chosen for address in where[name]
        ]
    return all_paths


def _on(address: Address, node: str) -> Address:
    """The address, with the node in what is said of it, where it is a pod's."""
    return replace(address, note=f"{address.note} on {node}") if address.way == "pod" else address
