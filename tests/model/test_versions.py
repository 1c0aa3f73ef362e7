"""How versions of Kubernetes are read, and what is said of those that kubereach is not tried with."""

from __future__ import annotations

import pytest

from kubereach.kube.cluster import Cluster
from kubereach.model import versions


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("v1.36.2", (1, 36)),
        ("v1.33.4-gke.1234", (1, 33)),
        ("v1.32.5+k3s1", (1, 32)),
        ("v1.30.4-eks-a737599", (1, 30)),
        ("v1.31.0-rc.1", (1, 31)),
        ("v1.29.8+rke2r1", (1, 29)),
        ("1.30+", (1, 30)),
        ("v1.35", (1, 35)),
        ("unknown", None),
        ("", None),
    ],
)
def test_odd_names_are_read(text: str, means: tuple[int, int] | None) -> None:
    assert versions.parsed(text) == means


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"major": "1", "minor": "36", "gitVersion": "v1.36.2"}, "v1.36.2"),
        ({"major": "1", "minor": "30+", "gitVersion": "v0.0.0-master+$Format:%H$"}, "v1.30+"),
        ({"major": "1", "minor": "33+"}, "v1.33+"),
        ({"gitVersion": None}, "unknown"),
        ({"major": "", "minor": "", "gitVersion": "v1.31.1"}, "v1.31.1"),
        ({}, "unknown"),
    ],
)
def test_what_a_server_says(answer: dict[str, object], named: str) -> None:
    assert versions.of_server(answer) == named


def test_versions_that_are_tried_need_no_words() -> None:
    for minor in range(29, 38):
        assert versions.untested(f"v1.{minor}.3-vendor.1") == ""


def test_others_are_named_once() -> None:
    assert versions.untested("v1.27.16") == (
        "Kubernetes 1.27 is older than 1.29, the oldest that kubereach is tested with; failures "
        "may come from that"
    )
    assert "1.40 is newer than 1.37" in versions.untested("v1.40.0")
    assert "reports no Kubernetes version" in versions.untested("unknown")


@pytest.mark.parametrize("version", ["v1.36.2", "v1.30.4-eks-a737599"])
def test_a_cluster_that_is_tried_has_no_note(version: str) -> None:
    assert "version note" not in _cluster(version).describe()


def test_a_cluster_that_is_not_has_one() -> None:
    note = _cluster("v1.27.16-gke.1").describe()["version note"]
    assert str(note).startswith("Kubernetes 1.27 is older than 1.29")


def _cluster(version: str) -> Cluster:
    return Cluster(version, "", (), "cluster.local", None, (), ("10.96.0.1", 443))
