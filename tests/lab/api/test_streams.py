"""exec, port-forward, proxy and logs."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream
from websocket import ABNF, WebSocket, WebSocketBadStatusException, create_connection

from .conftest import Server, make_running

_RECORDING = Path(__file__).parents[1] / "recordings" / "pod-exec.json"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


def connect(server: Server, namespace: str, query: str, protocol: str | None, pod: str = "ex") -> WebSocket:
    files = {name: str(server.folder / f"{name}.pem") for name in ("ca", "client", "key")}
    return create_connection(
        f"{server.url.replace('https', 'wss')}/api/v1/namespaces/{namespace}/pods/{pod}/{query}",
        subprotocols=[protocol] if protocol else [],
        sslopt={
            "ca_certs": files["ca"],
            "certfile": files["client"],
            "keyfile": files["key"],
            "cert_reqs": ssl.CERT_REQUIRED,
        },
        timeout=30,
    )


def frames(connection: WebSocket) -> list[tuple[int, bytes]]:
    """All frames until the server closes: (channel, data), then (-1, close code)."""
    found: list[tuple[int, bytes]] = []
    while True:
        opcode, data = connection.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            return [*found, (-1, data[:2])]
        found.append((data[0], data[1:]))


@pytest.fixture(autouse=True)
def _certificates(http: httpx.Client) -> None:
    """The files of the client certificate are there."""


@pytest.mark.usefixtures("running_pod")
def test_exec_with_the_official_client(core: client.CoreV1Api, namespace: str) -> None:
    answer = stream(
        core.connect_get_namespaced_pod_exec,
        "ex",
        namespace,
        command=["sh", "-c", "read line; echo got $line; echo oops >&2; exit 3"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    answer.write_stdin("abc\n")
    answer.run_forever(timeout=30)
    assert answer.read_stdout() == "got abc\n"
    assert answer.read_stderr() == "oops\n"
    assert answer.returncode == 3


@pytest.mark.parametrize("step", [0, 1, 3, 5, 6, 8, 10, 25], ids=lambda i: f"step{i}")
@pytest.mark.usefixtures("running_pod")
def test_exec_frames_are_those_recorded(step: int, server: Server, namespace: str) -> None:
    recorded = json.loads(_RECORDING.read_text())["steps"][step]
    query = str(httpx.QueryParams([tuple(pair) for pair in recorded["request"]["query"]]))
    found = frames(connect(server, namespace, f"exec?{query}", recorded["request"]["subprotocol"]))
    expected = recorded["response"]["frames"]
    assert found[0] == (1, b"")
    assert found[-1] == (-1, (1000).to_bytes(2, "big"))
    status = next(frame["text"] for frame in expected if frame.get("channel") == 3)
    assert found[-2] == (3, status.encode())
    for channel in (1, 2):
        sent = b"".join(data for number, data in found[1:] if number == channel)
        texts = [frame.get("text", "").encode() for frame in expected if frame.get("channel") == channel]
        if not any("base64" in frame for frame in expected):
            assert sent == b"".join(texts)


@pytest.mark.usefixtures("running_pod")
def test_v5_closes_standard_input(server: Server, namespace: str) -> None:
    connection = connect(server, namespace, "exec?command=cat&stdin=true&stdout=true", V5)
    connection.send_binary(b"\x00abc\n")
    connection.send_binary(b"\xff\x00")
    found = frames(connection)
    assert b"".join(data for channel, data in found if channel == 1) == b"abc\n"
    assert found[-2] == (3, b'{"metadata":{},"status":"Success"}')


@pytest.mark.usefixtures("running_pod")
def test_a_terminal_has_the_size_that_is_sent(server: Server, namespace: str) -> None:
    query = "exec?command=sh&command=-c&command=read+x;+stty+size&stdin=true&stdout=true&tty=true"
    connection = connect(server, namespace, query, V5)
    connection.send_binary(b'\x04{"Width":100,"Height":40}')
    connection.send_binary(b"\x00go\n")
    output = b"".join(data for channel, data in frames(connection) if channel == 1)
    assert b"40 100\r\n" in output


@pytest.mark.usefixtures("running_pod")
def test_a_command_that_does_not_exist(server: Server, namespace: str) -> None:
    found = frames(connect(server, namespace, "exec?command=/nosuch&stdout=true", V4))
    assert b'exec: \\"/nosuch\\": stat /nosuch: no such file or directory' in found[-2][1]


@pytest.mark.usefixtures("running_pod")
def test_a_client_that_leaves_ends_what_it_started(server: Server, namespace: str) -> None:
    connection = connect(server, namespace, "exec?command=sleep&command=60&stdout=true", V4)
    connection.recv_data()
    deadline = time.monotonic() + 30
    while not server.runtime.started or server.runtime.started[-1]._process.returncode is not None:
        assert time.monotonic() < deadline
    connection.close()
    while server.runtime.started[-1]._process.returncode is None:
        assert time.monotonic() < deadline, "the process goes on without its client"


@pytest.mark.usefixtures("running_pod")
def test_large_output_arrives_whole(core: client.CoreV1Api, namespace: str) -> None:
    command = ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"]
    answer = stream(
        core.connect_get_namespaced_pod_exec, "ex", namespace, command=command, stdout=True, stderr=True
    )
    assert answer == "x" * 1_000_000


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("command=x&stdout=true&container=nosuch", 400, "container nosuch is not valid for pod two"),
        (
            "command=x&stdout=true",
            400,
            "a container name must be specified for pod two, choose one of: [a b]",
        ),
        ("command=x&container=a", 400, "you must specify at least 1 of stdin, stdout, stderr"),
    ],
)
def test_exec_refusals(query: str, code: int, text: str, server: Server, namespace: str) -> None:
    make_running(server, namespace, "two", ["a", "b"])
    with pytest.raises(WebSocketBadStatusException) as refused:
        connect(server, namespace, f"exec?{query}", V5, pod="two")
    assert refused.value.status_code == code
    assert text in (refused.value.resp_body or b"").decode()


@pytest.mark.usefixtures("running_pod")
def test_plain_requests_and_other_protocols_are_refused_clearly(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods/ex/exec?command=x&stdout=true"
    assert http.post(path).json()["message"] == "Upgrade request required"
    for kind in ("h2c", "SPDY/3.1"):
        other = http.post(path, headers={"Connection": "Upgrade", "Upgrade": kind})
        assert other.status_code == 400
        assert other.json()["message"].endswith(
            f"streams over WebSocket, as kubectl does since v1.31, and not over {kind}"
        )


class _Backend(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.path} as {self.headers['X-Test']}".encode()
        self.send_response(302 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/there")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def backend(server: Server) -> Iterator[None]:
    """A web server that the pods' port 8080 leads to."""
    web = HTTPServer(("127.0.0.1", 0), _Backend)
    server.runtime.ports[8080] = web.server_port
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    yield
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.mark.usefixtures("running_pod", "backend")
def test_port_forward(core: client.CoreV1Api, namespace: str) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, "ex", namespace, ports="8080")
    connection: socket.socket = forward.socket(8080)
    connection.settimeout(30)
    connection.sendall(b"GET /hello HTTP/1.0\r\nX-Test: forward\r\n\r\n")
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
    assert received.endswith(b"/hello as forward")


