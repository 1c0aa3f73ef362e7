"""kubectl's everyday commands against a lab in which things really run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from lab_access import LabAccess

Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(lab: LabAccess, space: str) -> Kubectl:
    """Runs kubectl in a namespace of the test's own and returns what it wrote; it must succeed."""

    def run(*arguments: str, stdin: str = "") -> str:
        done: subprocess.CompletedProcess[str] = lab.kubectl(space, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def table(text: str) -> list[dict[str, str]]:
    """Rows of kubectl's columns, which begin where their headings do."""
    heading, *rows = text.splitlines()
    names = heading.split("  ")
    names = [name.strip() for name in names if name.strip()]
    starts = [heading.index(name) for name in names]
    ends = [*starts[1:], None]
    return [
        {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
        for row in rows
    ]


def test_a_deployment_from_its_creation_to_its_end(kubectl: Kubectl, space: str) -> None:
    create = ("create", "deployment", "web", "--image=python:3.13-alpine", "--replicas=2", "--port=8080")
    assert kubectl(*create, "--", "sleep", "1000") == "deployment.apps/web created\n"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    (row,) = table(kubectl("get", "deployments", "-o", "wide"))
    assert row == row | {
        "READY": "2/2",
        "UP-TO-DATE": "2",
        "AVAILABLE": "2",
        "IMAGES": "python:3.13-alpine",
        "SELECTOR": "app=web",
    }
    pods = table(kubectl("get", "pods", "-o", "wide"))
    assert {pod["STATUS"] for pod in pods} == {"Running"}
    assert all(pod["IP"].startswith("10.244.") and pod["NODE"].startswith("kubereach-") for pod in pods)
    # a Deployment's port makes it exposable
    assert (
        kubectl("expose", "deployment", "web", "--name=front", "--type=NodePort") == "service/front exposed\n"
    )
    (front,) = table(kubectl("get", "services", "-o", "wide"))
    assert front["TYPE"] == "NodePort" and front["PORT(S)"].startswith("8080:3")
    described = kubectl("describe", "service", "front")
    assert f"Namespace:                {space}" in described
    assert all(f"{pod['IP']}:8080" in described for pod in pods)
    assert kubectl("exec", "deployment/web", "--", "echo", "hi") == "hi\n"
    assert kubectl("exec", "-i", "deployment/web", "--", "cat", stdin="abc") == "abc"
    assert kubectl("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    kubectl("set", "image", "deployment/web", "python=python:3.14-alpine")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert [
        line.split()[0] for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:4]
    ] == ["1", "2"]
    kubectl("rollout", "undo", "deployment/web")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    described = kubectl("describe", "deployment", "web")
    assert "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" in described
    assert "python:3.13-alpine" in described
    assert 'deployment.apps "web" deleted' in kubectl("delete", "deployment", "web")
    kubectl("delete", "pod", "--all", "--now")
    kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=10s")


def test_a_pod_and_its_log(kubectl: Kubectl) -> None:
    kubectl("run", "one", "--image=busybox", "--command", "--", "sh", "-c", "echo line; sleep 1000")
    kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=10s")
    assert kubectl("logs", "one") == "line\n"
    described = kubectl("describe", "pod", "one")
    for words in ("Status:           Running", "Successfully assigned", "QoS Class:", "Restart Count:  0"):
        assert words in described
    assert 'pod "one" deleted' in kubectl("delete", "pod", "one", "--now")


def test_services_by_their_generators(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "c", "--tcp=80:8080")
    kubectl("create", "service", "clusterip", "h", "--clusterip=None")
    kubectl("create", "service", "nodeport", "n", "--tcp=80:8080", "--node-port=30990")
    kubectl("create", "service", "loadbalancer", "l", "--tcp=80:web")
    kubectl("create", "service", "externalname", "e", "--external-name=example.com")
    kubectl("create", "ingress", "i", "--rule=a.example/path=c:80", "--rule=b.example/*=n:web")
    paths = "jsonpath={.spec.rules[*].http.paths[*].backend.service.port}"
    assert kubectl("get", "ingress", "i", "-o", paths) == '{"number":80} {"name":"web"}'
    kubectl("wait", "--for=jsonpath={.status.loadBalancer.ingress}", "service/l", "--timeout=10s")
    rows = {row["NAME"]: row for row in table(kubectl("get", "services"))}
    assert {name: row["TYPE"] for name, row in rows.items()} == {
        "c": "ClusterIP",
        "h": "ClusterIP",
        "n": "NodePort",
        "l": "LoadBalancer",
        "e": "ExternalName",
    }
    assert rows["h"]["CLUSTER-IP"] == "None"
    assert rows["n"]["PORT(S)"] == "80:30990/TCP"
    assert rows["e"]["EXTERNAL-IP"] == "example.com"
    assert rows["l"]["EXTERNAL-IP"].count(".") == 3
    ports = "jsonpath={.spec.ports[0].targetPort}"
    assert kubectl("get", "service", "l", "-o", ports) == "web"
    assert kubectl("get", "service", "c", "-o", ports) == "8080"


def test_the_cluster_itself(kubectl: Kubectl, lab: LabAccess) -> None:
    nodes = {row["NAME"]: row for row in table(kubectl("get", "nodes", "-o", "wide"))}
    assert sorted(nodes) == sorted(lab.config.node_names)
    assert {row["STATUS"] for row in nodes.values()} == {"Ready"}
    assert [nodes[name]["INTERNAL-IP"] for name in lab.config.node_names] == lab.config.node_addresses
    described = kubectl("describe", "node", lab.config.node_names[1])
    assert "KubeletReady" in described and "PodCIDR:                      10.244.1.0/24" in described
    kinds = "deploy,rs,sts,ds,po,svc,endpointslices,cm,secret,ns,no,events,sa"
    listed = kubectl("get", kinds, "-A", "-o", "wide")
    assert "deployment.apps/coredns" in listed and "service/kube-dns" in listed
