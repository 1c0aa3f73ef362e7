"""What the pattern of vantages and pods that do not reach one another says of the place that is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubereach.diagnosis.bench import Bench
from kubereach.diagnosis.network import Cell, direct, locate
from kubereach.diagnosis.subject import Endpoint
from kubereach.model.finding import NETWORK, NODE, WORKLOAD
from kubereach.model.outcome import OK, REFUSED, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.probe import Series, Vantage

NODES = ("one", "two", "three")
SHORT = {node: node for node in NODES}
HTTP = Series("http")


def result(outcome: str, lost: int = 0, count: int = 40) -> SeriesResult:
    """`count` probes, of which `lost` have this outcome, or all of them."""
    lost = lost or count
    words = [outcome] * lost + [OK] * (count - lost)
    return SeriesResult(tuple(Probe(Answer(word), 0.001) for word in words), 0.1)


def cells(
    fails: Callable[[str, Endpoint], bool], outcome: str = TIMEOUT, lost: int = 0, nodes: Any = NODES
) -> list[Cell]:
    """From each node to two pods of each node."""
    endpoints = [
        Endpoint(f"10.0.{i}.{n}", f"pod-{node}-{n}", node, 8080)
        for i, node in enumerate(nodes)
        for n in (1, 2)
    ]
    return [
        Cell(
            cast(
                "Vantage",
                SimpleNamespace(
                    name=f"pod@{node}", node=node, kind="pod", namespace="a", pod=f"client-{node}"
                ),
            ),
            endpoint,
            result(outcome, lost) if fails(node, endpoint) else result(OK),
        )
        for node, endpoint in product(nodes, endpoints)
    ]


def test_nothing_is_broken_where_everything_answers() -> None:
    assert locate(cells(lambda *_: False), SHORT, HTTP) is None


@pytest.mark.parametrize("outcome", [TIMEOUT, REFUSED])
def test_between_two_nodes(outcome: str) -> None:
    pair = {"one", "three"}
    found = locate(cells(lambda node, pod: {node, pod.node} == pair, outcome), SHORT, HTTP)
    assert found and (found.layer, found.object) == (NETWORK, "pod network between one and three")


def test_from_one_node_to_another_but_not_back() -> None:
    found = locate(cells(lambda node, pod: (node, pod.node) == ("one", "three")), SHORT, HTTP)
    assert found and (found.layer, found.object) == (NETWORK, "pod network from one to three")


def test_on_the_way_to_one_node() -> None:
    found = locate(cells(lambda node, pod: node != "two" and pod.node == "two"), SHORT, HTTP)
    assert found and (found.layer, found.nodes) == (NETWORK, ("two",))
    assert "from other nodes to it" in found.sentence


def test_on_the_way_from_one_node() -> None:
    found = locate(cells(lambda node, pod: node == "two" and pod.node != "two"), SHORT, HTTP)
    assert found and (found.layer, found.nodes) == (NETWORK, ("two",))
    assert "from it to other nodes" in found.sentence


def test_a_node_that_neither_sends_nor_takes() -> None:
    found = locate(cells(lambda node, pod: "two" in {node, pod.node} and node != pod.node), SHORT, HTTP)
    assert found and (found.layer, found.nodes) == (NODE, ("two",))


def test_one_packet_in_twenty_between_all_nodes() -> None:
    found = locate(cells(lambda node, pod: node != pod.node, lost=2), SHORT, HTTP)
    assert found and (found.layer, found.object) == (NETWORK, "pod network between nodes")
    assert "5 % of TCP probes fail" in found.sentence
    assert any("38 of 40 probes answered, 2 timed out" in line for line in found.evidence), found.evidence


def test_large_packets_alone() -> None:
    found = locate(
        cells(lambda node, pod: node != pod.node), SHORT, Series("transfer", more={"size": 4194304})
    )
    assert found and found.layer == NETWORK
    assert "TCP probes of 4 MiB fail" in found.sentence
    assert any(line.startswith("ping -M do") for line in found.next)


def test_large_packets_from_and_to_one_node_alone() -> None:
    large = Series("transfer", more={"size": 4194304})
    found = locate(cells(lambda node, pod: "two" in {node, pod.node} and node != pod.node), SHORT, large)
    assert found and (found.layer, found.nodes) == (NETWORK, ("two",))


def test_a_pod_that_nobody_gets_an_answer_of_while_its_neighbour_answers() -> None:
    found = locate(cells(lambda _, pod: pod.pod == "pod-two-1"), SHORT, HTTP)
    assert found and found.layer == WORKLOAD
    assert "pod-two-1" in found.sentence


def test_a_pod_that_refuses_everybody_has_nobody_who_listens() -> None:
    found = locate(cells(lambda _, pod: pod.node == "two", REFUSED), SHORT, HTTP)
    assert found and found.layer == WORKLOAD
    assert "no process listens on port 8080" in found.sentence


def test_a_node_that_is_short_of_something_for_all_others() -> None:
    """Some connections fail, to and from each of the others."""

    def fails(node: str, pod: Endpoint) -> bool:
        return (node == "two") != (pod.node == "two") and pod.pod.endswith("1")

    found = locate(cells(fails), SHORT, HTTP)
    assert found and (found.layer, found.nodes) == (NODE, ("two",))


def test_refusals_of_datagrams_are_rationed() -> None:
    """Where one client has used up its ration, the silence of a port that others are refused at says nothing."""
    refused = cells(lambda *_: True, REFUSED, nodes=("one", "two"))
    rationed = [
        replace(cell, result=result(TIMEOUT)) if cell.vantage.node != cell.endpoint.node else cell
        for cell in refused
    ]
    found = locate(rationed, SHORT, Series("udp"))
    assert found and found.layer == WORKLOAD
    assert "no process listens on port 8080" in found.sentence
    # a connection's refusal is a packet as any other
    found = locate(rationed, SHORT, HTTP)
    assert found and found.layer == NETWORK


def test_a_single_node_that_does_not_reach_its_own_pods() -> None:
    found = locate(cells(lambda *_: True, nodes=("one",)), SHORT, HTTP)
    assert found and (found.layer, found.nodes) == (NODE, ("one",))


def test_a_datagram_that_a_busy_pod_answers_late_is_waited_for() -> None:
    seen: list[Series] = []

    def run(wanted: list[tuple[Vantage, Series]]) -> list[SeriesResult]:
        seen.extend(series for _, series in wanted)
        return [result(OK) for _ in wanted]

    vantage = cells(lambda *_: False)[0].vantage
    endpoint = Endpoint("10.0.0.1", "pod", "one", 8080)
    (cell,) = direct(cast("Bench", SimpleNamespace(run=run)), [vantage], [endpoint], Series("udp"))
    assert cell.good
    assert [(series.host, series.port, series.patient) for series in seen] == [("10.0.0.1", 8080, True)]
