"""What reports say of drawn faults: right, incomplete, or false."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from kubereach.selftest import random_fault as drawn
from kubereach.selftest.right_answer import Answer, judge, right_answer
from tests.selftest.test_random_fault import FACTS

NAMES = ("0", "1", "2")


def answer(kind: str, *nodes: int, **more: Any) -> Answer:
    fault = drawn.RandomFault(1, 1, drawn.Place(kind, nodes, **more))
    return right_answer(fault, asdict(FACTS))


def cause(layer: str, *nodes: str, object: str = "something", what: str = "fails") -> dict[str, Any]:
    return {"layer": layer, "nodes": list(nodes), "object": object, "sentence": f"{object}: {what}"}


def located(right: Answer, *causes: dict[str, Any]) -> bool:
    return judge({"causes": list(causes)}, 1, right, mild=False).located


def false(right: Answer, *causes: dict[str, Any]) -> list[str]:
    found = judge({"causes": list(causes)}, 1, right, mild=False).false
    return [text.partition(" (")[0] for text in found]


def test_of_a_pair_both_nodes_are_named() -> None:
    right = answer(drawn.PAIR, 0, to=2)
    assert located(right, cause("pod-network", object="pod network from 0 to 2"))
    assert located(right, cause("pod-network", object="pod network between 2 and 0"))
    assert located(right, cause("pod-network", "0", "2"))
    assert not located(right, cause("pod-network", "0"))
    assert not located(right, cause("node", "0", "2"))
    assert not located(right, cause("pod-network", object="pod network between nodes"))
    assert false(right, cause("pod-network", "0")) == []
    assert false(right, cause("pod-network", object="pod network from 0 to 1")) == ["1"]


@pytest.mark.parametrize("kind", [drawn.INGRESS, drawn.EGRESS, drawn.FORWARDING, drawn.PROCESSES])
def test_of_one_node_that_node_alone_is_named(kind: str) -> None:
    right = answer(kind, 1)
    assert located(right, cause("node", "1"))
    assert located(right, cause("pod-network", "1"))
    assert not located(right, cause("pod-network"))
    pair = cause("pod-network", object="pod network from 1 to 2")
    assert not located(right, pair)
    # true, though not all of it
    assert false(right, pair) == []
    assert false(right, cause("pod-network", object="pod network from 0 to 2")) == ["0", "2"]


def test_every_node_is_false_where_one_has_it() -> None:
    one, all_of_them = answer(drawn.CLUSTER_IPS, 1), answer(drawn.CLUSTER_IPS, 0, 1, 2)
    everywhere = cause("service-proxy", "every node")
    assert (located(one, everywhere), false(one, everywhere)) == (False, ["every node"])
    assert (located(all_of_them, everywhere), false(all_of_them, everywhere)) == (True, [])
    assert located(all_of_them, cause("service-proxy", *NAMES))
    assert not located(all_of_them, cause("service-proxy", "1"))
    assert not located(all_of_them, cause("pod-network"))


def test_a_later_cause_may_be_false_too() -> None:
    right = answer(drawn.NODE_PORTS, 1)
    said = [cause("service-proxy", "1"), cause("node", "0", "1")]
    assert (located(right, *said), false(right, *said)) == (True, ["0"])


def test_one_service_is_named() -> None:
    right = answer(drawn.SERVICE, 2, service="multiport")
    what = "3 of 60 connections to clusterip {} timed out"
    assert located(right, cause("service-proxy", "2", what=what.format("10.9.9.9:80 (Service a/multiport)")))
    assert located(right, cause("service-proxy", "2", what=what.format("10.96.3.7:8000")))
    assert not located(right, cause("service-proxy", "2", what=what.format("10.9.9.9:80 (Service a/other)")))
    assert false(right, cause("service-proxy", object="Service a/clusterip")) == ["clusterip"]


def test_one_endpoint_is_named() -> None:
    right = answer(drawn.ENDPOINT, 2, toward=False)
    what = "port 8080 of pod {} (10.244.2.6) does not answer from any node"
    assert located(right, cause("workload", what=what.format("backend-2")))
    assert located(right, cause("pod-network", "2", what="backend-2 gets no packets"))
    assert not located(right, cause("pod-network", "2"))
    assert not located(right, cause("workload", "1", what=what.format("backend-2")))
    assert false(right, cause("workload", what=what.format("backend-1"))) == ["backend-1"]


def test_one_replica_is_named() -> None:
    right = answer(drawn.REPLICA, replica=1)
    assert located(right, cause("dns", "1", object="DNS replica coredns-b"))
    both = cause("dns", object="DNS replica coredns-a, coredns-b")
    assert false(right, both) == ["coredns-a"]
    assert not located(right, cause("dns", object="cluster DNS"))


def test_cluster_dns() -> None:
    assert located(answer(drawn.DNS_SERVICE, 0, 1, 2), cause("dns", object="cluster DNS"))
    assert not located(answer(drawn.DNS_SERVICE, 1), cause("dns", object="cluster DNS"))
    assert located(answer(drawn.DNS_SERVICE, 1), cause("service-proxy", "1"))


def note(text: str, verdict: str = "noted") -> dict[str, Any]:
    check = {"verdict": verdict, "known_defect": None, "message": "", "notes": [text]}
    return {"causes": [], "checks": [check], "run": {"notes": []}}


def test_what_answers_every_probe_may_be_noted() -> None:
    right = answer(drawn.PAIR, 0, to=2)
    said = note("latency from 0 to 2 is 204 ms")
    assert judge(said, 0, right, mild=True).detected == "noted"
    assert judge(said, 0, right, mild=True).located
    assert judge(said, 0, right, mild=False).detected == ""
    assert judge(said, 3, right, mild=True).detected == ""
    assert judge(note("latency from 0 to 1 is 204 ms"), 0, right, mild=True).detected == ""
    # what is written down on healthy labs too
    assert judge(note("latency from 0 to 2 is 1 ms", "pass"), 0, right, mild=True).detected == ""


def outlier(**place: Any) -> dict[str, Any]:
    said = {
        "text": "something",
        "place": {"from": "", "to": "", "node": "", "pod": "", "both_ways": False, **place},
    }
    return {"causes": [], "checks": [], "run": {"notes": ["outlier: something"]}, "outliers": [said]}


@pytest.mark.parametrize(
    ("right", "place", "detected", "wrong"),
    [
        (answer(drawn.PAIR, 0, to=2), {"from": "2", "to": "0"}, "noted", []),
        (answer(drawn.PAIR, 0, to=2), {"node": "0"}, "", []),
        (answer(drawn.PAIR, 0, to=2), {"from": "0", "to": "1"}, "", ["1"]),
        (answer(drawn.INGRESS, 1), {"from": "1", "both_ways": True}, "noted", []),
        (answer(drawn.INGRESS, 1), {"from": "1", "to": "2"}, "", []),
        (answer(drawn.INGRESS, 1), {"from": "0", "to": "2"}, "", ["0", "2"]),
        (answer(drawn.ENDPOINT, 2), {"node": "2", "pod": "backend-2"}, "noted", []),
        (answer(drawn.ENDPOINT, 2), {"node": "2"}, "", []),
    ],
)
def test_an_outlier_names_the_place_or_a_false_one(
    right: Answer, place: dict[str, str], detected: str, wrong: list[str]
) -> None:
    found = judge(outlier(**place), 0, right, mild=True)
    assert found.detected == detected
    assert [text.partition(" (")[0] for text in found.false] == wrong


def test_what_is_not_told_is_not_located() -> None:
    right = answer(drawn.NODE_PORTS, 1)
    assert not located(right)
    found = judge({"causes": [cause("service-proxy", "1")]}, 3, right, mild=False)
    assert (found.detected, found.located) == ("", False)
