"""Who must answer where endpoints are preferred that are near, and whom a node of a large cluster tries."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect import node_mesh
from kubereach.expect.pairs import SAMPLE, pairs
from kubereach.kube.cluster import Cluster, Node
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.world import topology
from kubereach.world.service_endpoints import Endpoints


def cluster(**zones: str) -> Cluster:
    nodes = tuple(Node(name, f"192.0.2.{i}", zone=zone) for i, (name, zone) in enumerate(zones.items()))
    return Cluster("v1.36.2", "", nodes, "cluster.local", None, (), ("10.96.0.1", 443))


def service(**pods: str):
    """Of pods, each on the node that is given for it."""
    made = [{"metadata": {"name": pod}, "spec": {"nodeName": node}} for pod, node in pods.items()]
    return SimpleNamespace(name="web", endpoints=Endpoints.of(made, 4, frozenset()))


def test_the_nodes_own_pods_come_first_then_the_zones_then_all() -> None:
    found = topology.by_node(service(one="n1", two="n3"), cluster(n1="a", n2="a", n3="b", n4="c"))
    assert found == {"n1": {"one"}, "n2": {"one"}, "n3": {"two"}, "n4": {"one", "two"}}


def test_a_zone_has_the_pods_of_all_its_nodes() -> None:
    found = topology.by_zone(service(one="n1", two="n2", three="n3"), cluster(n1="a", n2="a", n3="b"))
    assert found == {"n1": {"one", "two"}, "n2": {"one", "two"}, "n3": {"three"}}


def test_one_pod_without_a_zone_and_zones_count_for_nothing() -> None:
    found = topology.by_zone(service(one="n1", two="n2"), cluster(n1="a", n2=""))
    assert found == {"n1": {"one", "two"}, "n2": {"one", "two"}}


def test_one_pod_of_each_zone() -> None:
    found = topology.one_of_each_zone(service(b="n1", a="n1", c="n2"), cluster(n1="a", n2="b"))
    assert found == {"a": "a", "b": "c"}
    with pytest.raises(CannotMeasure, match="are in one zone"):
        topology.one_of_each_zone(service(a="n1"), cluster(n1="a", n2="b"))


def test_on_a_large_cluster_every_node_is_tried_by_as_many_as_it_tries(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(node_mesh, "over", lambda paths, **_: seen.extend(paths))
    names = [f"n{i}" for i in range(25)]
    where = {name: [Address("pod", "http", name, 80)] for name in names}
    node_mesh.to_reach_other_nodes([SimpleNamespace(node=name, name=f"pod@{name}") for name in names], where)
    tried = {name: {p.address.host for p in seen if p.vantage.node == name} for name in names}
    assert all(len(others) == SAMPLE and name not in others for name, others in tried.items())
    targets = [host for others in tried.values() for host in others]
    assert {targets.count(name) for name in names} == {SAMPLE}


def test_pairs_have_the_own_node_too_and_their_addresses_say_which_node() -> None:
    where = {
        name: [Address("pod", "http", name, 80, note=f"pod-{name}")] for name in ("n1.example", "n2.example")
    }
    vantages = [SimpleNamespace(node=f"{name}.example", name=f"pod@{name}") for name in ("n1", "n2")]
    seen = [(path.vantage.name, path.address.note) for path in pairs(vantages, where)]
    assert seen == [
        ("pod@n1", "pod-n1.example on n1"),
        ("pod@n1", "pod-n2.example on n2"),
        ("pod@n2", "pod-n2.example on n2"),
        ("pod@n2", "pod-n1.example on n1"),
    ]


def test_a_mesh_of_one_node_measures_nothing() -> None:
    with pytest.raises(CannotMeasure):
        node_mesh.to_reach_other_nodes(
            [SimpleNamespace(node="n1", name="pod@n1")], {"n1": [Address("pod", "http", "x", 80)]}
        )
