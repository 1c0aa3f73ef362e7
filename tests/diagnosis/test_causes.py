"""Failures of one cause are one, and the cause that explains most is first."""

from __future__ import annotations

from kubereach.diagnosis.causes import causes
from kubereach.expect.budget import over_budget
from kubereach.model.convergence import CREATED, DELETED
from kubereach.model.errors import Failure
from kubereach.model.events import Probed
from kubereach.model.finding import API, BALANCER, DNS, INTERMITTENT, NETWORK, NODE, PROXY, Finding
from kubereach.model.misses import LOST, RECORDS, SPREAD

LOSS = Finding(
    NETWORK, "pod network between nodes", "http probes to pod IPs fail", (), ("2 of 40",), ("ping",)
)


def stuck(*nodes: str) -> Finding:
    return Finding(PROXY, "service proxy", "10.96.0.9:80 is not answered", nodes)


def failure(
    finding: Finding | None = None, miss: str = LOST, layer: str = "", vantage: str = "pod@one"
) -> Failure:
    return Failure(
        vantage, "clusterip http://10.96.0.9:80", "an answer", "2 time-out", (), miss, layer, finding
    )


def test_the_same_on_several_nodes_is_one_cause() -> None:
    (cause,) = causes([("a.a", "", [failure(stuck("one"))]), ("a.b", "", [failure(stuck("two"))])])
    assert cause.sentence == "service proxy on one and two: 10.96.0.9:80 is not answered"
    assert cause.checks == ["a.a", "a.b"]


def test_what_explains_most_is_first() -> None:
    found = causes(
        [("a.a", "", [failure(stuck("one"))]), ("a.b", "", [failure(LOSS)]), ("a.c", "", [failure(LOSS)])]
    )
    assert [cause.layer for cause in found] == [NETWORK, PROXY]


def test_of_two_that_explain_as_much_the_deeper_one_is_first() -> None:
    found = causes([("a.a", "", [failure(stuck("one"))]), ("a.b", "", [failure(LOSS)])])
    assert [cause.layer for cause in found] == [NETWORK, PROXY]


def test_what_was_not_examined_and_got_no_answer_has_the_cause_that_was_found() -> None:
    (cause,) = causes([("a.a", "", [failure(LOSS)]), ("loadbalancer.b", "", [failure()])])
    assert cause.checks == ["a.a", "loadbalancer.b"]


def test_what_was_answered_wrongly_has_a_cause_of_its_own() -> None:
    found = causes([("a.a", "", [failure(LOSS)]), ("affinity.b", "", [failure(miss=SPREAD)])])
    assert [(cause.layer, cause.checks) for cause in found] == [(NETWORK, ["a.a"]), (PROXY, ["affinity.b"])]


def test_without_an_examination_a_failure_is_its_topics() -> None:
    of = {"dns.a": DNS, "loadbalancer.a": BALANCER, "clusterip.a": PROXY, "nodes.a": NETWORK}
    for check, layer in of.items():
        assert [cause.layer for cause in causes([(check, "", [failure(miss=SPREAD)])])] == [layer]


def test_a_wrong_record_is_of_cluster_dns_whatever_it_was_asked_for() -> None:
    replica = Finding(DNS, "DNS replica coredns-a", "its answers differ from the API objects", ("one",))
    asked = [("dns.a", "", [failure(replica)]), ("lifecycle.b", "", [failure(miss=RECORDS)])]
    (cause,) = causes(asked)
    assert (cause.object, cause.nodes, cause.checks) == (replica.object, ("one",), ["dns.a", "lifecycle.b"])
    (cause,) = causes([("lifecycle.b", "", [failure(miss=RECORDS)])])
    assert cause.layer == DNS


def test_a_failure_says_its_layer_where_nothing_was_probed() -> None:
    (cause,) = causes([("nodes.a", "", [failure(layer=NODE)])])
    assert cause.layer == NODE


def test_what_the_api_has_is_the_apis() -> None:
    (plain,) = causes([("nodeport.a", "node ports (1, 1) for two ports", [])])
    assert (plain.layer, plain.sentence) == (API, "API server: nodeport.a: node ports (1, 1) for two ports")
    (told,) = causes([("nodeport.a", "", [failure(vantage="API", miss="")])])
    assert told.layer == API


def followed(change: str, seconds: float, way: str = "clusterip") -> Probed:
    return Probed("c", "pod@one", "pod", "one", way, "there", True, {"ok": 1}, (), seconds, change)


def test_who_obeys_late_is_told_by_the_changes_that_are_obeyed_at_once() -> None:
    slices = over_budget([followed(CREATED, 8.0), followed(DELETED, 0.1)], 5)
    assert [late.layer for late in slices] == [API]
    proxy = over_budget([followed(CREATED, 8.0), followed(DELETED, 8.1)], 5)
    assert {late.layer for late in proxy} == {PROXY}
    names = over_budget([followed(CREATED, 8.0, "dns"), followed(DELETED, 0.1)], 5)
    assert [late.layer for late in names] == [DNS]


ONCE = Finding(PROXY, INTERMITTENT, "2 of 60 connections timed out between 12:00:01 and 12:00:03")


def test_what_was_not_met_again_is_put_down_to_what_was_found_of_the_same_layer() -> None:
    (cause,) = causes([("a.a", "", [failure(stuck("one"))]), ("a.b", "", [failure(ONCE)])])
    assert (cause.object, cause.nodes, cause.checks) == ("service proxy", ("one",), ["a.a", "a.b"])


def test_what_was_not_met_again_is_told_for_itself_where_nothing_else_was_found() -> None:
    found = causes([("a.a", "", [failure(LOSS)]), ("a.b", "", [failure(ONCE)]), ("a.c", "", [failure(ONCE)])])
    assert [(cause.object, cause.nodes, cause.checks) for cause in found] == [
        (INTERMITTENT, (), ["a.b", "a.c"]),
        (LOSS.object, (), ["a.a"]),
    ]


def test_every_node_is_not_the_same_place_as_one_node() -> None:
    found = causes([("a.a", "", [failure(stuck("one"))]), ("a.b", "", [failure(stuck("every node"))])])
    assert [(cause.nodes, cause.checks) for cause in found] == [
        (("one",), ["a.a"]),
        (("every node",), ["a.b"]),
    ]
