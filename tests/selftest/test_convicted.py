"""A report whose own paths speak against what it blames."""

from __future__ import annotations

from typing import Any

import pytest

from kubereach.model.finding import NETWORK, PROXY
from kubereach.selftest.convicted import contradictions

NODES = ("control-plane", "worker", "worker2")
LOST, FINE = {"timeout": 3}, {"ok": 135}


def path(
    node: str, outcomes: dict[str, int], address: str = "clusterip http://10.96.3.7:80 (web)", **more: str
) -> Any:
    return {
        "vantage": f"pod@{node}",
        "vantage_kind": "pod",
        "node": f"kubereach-{node}",
        "way": "clusterip",
        "address": address,
        "conforming": outcomes == FINE,
        "probes": sum(outcomes.values()),
        "outcomes": outcomes,
        "change": "",
        **more,
    }


def complaints(
    *blamed: str, paths: list[Any], layer: str = PROXY, object: str = "service proxy"
) -> list[str]:
    cause = {
        "layer": layer,
        "object": object,
        "nodes": list(blamed),
        "sentence": "it fails",
        "checks": ["a.b"],
    }
    addresses = [f"172.18.0.{2 + number}" for number in range(3)]
    return contradictions(
        {
            "cluster": {"nodes": [f"kubereach-{name}" for name in NODES], "node addresses": addresses},
            "causes": [cause],
            "checks": [{"id": "a.b", "case": "", "paths": paths}],
        }
    )


ON_WORKER = [path("control-plane", FINE), path("worker", LOST), path("worker2", FINE)]


def test_the_node_that_loses() -> None:
    assert complaints("worker", paths=ON_WORKER) == []
    assert complaints(paths=ON_WORKER) == []


def test_a_node_that_lost_nothing() -> None:
    said = "worker2 is blamed and lost 0 of 135, worker lost 3 of 3 (it fails)"
    assert complaints("worker2", paths=ON_WORKER) == [said]


def test_a_node_that_is_blamed_beside_the_right_one() -> None:
    said = "worker2 is blamed and lost 0 of 135, worker lost 3 of 3 (it fails)"
    assert complaints("worker", "worker2", paths=ON_WORKER) == [said]


def test_every_node_where_one_loses() -> None:
    (said,) = complaints("every node", paths=ON_WORKER)
    assert said.startswith("every node is blamed, and worker alone lost any: 3 of 3, control-plane 0 of 135")
    everywhere = [path(node, LOST) for node in NODES]
    assert complaints("every node", paths=everywhere) == []
    assert complaints("every node", paths=ON_WORKER[:2]) == []  # nobody asked from worker2


def test_what_may_be_chance_is_no_evidence() -> None:
    few = [path("worker", {"ok": 11, "timeout": 1}), path("worker2", {"ok": 12}, conforming="yes")]
    assert complaints("worker2", paths=few) == []


def test_other_questions_prove_nothing() -> None:
    elsewhere = path("worker2", FINE, "clusterip http://10.96.3.8:80 (other)")
    assert complaints("worker2", paths=[ON_WORKER[1], elsewhere]) == []
    later = path("worker2", FINE, change="scaled")
    assert complaints("worker2", paths=[ON_WORKER[1], later]) == []


def test_a_node_port_is_asked_of_the_node_that_has_the_address() -> None:
    paths = [
        path("worker", outcomes, f"nodeport http://172.18.0.{2 + number}:31000 (web on {NODES[number]})")
        for number, outcomes in enumerate((FINE, FINE, LOST))
    ]
    assert complaints("worker2", paths=paths) == []
    assert complaints("worker", paths=paths) != []


@pytest.mark.parametrize("lost", [{"control-plane"}, {"control-plane", "worker2"}])
def test_the_network_at_a_node_that_packets_go_to(lost: set[str]) -> None:
    # what is lost on the way into worker, each other node loses; where one of them loses nothing, it is not there
    paths = [path(node, LOST if node in lost else FINE) for node in NODES]
    assert bool(complaints("worker", paths=paths, layer=NETWORK)) is (len(lost) == 1)


def test_a_way_between_two_nodes_is_not_looked_at() -> None:
    place = "pod network from worker to worker2"
    assert complaints("worker2", paths=ON_WORKER, layer=NETWORK, object=place) == []
