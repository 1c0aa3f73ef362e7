"""Faults that once were put down to the wrong place, or to too many: on paper, each is where it is and nowhere else."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from kubereach.diagnosis.conclusion import finding_of
from kubereach.diagnosis.evidence import DIRECT
from kubereach.diagnosis.score import explain
from kubereach.model.finding import NETWORK, NODE, PROXY, WORKLOAD
from tests.diagnosis.simulator import Fault, Simulated, crosses, forwarded, served

NODES = ("control-plane", "worker", "worker2")
LARGE = frozenset({"tcp 1 MiB", "udp 8000 bytes"})


@dataclass(frozen=True)
class Case:
    fault: Fault
    layer: str
    #: nodes, and words of the sentence
    nodes: tuple[str, ...]
    says: tuple[str, ...] = ()
    says_not: tuple[str, ...] = ()


CASES = {
    "neighbours of one node are not found": Case(
        Fault("", lambda row, route: crosses(row, route) and "worker" in (row.enters, route.node)),
        NODE,
        ("worker",),
        says_not=("worker2", "control-plane"),
    ),
    "one node takes few new connections": Case(
        Fault("", lambda row, route: "worker" in (row.node, row.enters, row.owner, route.node), share=0.4),
        NODE,
        ("worker",),
        says=("%",),
    ),
    "node ports of one node are closed for other nodes' processes alone": Case(
        Fault("", lambda row, _: row.way == "nodeport" and row.owner == "worker" and row.kind == "node"),
        PROXY,
        ("worker",),
        says=("nodes' own processes", "nodeport"),
    ),
    "a node's own address is closed to its own pods and processes": Case(
        Fault("", lambda row, _: row.node == row.owner == "worker"), NODE, ("worker",), says=("own address",)
    ),
    "packets over 1300 bytes are lost in one node's forwarding": Case(
        Fault("", lambda row, route: forwarded(row, route, "worker2"), packets=LARGE),
        NETWORK,
        ("worker2",),
        says=("TCP probes of 1 MiB", "UDP probes of 8000 bytes", "TCP probes and UDP probes do not"),
    ),
    "a few per cent are lost on the way to one node": Case(
        Fault("", lambda row, route: crosses(row, route) and route.node == "worker", share=0.08),
        NETWORK,
        ("worker",),
        says=("% of", "from other nodes to it"),
    ),
    "one endpoint is not reached by one node's service proxy": Case(
        Fault(
            "", lambda row, route: served(row) and (route.pod, row.translator) == ("pod-worker-1", "worker2")
        ),
        PROXY,
        ("worker2",),
        says=("endpoint pod-worker-1",),
    ),
    "hairpin is broken on one node": Case(
        Fault("", lambda row, route: served(row) and row.pod == route.pod and row.node == "worker"),
        PROXY,
        ("worker",),
        says=("hairpin",),
    ),
    "UDP alone, from one node to another": Case(
        Fault(
            "",
            lambda row, route: (row.enters, route.node) == ("worker", "worker2"),
            packets=frozenset({"udp", "udp 8000 bytes"}),
        ),
        NETWORK,
        (),
        says=("from worker to worker2", "UDP", "TCP probes and TCP probes of 1 MiB do not"),
    ),
    "a pod loses half of what it gets, also from its own node": Case(
        Fault("", lambda _, route: route.pod == "pod-worker-1", share=0.5),
        WORKLOAD,
        (),
        says=("pod-worker-1",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_where_it_is(name: str) -> None:
    case = CASES[name]
    rows = Simulated(NODES, random.Random(name), [case.fault]).table()
    cover = explain(rows)
    assert cover
    found = finding_of(rows, cover, cover[0], str)
    assert (found.layer, found.nodes) == (case.layer, case.nodes), found.sentence
    blamed = found.sentence.partition("; not told apart")[0]
    assert all(word in found.sentence for word in case.says), found.sentence
    assert not any(word in blamed for word in case.says_not), found.sentence


def test_what_stays_on_one_node_is_not_put_down_to_the_network() -> None:
    fault = Fault("", lambda row, route: row.way == DIRECT and row.enters == route.node == "worker")
    rows = Simulated(NODES, random.Random(5), [fault]).table()
    cover = explain(rows)
    assert finding_of(rows, cover, cover[0], str).what == "probes on the same node fail"
