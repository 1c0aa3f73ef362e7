"""What a kubelet does with pods beyond what was recorded: probes, deadlines, sidecars, Services in the environment."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab_access import LabAccess, Object, is_ready

from kubereach_lab.quantities import canonical, quantity

#: a health service of gRPC that says NOT_SERVING until there is /tmp/ready; of HTTP/2 it knows one answer
HEALTH = """
import os, socket, struct
def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
listener = socket.create_server(("", 9000))
while True:
    connection, _ = listener.accept()
    asked, kind, flags = connection.makefile("rb"), 4, 0
    asked.read(24)
    while (kind, flags) != (0, 1):
        length, kind, flags = struct.unpack(">IBBI", b"\\0" + asked.read(9))[:3]
        asked.read(length)
    message = b"\\x08" + (b"\\x01" if os.path.exists("/tmp/ready") else b"\\x02")
    body = struct.pack(">BI", 0, len(message)) + message
    connection.sendall(frame(4, 0, 0, b"") + frame(1, 4, 1, b"\\x88") + frame(0, 0, 1, body) + frame(1, 5, 1, b""))
    connection.close()
"""


def create(lab: LabAccess, space: str, name: str, container: Object, **spec: object) -> None:
    first: Object = {"name": "c", "image": "python:3.13-alpine", **container}
    lab.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": space},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [first], **spec},
        }
    )


def events(lab: LabAccess, space: str) -> list[tuple[str, str]]:
    found = lab.get(f"/api/v1/namespaces/{space}/events")["items"]
    return [(event["reason"], event["message"]) for event in found]


def phase(wanted: str) -> Callable[[Object], bool]:
    return lambda pod: bool(pod["status"].get("phase") == wanted)


def test_a_grpc_probe(lab: LabAccess, space: str) -> None:
    probe = {"grpc": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 1}
    create(lab, space, "health", {"command": ["python3", "-c", HEALTH], "readinessProbe": probe})
    lab.pod(space, "health", phase("Running"))
    unhealthy = ("Unhealthy", 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")')
    lab.wait(
        f"/api/v1/namespaces/{space}/events",
        lambda found: unhealthy in [(event["reason"], event["message"]) for event in found],
    )
    lab.exec(space, "health", "touch", "/tmp/ready")
    lab.pod(space, "health", is_ready)


def test_a_failing_startup_probe_restarts(lab: LabAccess, space: str) -> None:
    probe = {
        "exec": {"command": ["sh", "-c", "echo not yet; exit 1"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    create(lab, space, "slow", {"command": ["sleep", "1000"], "startupProbe": probe})
    lab.pod(space, "slow", lambda p: p["status"].get("containerStatuses", [{}])[0].get("restartCount") == 1)
    told = events(lab, space)
    assert ("Killing", "Container c failed startup probe, will be restarted") in told
    assert ("Unhealthy", "Startup probe failed: not yet\n") in told


def test_a_pod_has_its_deadline(lab: LabAccess, space: str) -> None:
    create(lab, space, "long", {"command": ["sleep", "1000"]}, activeDeadlineSeconds=1)
    ended = lab.pod(space, "long", phase("Failed"))["status"]
    assert (ended["reason"], ended["message"]) == (
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
    )
    assert "terminated" in ended["containerStatuses"][0]["state"]


def test_sidecars_start_first_and_end_last(lab: LabAccess, space: str) -> None:
    speaking = (
        "trap 'echo last > /shared/end; exit 0' TERM; echo up > /shared/up; while :; do sleep 0.05; done"
    )
    shared = [{"name": "shared", "mountPath": "/shared"}]
    probe = {"exec": {"command": ["test", "-f", "/shared/up"]}, "periodSeconds": 1}
    beside = {"name": "beside", "image": "busybox", "restartPolicy": "Always", "volumeMounts": shared}
    beside |= {"command": ["sh", "-c", speaking], "startupProbe": probe}
    create(
        lab,
        space,
        "work",
        {"command": ["cat", "/shared/up"], "volumeMounts": shared},
        initContainers=[beside],
        volumes=[{"name": "shared", "emptyDir": {}}],
        restartPolicy="Never",
        terminationGracePeriodSeconds=5,
    )
    done = lab.pod(space, "work", phase("Succeeded"))["status"]
    assert done["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert "terminated" in done["initContainerStatuses"][0]["state"]
    assert ("Killing", "Stopping container beside") in events(lab, space)


@pytest.mark.parametrize("wanted", [True, False])
def test_services_are_in_the_environment(lab: LabAccess, space: str, wanted: bool) -> None:
    ports = [{"name": "web-ui", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "my-app", "namespace": space}}
    address = lab.create(service | {"spec": {"ports": ports}})["spec"]["clusterIP"]
    create(lab, space, "env", {"command": ["sleep", "1000"]}, enableServiceLinks=wanted)
    lab.pod(space, "env", is_ready)
    variables = dict(line.split("=", 1) for line in lab.exec(space, "env", "env").splitlines())
    kubernetes = lab.config.api_service_address
    assert variables["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert variables["KUBERNETES_PORT_443_TCP"] == f"tcp://{kubernetes}:443"
    expected = {
        "MY_APP_SERVICE_HOST": address,
        "MY_APP_SERVICE_PORT": "80",
        "MY_APP_SERVICE_PORT_WEB_UI": "80",
        "MY_APP_PORT": f"tcp://{address}:80",
        "MY_APP_PORT_53_UDP": f"udp://{address}:53",
        "MY_APP_PORT_53_UDP_PROTO": "udp",
        "MY_APP_PORT_80_TCP_ADDR": address,
    }
    found = {name: value for name, value in variables.items() if name in expected}
    assert found == (expected if wanted else {})


def test_a_grace_period_can_be_made_shorter(lab: LabAccess, space: str) -> None:
    deaf = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    create(lab, space, "deaf", deaf, terminationGracePeriodSeconds=60)
    lab.pod(space, "deaf", is_ready)
    path = f"/api/v1/namespaces/{space}/pods"
    lab.delete(f"{path}/deaf")
    begun = time.monotonic()
    lab.delete(f"{path}/deaf", gracePeriodSeconds=1)
    lab.wait(path, lambda pods: not pods)
    assert time.monotonic() - begun < 50


def test_requests_count(lab: LabAccess, space: str) -> None:
    create(lab, space, "big", {"command": ["true"], "resources": {"requests": {"memory": "9Ei"}}})
    big = lab.pod(space, "big", lambda p: bool(p["status"].get("conditions")))
    assert "3 Insufficient memory." in big["status"]["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("1000", "1k"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("100Ki", "100Ki"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("2E", "2E"),
        (3, "3"),
    ],
)
def test_quantities(written: object, kept: str) -> None:
    assert canonical(written) == kept
    assert quantity(kept) == quantity(written)


@pytest.mark.parametrize("text", ["", "1 Gi", "Mi", "1kk", "1e", "-"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)
