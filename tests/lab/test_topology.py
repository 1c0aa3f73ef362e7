"""Hints of EndpointSlices: when they are written and when they count."""

from __future__ import annotations

from kubereach_lab.controllers.hints import add_hints
from kubereach_lab.proxy.topology import Endpoint, near


def endpoint(address: str, node: str = "", zone: str = "") -> Endpoint:
    return Endpoint(address, 80, node, frozenset({node} - {""}), frozenset({zone} - {""}))


ONE, TWO, FAR = endpoint("one", "n1", "a"), endpoint("two", "n2", "a"), endpoint("far", "n3", "b")


def test_the_node_then_the_zone_then_all() -> None:
    every = [ONE, TWO, FAR]
    assert near(every, "n1", "a") == [ONE]
    assert near(every, "n9", "a") == [ONE, TWO]
    assert near(every, "n9", "c") == every
    assert near(every, "n9", "") == every


def test_zones_alone() -> None:
    every = [endpoint("one", zone="a"), endpoint("two", zone="b")]
    assert near(every, "n1", "b") == every[1:]


def test_hints_count_only_where_all_have_them() -> None:
    every = [ONE, endpoint("two", zone="a"), FAR]
    assert near(every, "n1", "a") == every[:2], "not all have a node, but all have a zone"
    every = [ONE, endpoint("none")]
    assert near(every, "n1", "a") == every


def hinted(distribution: str | None, ready: bool = True, **fields: str) -> object:
    found = {"conditions": {"ready": ready}, **fields}
    add_hints({"spec": {"trafficDistribution": distribution}}, found)
    return found.get("hints")


def test_hints_are_what_the_service_asks_for() -> None:
    place = {"nodeName": "n1", "zone": "a"}
    for name in ("PreferClose", "PreferSameZone"):
        assert hinted(name, **place) == {"forZones": [{"name": "a"}]}
    both = {"forZones": [{"name": "a"}], "forNodes": [{"name": "n1"}]}
    assert hinted("PreferSameNode", **place) == both
    assert hinted(None, **place) is None


def test_no_hints_for_what_is_not_ready_or_nowhere() -> None:
    assert hinted("PreferSameNode", ready=False, nodeName="n1", zone="a") is None
    assert hinted("PreferSameZone", nodeName="n1") is None
    assert hinted("PreferSameNode", nodeName="n1") == {"forNodes": [{"name": "n1"}]}
