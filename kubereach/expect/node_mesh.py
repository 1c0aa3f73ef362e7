"""From every node to every other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubereach.expect.pairs import pairs
from kubereach.expect.reach import over
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.probe import Vantage


def to_reach_other_nodes(vantages: Sequence[Vantage], where: Mapping[str, Sequence[Address]]) -> None:
    """Each vantage reaches the addresses that are given for other nodes than its own, by the nodes' names.

    On large clusters each tries a sample of them, see `kubereach.expect.pairs`.
    """
    all_paths = pairs(vantages, where, own=False)
    if not all_paths:
        raise CannotMeasure("the cluster has no other reachable node")
    over(all_paths)
