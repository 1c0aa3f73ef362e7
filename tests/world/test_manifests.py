"""The manifests: valid Kubernetes objects, and pods that the `restricted` Pod Security Standard lets in."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from kubereach.model.errors import UsageError
from kubereach.probe import program
from kubereach.world.manifests import MANAGED_BY, RUN, render

MANIFESTS = Path(__file__).parents[2] / "manifests"
# overlays are no objects, and neither is kind's configuration
FILES = sorted(
    file
    for file in MANIFESTS.rglob("*.yaml")
    if file.parent.name not in ("overlays", "in-cluster") and file.name != "kind.yaml"
)
VARIABLES = {
    "namespace": "kubereach-x-a",
    "other_namespace": "kubereach-x-b",
    "node_namespace": "kubereach-x-n",
    "image": "python:3.13-alpine",
    "nonce": "n",
    "secret": "s",
    "run": "x",
    "domain": "cluster.local",
    "dns": "10.96.0.10",
    "ip_version": 4,
    "name": "any",
    "node_port": 30001,
    "port": 11000,
    "node_listener": 21009,
    "peer": program.files(),
    "slices": [["192.0.2.1"], ["192.0.2.2"]],
    "ports": [{"name": "http", "port": 80}],
    "target": "a.example.com",
    "selector": {"app": "any"},
    "replicas": 1,
    "sctp": True,
}
LABELS = {MANAGED_BY: "kubereach", RUN: "x"}


def objects():
    return [manifest for file in FILES for manifest in render(file, VARIABLES, LABELS)]


def pod_specs():
    for manifest in objects():
        spec = manifest.obj.get("spec") or {}
        if manifest.kind == "Pod":
            yield str(manifest), manifest.obj, spec
        elif "template" in spec:
            yield str(manifest), manifest.obj, spec["template"]["spec"]


def test_there_are_manifests():
    assert len(FILES) > 20
    assert len(list(pod_specs())) > 8


@pytest.mark.parametrize("manifest", objects(), ids=lambda m: f"{m.file.stem}-{m.number}")
def test_every_object_is_valid(manifest):
    kubernetes_validate.validate(manifest.obj, "1.30", strict=True)


@pytest.mark.parametrize("manifest", objects(), ids=lambda m: f"{m.file.stem}-{m.number}")
def test_everything_carries_the_run(manifest):
    assert LABELS.items() <= manifest.obj["metadata"]["labels"].items()
    template = (manifest.obj.get("spec") or {}).get("template")
    if template:
        assert LABELS.items() <= template["metadata"]["labels"].items()
        selected = manifest.obj["spec"]["selector"]["matchLabels"]
        assert selected.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("name", "obj", "spec"), list(pod_specs()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_pods_are_restricted(name, obj, spec):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    context = spec["securityContext"]
    assert context["runAsNonRoot"] and context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] == "RuntimeDefault"
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in container["securityContext"]
        assert not any("hostPort" in port for port in container.get("ports", ()))
    assert {next(iter(set(v) - {"name"})) for v in spec["volumes"]} <= {"configMap", "emptyDir", "projected"}
    if spec.get("hostNetwork"):
        assert obj["metadata"]["namespace"] == VARIABLES["node_namespace"], f"{name}: only node vantages may"


def test_no_more_than_twenty_pods_on_three_nodes():
    base = [m for m in objects() if m.file.parent.name != "temporary"]
    pods = sum(
        3 if m.kind == "DaemonSet" else m.obj["spec"].get("replicas", 1) if m.kind == "StatefulSet" else 0
        for m in base
    )
    assert pods + sum(m.kind == "Pod" for m in base) <= 20


def test_the_peer_arrives_as_it_is():
    config = [m.obj for m in objects() if m.kind == "ConfigMap"]
    assert len(config) == 3
    assert [c["data"] for c in config] == [program.files()] * 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: Service\nmetadata: {name: a}\n", "document 1: no apiVersion"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n- a\n", "document 2: not an object"),
        (
            "apiVersion: v1\nkind: Srevice\nmetadata: {name: a}\n",
            "document 1: kubereach does not apply Srevice of v1",
        ),
        ("apiVersion: v1\nkind: Service\nmetadata: {labels: {}, x: y}\n", "document 1: no metadata.name"),
        ("a: 1\n---\nb: [1\n", "document 2, line"),
        ("name: {{ nothing }}\n", "'nothing' is undefined"),
        ("name: {{ }\n", "line 1"),
    ],
)
def test_a_malformed_manifest_is_told_with_its_place(tmp_path, text, complaint):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        render(file, VARIABLES, LABELS)
    assert "bad.yaml" in error.value.message
    assert complaint in error.value.message
    assert error.value.remedy


def test_a_missing_manifest(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        render(tmp_path / "none.yaml", VARIABLES, LABELS)
