"""Which UDP flows the lab's service proxy ends, by the version of Kubernetes that it plays."""

from __future__ import annotations

from typing import cast

import pytest

from kubereach_lab.config import LabConfig
from kubereach_lab.network import Host
from kubereach_lab.proxy.conntrack import UdpFlows

FRONTEND = ("10.96.3.7", 53)
A, B = ("10.244.1.7", 5353), ("10.244.2.8", 5353)
NONE: frozenset[tuple[str, int]] = frozenset()


def flows(minor: int) -> UdpFlows:
    # which flows are outdated needs no host to end them on
    return UdpFlows(cast(Host, None), LabConfig().plans[0], minor)


@pytest.mark.parametrize(
    ("minor", "first", "emptied"),
    [(31, {FRONTEND: NONE}, {FRONTEND: NONE}), (32, {}, {}), (36, {}, {}), (37, {}, {FRONTEND: NONE})],
)
def test_a_first_and_a_last_endpoint(minor: int, first: object, emptied: object) -> None:
    """To 1.31, kube-proxy deletes all flows of what gets its first endpoint; to 1.36, 1.32 keeps those of the last."""
    of = flows(minor)
    assert of.outdated({FRONTEND: NONE}) == {}
    assert of.outdated({FRONTEND: frozenset({A})}) == first
    assert of.outdated({FRONTEND: frozenset({A})}) == {}
    assert of.outdated({FRONTEND: NONE}) == emptied


@pytest.mark.parametrize("minor", [31, 32, 37])
def test_endpoints_that_come_and_go_beside_others(minor: int) -> None:
    of = flows(minor)
    of.outdated({FRONTEND: frozenset({A})})
    assert of.outdated({FRONTEND: frozenset({A, B})}) == {}
    assert of.outdated({FRONTEND: frozenset({B})}) == {FRONTEND: frozenset({B})}
