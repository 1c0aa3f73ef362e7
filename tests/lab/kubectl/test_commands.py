"""kubectl's everyday commands, in a lab in which things really run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_access import LabAccess, Object, is_ready

from .conftest import Kubectl

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: python:3
        command: [sh, -c, "echo one; echo two; exec sleep 1000"]
        ports: [{containerPort: 8080, name: http}]
        resources: {requests: {cpu: 100m, memory: 1Mi}, limits: {cpu: "1"}}
        readinessProbe: {exec: {command: ["true"]}}
        env: [{name: A, value: b}]
        volumeMounts: [{name: v, mountPath: /kubereach}]
      volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"""
RESTARTED = """
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    command: [sh, -c, "COMMAND"]
    volumeMounts: [{name: v, mountPath: /kubereach}]
  volumes: [{name: v, emptyDir: {}}]
"""
SERVICE = WEB.partition("---\n")[2]


def table(text: str) -> list[dict[str, str]]:
    """Rows of kubectl's columns, which begin where their headings do."""
    heading, *rows = text.splitlines()
    names = [name.strip() for name in heading.split("  ") if name.strip()]
    starts = [heading.index(name) for name in names]
    ends = [*starts[1:], None]
    return [
        {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
        for row in rows
    ]


def roll_out(kubectl: Kubectl) -> None:
    assert "successfully rolled out" in kubectl.ok("rollout", "status", "deployment/web", "--timeout=30s")


def is_gone(kubectl: Kubectl, *what: str) -> bool:
    """Waits for a deletion."""
    return kubectl.run("wait", "--for=delete", *what, "--timeout=30s").returncode == 0


def test_a_deployment_from_its_creation_to_its_end(kubectl: Kubectl) -> None:
    create = ("create", "deployment", "web", "--image=python:3.13-alpine", "--replicas=2", "--port=8080")
    assert kubectl.ok(*create, "--", "sleep", "1000") == "deployment.apps/web created\n"
    roll_out(kubectl)
    (row,) = table(kubectl.ok("get", "deployments", "-o", "wide"))
    assert row == row | {
        "READY": "2/2",
        "UP-TO-DATE": "2",
        "AVAILABLE": "2",
        "IMAGES": "python:3.13-alpine",
        "SELECTOR": "app=web",
    }
    pods = table(kubectl.ok("get", "pods", "-o", "wide"))
    assert {pod["STATUS"] for pod in pods} == {"Running"}
    assert all(pod["IP"].startswith("10.244.") and pod["NODE"].startswith("kubereach-") for pod in pods)
    # a Deployment's port makes it exposable
    expose = ("expose", "deployment", "web", "--name=front", "--type=NodePort")
    assert kubectl.ok(*expose) == "service/front exposed\n"
    (front,) = table(kubectl.ok("get", "services", "-o", "wide"))
    assert front["TYPE"] == "NodePort" and front["PORT(S)"].startswith("8080:3")
    described = kubectl.ok("describe", "service", "front")
    assert f"{kubectl.namespace}\n" in described and "NodePort:" in described
    assert all(f"{pod['IP']}:8080" in described for pod in pods)
    assert kubectl.ok("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    container = kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].name}")
    kubectl.ok("set", "image", "deployment/web", f"{container}=python:3.14-alpine")
    roll_out(kubectl)
    history = kubectl.ok("rollout", "history", "deployment/web").splitlines()
    assert [line.split()[0] for line in history[2:4]] == ["1", "2"]
    kubectl.ok("rollout", "undo", "deployment/web")
    roll_out(kubectl)
    kubectl.ok("rollout", "restart", "deployment/web")
    roll_out(kubectl)
    described = kubectl.ok("describe", "deployment", "web")
    assert "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" in described
    assert "python:3.13-alpine" in described and "kubectl.kubernetes.io/restartedAt" in described
    assert 'deployment.apps "web" deleted' in kubectl.ok("delete", "deployment", "web")
    kubectl.ok("delete", "pod", "--all", "--now")
    assert is_gone(kubectl, "pod", "-l", "app=web")


def test_apply_and_its_kin(kubectl: Kubectl) -> None:
    both = [f"{kind}/web" for kind in ("deployment.apps", "service")]
    assert kubectl.ok("apply", "-f", "-", stdin=WEB) == "".join(f"{name} created\n" for name in both)
    assert kubectl.ok("apply", "-f", "-", stdin=WEB) == "".join(f"{name} unchanged\n" for name in both)
    changed = SERVICE.replace("port: 80,", "port: 81,")
    differs = kubectl.run("diff", "-f", "-", stdin=changed)
    assert (differs.returncode, "+  - port: 81" in differs.stdout) == (1, True)
    dry = kubectl.ok("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert dry == "service/web configured (server dry run)\n"
    assert kubectl.ok("apply", "-f", "-", stdin=changed) == "service/web configured\n"
    ports = ("get", "service", "web", "-o", "jsonpath={.spec.ports[*].port}")
    assert kubectl.ok(*ports) == "81"
    assert kubectl.ok("replace", "-f", "-", stdin=SERVICE) == "service/web replaced\n"
    assert kubectl.ok(*ports) == "80"
    refused = kubectl.run("apply", "--server-side", "-f", "-", stdin=SERVICE)
    assert (refused.returncode, "the lab has no server-side apply" in refused.stderr) == (1, True)


def test_manifests_are_checked(kubectl: Kubectl) -> None:
    """Nobody has to switch validation off, and what it finds fails the command."""
    unknown = SERVICE.replace("port: 80,", "port: 80, colour: red,")
    for command in ("create", "apply"):
        refused = kubectl.run(command, "-f", "-", stdin=unknown)
        assert refused.returncode == 1
        assert "unknown field" in refused.stderr and "colour" in refused.stderr
    wrong = kubectl.run("apply", "-f", "-", stdin=SERVICE.replace("port: 80,", "port: [],"))
    assert (wrong.returncode, "port" in wrong.stderr) == (1, True)
    assert kubectl.ok("create", "--validate=false", "-f", "-", stdin=unknown) == "service/web created\n"
    stored = json.loads(kubectl.ok("get", "service", "web", "-o", "json"))
    assert "colour" not in stored["spec"]["ports"][0]


def test_edits_patches_and_labels(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.ok("create", "-f", "-", stdin=SERVICE)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/port: 80$/port: 82/" "$1"\n')
    editor.chmod(0o700)
    edited = kubectl.ok("edit", "service", "web", EDITOR=str(editor))
    assert edited == "service/web edited\n"
    assert "no changes" in kubectl.run("edit", "service", "web", EDITOR="true").stderr
    patches = {
        "json": [{"op": "replace", "path": "/spec/ports/0/port", "value": 83}],
        "merge": {"spec": {"ports": [{"port": 84}]}},
        "strategic": {"spec": {"ports": [{"port": 85, "name": "more"}, {"port": 84, "name": "one"}]}},
    }
    for kind, body in patches.items():
        patched = kubectl.ok("patch", "service", "web", "--type", kind, "-p", json.dumps(body))
        assert patched == "service/web patched\n"
    found = kubectl.ok("get", "service", "web", "-o", "jsonpath={.spec.ports[*].port}")
    assert sorted(found.split()) == ["84", "85"]
    kubectl.ok("label", "service", "web", "a=b")
    taken = kubectl.run("label", "service", "web", "a=c")
    assert (taken.returncode, "--overwrite is false" in taken.stderr) == (1, True)
    kubectl.ok("annotate", "service", "web", "note=text")
    assert kubectl.ok("get", "services", "-l", "a=b", "-o", "name") == "service/web\n"
    columns = "custom-columns=N:.metadata.name,A:.metadata.annotations.note"
    assert table(kubectl.ok("get", "services", "-o", columns)) == [{"N": "web", "A": "text"}]
    assert "No resources found" in kubectl.run("get", "services", "-l", "a!=b").stderr
    assert "a: b" in kubectl.ok("get", "service", "web", "-o", "yaml")


def test_descriptions_tell_everything(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=WEB)
    roll_out(kubectl)
    pods = kubectl.ok("describe", "pod", "-l", "app=web", "--show-events")
    for words in (
        "Controlled By:  ReplicaSet/web-",
        "Container ID:",
        "Ready:          True",
        "Restart Count:  0",
        "Readiness:  exec [true]",
        "cpu:      100m",
        "A:  b",
        "/kubereach from v (rw)",
        "PodScheduled",
        "EmptyDir",
        "QoS Class:",
        "node.kubernetes.io/not-ready:NoExecute",
        "Successfully assigned",
    ):
        assert words in pods, words
    service = kubectl.ok("describe", "service", "web")
    for words in ("IP Families:", "Port:", "TargetPort:", "http/TCP", "Endpoints:", "Events:"):
        assert words in service, words
    assert service.count(":8080") == 2
    deployment = kubectl.ok("describe", "deployment", "web")
    for words in ("2 available", "25% max unavailable", "NewReplicaSetAvailable", "(2/2 replicas created)"):
        assert words in deployment, words
    endpoints = kubectl.ok("describe", "endpoints", "web")
    assert "NotReadyAddresses:  <none>" in endpoints and "8080  TCP" in endpoints
    rules = ("--rule=a.example/path=web:80", "--rule=b.example/*=web:http")
    kubectl.ok("create", "ingress", "i", "--class=c", *rules)
    ingress = kubectl.ok("describe", "ingress", "i")
    assert "a.example" in ingress and "web:80 (10.244." in ingress
    kubectl.ok("create", "configmap", "cm", "--from-literal=key=value")
    assert "value" in kubectl.ok("describe", "configmap", "cm")
    assert "1 bytes" in _secret(kubectl)
    assert "Status:       Active" in kubectl.ok("describe", "namespace", kubectl.namespace)


def _secret(kubectl: Kubectl) -> str:
    kubectl.ok("create", "secret", "generic", "s", "--from-literal=a=1")
    return kubectl.ok("describe", "secret", "s")


def _restarts(pod: Object) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def test_logs(kubectl: Kubectl, lab: LabAccess) -> None:
    kubectl.ok("apply", "-f", "-", stdin=WEB)
    roll_out(kubectl)
    assert kubectl.ok("logs", "deployment/web", "--tail=1") == "two\n"
    assert kubectl.ok("logs", "deployment/web", "--all-containers", "--since=1h") == "one\ntwo\n"
    stamped = kubectl.ok("logs", "deployment/web", "--timestamps", "--tail=1")
    assert stamped.startswith("20") and stamped.endswith("Z two\n")
    both = kubectl.ok("logs", "-l", "app=web", "--prefix", "-c", "c")
    assert both.count("/c] one\n") == 2
    missing = kubectl.run("logs", "deployment/web", "--previous")
    assert (missing.returncode, "previous terminated container" in missing.stderr) == (1, True)
    again = "if [ -e /kubereach/once ]; then exec sleep 1000; fi; echo before; touch /kubereach/once"
    kubectl.ok("create", "-f", "-", stdin=RESTARTED.replace("COMMAND", again))
    lab.pod(kubectl.namespace, "again", lambda pod: is_ready(pod) and _restarts(pod) == 1)
    assert kubectl.ok("logs", "again", "--previous") == "before\n"
    assert kubectl.ok("logs", "again") == ""
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo second"
    command = ("run", "f", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", script)
    kubectl.ok(*command)
    kubectl.ok("wait", "--for=condition=Ready", "pod/f", "--timeout=30s")
    with kubectl.start("logs", "-f", "f") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        kubectl.ok("exec", "f", "--", "touch", "/tmp/go")
        assert following.stdout.read() == "second\n"
        assert following.wait(30) == 0


def test_what_is_watched(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=SERVICE)
    with kubectl.start("get", "services", "-w", "-o", "name") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "service/web\n"
        kubectl.ok("label", "service", "web", "a=b")
        assert watching.stdout.readline() == "service/web\n"
        watching.terminate()


def test_services_by_their_generators(kubectl: Kubectl, lab: LabAccess) -> None:
    port = 30067
    kubectl.ok("create", "service", "clusterip", "c", "--tcp=80:8080")
    kubectl.ok("create", "service", "clusterip", "h", "--clusterip=None")
    kubectl.ok("create", "service", "nodeport", "n", "--tcp=80:8080", f"--node-port={port}")
    kubectl.ok("create", "service", "loadbalancer", "l", "--tcp=80:web")
    kubectl.ok("create", "service", "externalname", "e", "--external-name=example.com")
    path = f"/api/v1/namespaces/{kubectl.namespace}/services"
    balanced = {"fieldSelector": "metadata.name=l"}
    lab.wait(path, lambda found: bool(found[0]["status"]["loadBalancer"].get("ingress")), **balanced)
    rows = {row["NAME"]: row for row in table(kubectl.ok("get", "services", "--sort-by=.metadata.name"))}
    assert {name: row["TYPE"] for name, row in rows.items()} == {
        "c": "ClusterIP",
        "e": "ExternalName",
        "h": "ClusterIP",
        "l": "LoadBalancer",
        "n": "NodePort",
    }
    assert list(rows) == sorted(rows)
    assert rows["h"]["CLUSTER-IP"] == "None"
    assert rows["n"]["PORT(S)"] == f"80:{port}/TCP"
    assert rows["e"]["EXTERNAL-IP"] == "example.com"
    assert rows["l"]["EXTERNAL-IP"].count(".") == 3
    target = "jsonpath={.spec.ports[0].targetPort}"
    assert kubectl.ok("get", "service", "l", "-o", target) == "web"
    assert kubectl.ok("get", "service", "c", "-o", target) == "8080"


def test_waits_and_deletions(kubectl: Kubectl) -> None:
    spec = {"terminationGracePeriodSeconds": 1000}
    for name in ("slow", "other"):
        overrides = json.dumps({"apiVersion": "v1", "spec": spec})
        script = "trap '' TERM; while :; do sleep 0.1; done"
        command = ("run", name, "--image=busybox", f"--overrides={overrides}", "--command", "--", "sh", "-c")
        kubectl.ok(*command, script)
    kubectl.ok("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    never = kubectl.run("wait", "--for=condition=Nonsense", "pod/slow", "--timeout=1s")
    assert (never.returncode, "timed out" in never.stderr) == (1, True)
    assert '"slow" deleted' in kubectl.ok("delete", "pod", "slow", "--wait=false")
    (slow,) = (row for row in table(kubectl.ok("get", "pods")) if row["NAME"] == "slow")
    assert slow["STATUS"] == "Terminating"
    forced = kubectl.ok("delete", "pod", "slow", "--force", "--grace-period=0")
    assert '"slow" force deleted' in forced
    assert is_gone(kubectl, "pod/slow")
    assert '"other" deleted' in kubectl.ok("delete", "pod", "other", "--grace-period=1")
    missing = kubectl.run("get", "pod", "slow")
    assert 'pods "slow" not found' in missing.stderr


def test_the_cluster_itself(kubectl: Kubectl, lab: LabAccess) -> None:
    nodes = {row["NAME"]: row for row in table(kubectl.ok("get", "nodes", "-o", "wide"))}
    assert sorted(nodes) == sorted(lab.config.node_names)
    assert {row["STATUS"] for row in nodes.values()} == {"Ready"}
    assert [nodes[name]["INTERNAL-IP"] for name in lab.config.node_names] == lab.config.node_addresses
    name = lab.config.node_names[1]
    described = kubectl.ok("describe", "node", name)
    for words in (
        "KubeletReady",
        "10.244.1.0/24",
        f"HolderIdentity:  {name}",
        "RenewTime:       ",
        "Taints:",
    ):
        assert words in described, words
    kinds = "deploy,rs,sts,ds,po,svc,cm,secret,ns,no,events,sa,leases"
    listed = kubectl.ok("get", kinds, "-A", "-o", "wide")
    assert "deployment.apps/coredns" in listed and "service/kube-dns" in listed
    assert "endpointslices" in kubectl.ok("api-resources")
    assert "networking.k8s.io/v1" in kubectl.ok("api-versions").splitlines()
    assert "1.36" in kubectl.ok("version")
    assert "is running at" in kubectl.ok("cluster-info")
    assert kubectl.ok("get", "--raw", "/readyz") == "ok"
    assert kubectl.ok("auth", "can-i", "create", "pods") == "yes\n"
    assert "*.*" in kubectl.ok("auth", "can-i", "--list")


def test_fields_are_explained(kubectl: Kubectl) -> None:
    text = " ".join(kubectl.ok("explain", "service.spec.type").split())
    assert "determines how the Service is exposed" in text
    fields = kubectl.ok("explain", "deployment.spec.template.spec", "--recursive")
    assert "terminationGracePeriodSeconds\t<integer>" in fields
    wrong = kubectl.run("explain", "service.spec.nosuch")
    assert (wrong.returncode, 'field "nosuch" does not exist' in wrong.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("top pods", "Metrics API not available"),
        ("autoscale deployment web --max=3", "failed to create autoscaling/v2 HPA"),
        ("get cronjobs", "the server doesn't have a resource type"),
    ],
)
def test_what_the_lab_has_not_is_refused_clearly(kubectl: Kubectl, command: str, words: str) -> None:
    kubectl.ok("create", "deployment", "web", "--image=busybox")
    refused = kubectl.run(*command.split())
    assert (refused.returncode, words in refused.stderr) == (1, True), refused.stderr


def test_a_node_is_drained(kubectl: Kubectl, lab: LabAccess) -> None:
    kubectl.ok("create", "deployment", "web", "--image=python:3", "--replicas=3", "--", "sleep", "1000")
    roll_out(kubectl)
    node = table(kubectl.ok("get", "pods", "-o", "wide"))[0]["NODE"]
    try:
        kubectl.ok("cordon", node)
        (row,) = table(kubectl.ok("get", "node", node))
        assert row["STATUS"] == "Ready,SchedulingDisabled"
        assert "node.kubernetes.io/unschedulable:NoSchedule" in kubectl.ok("describe", "node", node)
        drain = (
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--grace-period=0",
        )
        drained = kubectl.ok(*drain, "--timeout=30s", "--pod-selector=app=web")
        assert "evicted" in drained
        lab.ready_pods(kubectl.namespace, 3, "app=web")
        assert node not in {row["NODE"] for row in table(kubectl.ok("get", "pods", "-o", "wide"))}
        assert "tainted" in kubectl.ok("taint", "node", node, "a=b:NoSchedule")
        assert "untainted" in kubectl.ok("taint", "node", node, "a-")
    finally:
        kubectl.ok("uncordon", node)
    assert "unschedulable:NoSchedule" not in kubectl.ok("describe", "node", node)


def test_events(kubectl: Kubectl) -> None:
    kubectl.ok("run", "e", "--image=busybox", "--command", "--", "sleep", "1000")
    kubectl.ok("wait", "--for=condition=Ready", "pod/e", "--timeout=30s")
    rows = table(kubectl.ok("get", "events", "--field-selector=involvedObject.name=e"))
    assert "Scheduled" in {row["REASON"] for row in rows}
    assert "Scheduled" in kubectl.ok("events", "--for=pod/e")