@pytest.mark.usefixtures("running_pod", "backend")
def test_proxy_to_a_pod_and_a_service(
    http: httpx.Client, core: client.CoreV1Api, server: Server, namespace: str
) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    answer = http.get(f"{base}/pods/ex:8080/proxy/a/b?c=d", headers={"X-Test": "me"})
    assert answer.text == "/a/b?c=d as me"
    moved = http.get(f"{base}/pods/ex:8080/proxy/moved")
    assert moved.headers["location"] == f"{base}/pods/ex:8080/proxy/there"
    closed = http.get(f"{base}/pods/ex:9999/proxy/")
    assert (closed.status_code, "connection refused" in closed.json()["message"]) == (503, True)
    core.create_namespaced_service(namespace, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    none = http.get(f"{base}/services/s:80/proxy/")
    assert none.json()["message"] == 'no endpoints available for service "s"'
    reference = {"kind": "Pod", "name": "ex", "namespace": namespace}
    endpoints = [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}, "targetRef": reference}]
    slice_ = {
        "metadata": {"name": "s-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": endpoints,
    }
    server.call(lambda: server.registry.create("endpointslices", slice_))
    assert http.get(f"{base}/services/s:80/proxy/x").text == "/x as None"


def write_log(server: Server, pod: str, *texts: str) -> None:
    with (server.folder / f"{pod}-c.log").open("a") as file:
        for text in texts:
            stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            file.write(f"{stamp} stdout {text}\n")


def test_logs(core: client.CoreV1Api, server: Server, namespace: str) -> None:
    make_running(server, namespace, "lg", ["c"])
    write_log(server, "lg", "F one", "P tw", "F o", "F three")
    read = core.read_namespaced_pod_log
    assert read("lg", namespace) == "one\ntwo\nthree\n"
    assert read("lg", namespace, tail_lines=1) == "three\n"
    assert read("lg", namespace, tail_lines=0) == ""
    assert read("lg", namespace, limit_bytes=6) == "one\ntw"
    assert read("lg", namespace, since_seconds=100) == "one\ntwo\nthree\n"
    stamped = read("lg", namespace, timestamps=True, tail_lines=1)
    assert stamped.endswith("Z three\n")
    with pytest.raises(ApiException, match="previous terminated container"):
        read("lg", namespace, previous=True)


def test_logs_follow_until_the_pod_ends(core: client.CoreV1Api, server: Server, namespace: str) -> None:
    make_running(server, namespace, "fl", ["c"])
    write_log(server, "fl", "F one")
    received: list[bytes] = []
    answer = core.read_namespaced_pod_log("fl", namespace, follow=True, _preload_content=False)
    chunks = answer.stream()
    received.append(next(chunks))
    write_log(server, "fl", "F two")
    received.append(next(chunks))
    write_log(server, "fl", "F three")

    def end(pod: dict[str, Any]) -> None:
        pod["status"]["phase"] = "Succeeded"

    server.call(lambda: server.registry.update("pods", namespace, "fl", end, subresource="status"))
    received += list(chunks)
    assert b"".join(received) == b"one\ntwo\nthree\n"
