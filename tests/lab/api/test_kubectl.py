"""kubectl's everyday commands against the lab's API."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Server, make_running

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


def ok(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_apply_create_change_and_refuse(kubectl: Kubectl) -> None:
    assert ok(kubectl("apply", "-f", "-", stdin=SERVICE)) == "service/web created\n"
    assert ok(kubectl("apply", "-f", "-", stdin=SERVICE)) == "service/web unchanged\n"
    changed = SERVICE.replace("port: 80,", "port: 81,")
    assert ok(kubectl("apply", "-f", "-", stdin=changed)) == "service/web configured\n"
    ports = ok(kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[*].port}"))
    assert ports == "81"
    refused = kubectl("apply", "-f", "-", stdin=SERVICE.replace("port: 80,", "port: 80, colour: red,"))
    assert 'unknown field "spec.ports[0].colour"' in refused.stderr


@pytest.mark.usefixtures("namespace")
def test_get_and_describe(kubectl: Kubectl, server: Server, running_pod: Any) -> None:
    ok(kubectl("create", "-f", "-", stdin=SERVICE))
    server.call(lambda: server.registry.record_event(running_pod, "Normal", "Started", "it runs", "kubelet"))
    rows = ok(kubectl("get", "pods", "-o", "wide")).splitlines()
    assert rows[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert rows[1].split()[:4] == ["ex", "1/1", "Running", "0"]
    assert "service/web" in ok(kubectl("get", "all"))
    described = ok(kubectl("describe", "pod", "ex"))
    assert "Started" in described and "it runs" in described
    assert "IP Families:" in ok(kubectl("describe", "service", "web"))


@pytest.mark.usefixtures("running_pod")
def test_exec_and_logs(kubectl: Kubectl, server: Server) -> None:
    assert ok(kubectl("exec", "ex", "--", "echo", "hi")) == "hi\n"
    assert ok(kubectl("exec", "-i", "ex", "--", "cat", stdin="abc\n")) == "abc\n"
    assert kubectl("exec", "ex", "--", "sh", "-c", "exit 3").returncode == 3
    (server.folder / "ex-c.log").write_text("2026-01-01T00:00:00.0Z stdout F hello\n")
    assert ok(kubectl("logs", "ex")) == "hello\n"


def test_generators_whose_bodies_are_protobuf(kubectl: Kubectl, namespace: str) -> None:
    assert "created" in ok(kubectl("create", "namespace", f"{namespace}-more"))
    assert "created" in ok(kubectl("create", "configmap", "c", "--from-literal=a=1"))
    assert "created" in ok(kubectl("create", "secret", "generic", "s", "--from-literal=a=1"))
    assert ok(kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}")) == "MQ=="
    assert ok(kubectl("auth", "can-i", "create", "pods")) == "yes\n"


def test_labels_scale_and_deletion(kubectl: Kubectl, server: Server, namespace: str) -> None:
    make_running(server, namespace, "gone", ["c"])
    ok(kubectl("create", "-f", "-", stdin=SERVICE))
    ok(kubectl("label", "service", "web", "a=b"))
    assert "web" in ok(kubectl("get", "services", "-l", "a=b"))
    assert "deleted" in ok(kubectl("delete", "service", "-l", "a=b"))
    assert "force deleted" in ok(kubectl("delete", "pod", "gone", "--force"))
    missing = kubectl("get", "service", "web")
    assert 'services "web" not found' in missing.stderr


def test_explain_and_version(kubectl: Kubectl) -> None:
    assert "Server Version: v1.36.2" in ok(kubectl("version"))
    assert "FIELD: type" in ok(kubectl("explain", "service.spec.type"))
    assert "endpointslices" in ok(kubectl("api-resources"))
