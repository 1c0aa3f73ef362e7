"""Nodes that our pods cannot use are left out with a word; of many a sample is taken."""

from __future__ import annotations

import pytest

from kubereach.kube.nodes import choose, in_words, pinned
from kubereach.model.settings import Settings


def node(name: str, *, ready: bool = True, address: bool = True, labels=None, **spec) -> dict:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **(labels or {})}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}] if address else [],
        },
    }


def taint(key: str, effect: str = "NoSchedule", **more) -> dict:
    return {"taints": [{"key": key, "effect": effect, **more}]}


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (node("x", ready=False), "not ready"),
        (node("x", unschedulable=True, **taint("node.kubernetes.io/unschedulable")), "cordoned"),
        (node("x", **taint("team", value="gpu")), "tainted team=gpu:NoSchedule"),
        (node("x", **taint("team", "NoExecute")), "tainted team:NoExecute"),
        (node("x", **taint(CONTROL_PLANE, "NoExecute")), f"tainted {CONTROL_PLANE}:NoExecute"),
        (
            node("x", labels={"kubernetes.io/os": "windows"}),
            "windows node: kubereach's pods are Linux containers",
        ),
        (node("x", address=False), "no InternalIP"),
        (node("x"), ""),
        (node("x", **taint(CONTROL_PLANE)), ""),
        (node("x", **taint("busy", "PreferNoSchedule")), ""),
        (node("x", labels={"kubernetes.io/arch": "arm64"}), ""),
    ],
)
def test_why_a_node_is_left_out(one: dict, why: str) -> None:
    usable, left_out = choose([one, node("other")], Settings())
    assert [item["metadata"]["name"] for item in usable] == (["other"] if why else ["x", "other"])
    assert [str(each) for each in left_out] == ([f"x: {why}"] if why else [])


def test_an_image_of_one_architecture_leaves_the_others_out() -> None:
    items = [node(a, labels={"kubernetes.io/arch": a}) for a in ("amd64", "arm64")]
    usable, left_out = choose(items, Settings(image_architectures=("amd64",)))
    assert [item["metadata"]["name"] for item in usable] == ["amd64"]
    assert [str(one) for one in left_out] == [
        "arm64: arm64 node: the image supports amd64 (image_architectures)"
    ]


def test_of_many_nodes_a_sample_of_every_zone_is_taken() -> None:
    zones = {"a": 100, "b": 10, "c": 1}
    items = [
        node(f"{zone}{n}", labels={"topology.kubernetes.io/zone": zone})
        for zone, count in zones.items()
        for n in range(count)
    ]
    usable, left_out = choose(items, Settings(sample_nodes=7))
    assert [item["metadata"]["name"] for item in usable] == ["a0", "a1", "a2", "b0", "b1", "b2", "c0"]
    assert in_words(left_out) == [
        "a3, a4, a5, a6, a7 and 99 more: not in the sample of 7 of 111 nodes "
        "(--all-nodes, --set sample_nodes=N)"
    ]
    assert choose(items, Settings(sample_nodes=0)) == (items, [])
    assert choose(items[:7], Settings(sample_nodes=7)) == (items[:7], [])


def test_pods_are_kept_to_the_nodes_by_name() -> None:
    spec: dict = {"affinity": {"podAntiAffinity": {}}}
    pinned(spec, ["a", "b"])
    assert "podAntiAffinity" in spec["affinity"]
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    fields = [term["matchFields"] for term in required["nodeSelectorTerms"]]
    assert fields == [[{"key": "metadata.name", "operator": "In", "values": [n]}] for n in ("a", "b")]
    own: dict = {"nodeName": "a"}
    pinned(own, ["b"])
    assert "nodeAffinity" not in own.get("affinity", {})
