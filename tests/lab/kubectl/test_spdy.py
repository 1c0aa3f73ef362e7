"""exec, attach and port-forward over SPDY/3.1, byte by byte, as clients without WebSocket speak it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab_access import LabAccess, Object

from kubereach_lab.api.spdy import DICTIONARY, Decoder, Encoder, Frame, Kind, SpdyError

from .spdy_client import Refused, SpdyClient, WebSocketBytes, upgraded

V4 = "v4.channel.k8s.io"
FORWARD = "portforward.k8s.io"
#: an HTTP-free server: 8080 sends back what it gets and ends when its client does, 8081 says how much it got
_SERVER = """
import socket, threading
def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
def count(connection):
    with connection:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        connection.sendall(b"%d" % total)
def serve(port, handle):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=serve, args=(8081, count), daemon=True).start()
serve(8080, echo)
"""

#: more than all buffers on the way hold
_LOUD = 40_000_000
Client = Callable[..., SpdyClient]


@pytest.fixture(scope="module", autouse=True)
def _pod(lab: LabAccess) -> Iterator[None]:
    """A pod that serves on its localhost alone, where only port-forward can reach it."""
    namespace = "spdy"
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    containers = [
        {"name": "c", "image": "python:3", "command": ["python3", "-c", _SERVER], "readinessProbe": _probe()},
        {"name": "shell", "image": "busybox", "command": ["sh"], "stdin": True, "tty": True},
        {"name": "cat", "image": "busybox", "command": ["cat"], "stdin": True, "stdinOnce": True},
    ]
    containers.append(
        {
            "name": "loud",
            "image": "busybox",
            "command": ["sh", "-c", f"read x; head -c {_LOUD} /dev/zero"],
            "stdin": True,
        }
    )
    spec = {"containers": containers, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    metadata = {"name": "p", "namespace": namespace}
    lab.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    lab.ready_pods(namespace, 1)
    yield
    lab.delete(f"/api/v1/namespaces/{namespace}")


def _probe() -> Object:
    connect = "import socket; [socket.create_connection(('127.0.0.1', port)) for port in (8080, 8081)]"
    return {"exec": {"command": ["python3", "-c", connect]}, "timeoutSeconds": 10}


@pytest.fixture
def client(lab: LabAccess) -> Iterator[Client]:
    opened: list[SpdyClient] = []

    def connect(subresource: str, *protocols: str, **query: Any) -> SpdyClient:
        path = f"/api/v1/namespaces/spdy/pods/p/{subresource}"
        opened.append(upgraded(lab, path, query, *protocols))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def run(client: Client, *command: str, **query: Any) -> tuple[SpdyClient, dict[str, int]]:
    """Starts an exec with all its streams open."""
    spdy = client("exec", V4, command=command, container="c", stdout="true", stderr="true", **query)
    kinds = ["error", *(kind for kind in ("stdin",) if kind in query), "stdout", "stderr"]
    if "tty" in query:
        kinds.append("resize")
    streams = {kind: spdy.open(streamtype=kind) for kind in kinds}
    spdy.wait(lambda: spdy.accepted >= set(streams.values()))
    return spdy, streams


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_frames_survive_any_cutting() -> None:
    encoder, headers = Encoder(), {"streamtype": "data", "port": "80"}
    frames = [
        Frame(Kind.SYN_STREAM, 1, headers=headers),
        Frame(Kind.DATA, 1, data=b"x" * 1000),
        Frame(Kind.PING, 7),
        Frame(Kind.SYN_STREAM, 3, 1, headers=headers),
        Frame(Kind.DATA, 1, 1),
        Frame(Kind.RST_STREAM, 3, data=b"\0\0\0\5"),
    ]
    wire = b"".join(encoder.encode(frame) for frame in frames)
    for size in (1, 7, 8, 9, 100, len(wire)):
        decoder = Decoder()
        parts = (wire[i : i + size] for i in range(0, len(wire), size))
        assert [frame for part in parts for frame in decoder.feed(part)] == frames
    # what we do not use is passed over: SETTINGS, WINDOW_UPDATE for nobody, a type that does not exist
    settings = bytes.fromhex("80030004 00000004 00000000 800300aa 00000001 ff".replace(" ", ""))
    assert list(Decoder().feed(settings)) == []
    for wrong in ("80020001 00000000", "80030003 00000000", "80030001 0000000c" + "00" * 12):
        with pytest.raises(SpdyError):
            list(Decoder().feed(bytes.fromhex(wrong.replace(" ", ""))))


def test_exec(client: Client) -> None:
    spdy, streams = run(client, "sh", "-c", "read line; echo got $line; echo oops >&2; exit 3", stdin="true")
    assert f"X-Stream-Protocol-Version: {V4}" in spdy.head
    spdy.write(streams["stdin"], b"abc\n")
    status = spdy.status(streams["error"])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert spdy.end(streams["stdout"]) == b"got abc\n"
    assert spdy.end(streams["stderr"]) == b"oops\n"


def test_exec_of_a_success_and_of_nothing(client: Client) -> None:
    spdy, streams = run(client, "true")
    assert spdy.status(streams["error"]) == {"metadata": {}, "status": "Success"}
    spdy, streams = run(client, "/nosuch")
    assert 'exec: "/nosuch": stat /nosuch: no such file' in spdy.status(streams["error"])["message"]


def test_exec_before_v4_tells_failures_as_text(client: Client) -> None:
    spdy = client("exec", "v2.channel.k8s.io", command=["sh", "-c", "exit 2"], container="c", stdout="true")
    error, out = spdy.open(streamtype="error"), spdy.open(streamtype="stdout")
    assert b"exit code 2" in spdy.end(error)
    assert spdy.end(out) == b""


def test_standard_input_ends_when_its_half_does(client: Client) -> None:
    data = bytes(range(256)) * 40_000  # 10 MB through cat and back
    spdy, streams = run(client, "cat", stdin="true")
    spdy.write(streams["stdin"], data, fin=True)
    assert spdy.end(streams["stdout"]) == data
    assert spdy.status(streams["error"])["status"] == "Success"


def test_a_terminal_and_its_size(client: Client) -> None:
    spdy, streams = run(client, "sh", "-c", "read x; stty size; tty", stdin="true", tty="true")
    resize = b'{"Width":100,"Height":40}'
    # objects may be cut anywhere
    spdy.write(streams["resize"], b'{"Width":10,"Height":4}' + resize[:9])
    spdy.write(streams["resize"], resize[9:])
    # a terminal echoes: the line shows that the resizes before it were read, since both come in order
    spdy.ping(101)
    spdy.wait(lambda: spdy.pings == [101])
    spdy.write(streams["stdin"], b"go\n")
    assert b"40 100\r\n" in spdy.end(streams["stdout"])


def test_output_waits_for_a_slow_client(client: Client) -> None:
    count = 40_000_000  # more than all buffers on the way hold
    spdy, streams = run(
        client, "sh", "-c", f"mkdir /tmp/slow; head -c {count} /dev/zero; touch /tmp/slow/done"
    )
    spdy.reading.clear()
    # others are served meanwhile
    for _ in range(3):
        other, theirs = run(client, "sh", "-c", "head -c 3000000 /dev/zero; ls /tmp/slow")
        assert other.end(theirs["stdout"])[3_000_000:] == b""
    spdy.reading.set()
    assert len(spdy.end(streams["stdout"])) == count
    other, theirs = run(client, "ls", "/tmp/slow")
    assert other.end(theirs["stdout"]) == b"done\n"


def test_a_client_that_leaves_ends_its_command(client: Client) -> None:
    spdy, streams = run(client, "sh", "-c", "echo $$ > /tmp/pid; echo up; exec sleep 1000")
    spdy.wait(lambda: spdy.received[streams["stdout"]])
    spdy.close()
    watch = "while [ -e /proc/$(cat /tmp/pid) ]; do sleep 0.01; done"
    other, streams = run(client, "timeout", "10", "sh", "-c", watch)
    assert other.status(streams["error"])["status"] == "Success"


def test_refusals(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client("exec", "v9.channel.k8s.io", command="true", container="c", stdout="true")
    assert refused.value.status == 403
    assert refused.value.head.count("X-Accepted-Stream-Protocol-Versions") == 4
    with pytest.raises(Refused) as refused:
        client("exec", V4, command="true", container="nosuch", stdout="true")
    assert (refused.value.status, "container nosuch is not valid" in refused.value.body) == (400, True)
    spdy, streams = run(client, "cat", stdin="true")
    # a stream twice, an even number, a number that was: each is reset, and the others go on
    again, even = spdy.open(streamtype="stdin"), spdy.open(streamtype="stdin", number=200)
    spdy.open(streamtype="stdin", number=again)
    spdy.wait(lambda: {again, even} <= spdy.reset)
    spdy.write(streams["stdin"], b"still", fin=True)
    assert spdy.end(streams["stdout"]) == b"still"


# attach


def attach(client: Client, container: str, **query: str) -> tuple[SpdyClient, dict[str, int]]:
    spdy = client("attach", V4, container=container, stdin="true", stdout="true", **query)
    kinds = ["error", "stdin", "stdout", *(["resize"] if "tty" in query else [])]
    streams = {kind: spdy.open(streamtype=kind) for kind in kinds}
    spdy.wait(lambda: spdy.accepted >= set(streams.values()))
    return spdy, streams


def test_attach_to_a_terminal_again_and_again(client: Client) -> None:
    for number in range(2):
        spdy, streams = attach(client, "shell", tty="true")
        out = streams["stdout"]
        spdy.write(streams["resize"], b'{"Width":%d,"Height":40}' % (90 + number))
        spdy.ping(103)
        spdy.wait(lambda: spdy.pings == [103])  # noqa: B023
        spdy.write(streams["stdin"], b"stty size; echo $((40 + 2))\n")
        spdy.wait(lambda: b"42\r\n" in spdy.received[out])  # noqa: B023
        assert b"40 %d\r\n" % (90 + number) in spdy.received[out]
        spdy.close()  # which leaves the shell alone


def test_attach_feeds_a_container_that_ends_with_its_input(client: Client, lab: LabAccess) -> None:
    spdy, streams = attach(client, "cat")
    spdy.write(streams["stdin"], b"abc\n", fin=True)
    assert spdy.end(streams["stdout"]) == b"abc\n"
    assert spdy.status(streams["error"])["status"] == "Success"
    assert lab.core.read_namespaced_pod_log("p", "spdy", container="cat") == "abc\n"
    with pytest.raises(Refused) as refused:
        attach(client, "cat")
    assert (refused.value.status, refused.value.body) == (500, 'container not found ("cat")')


def test_a_container_waits_for_who_is_attached(client: Client, lab: LabAccess) -> None:
    spdy, streams = attach(client, "loud")
    spdy.reading.clear()
    spdy.write(streams["stdin"], b"go\n")
    for _ in range(3):
        other, theirs = run(client, "head", "-c", "3000000", "/dev/zero")
        assert len(other.end(theirs["stdout"])) == 3_000_000
    states = lab.get("/api/v1/namespaces/spdy/pods/p")["status"]["containerStatuses"]
    assert "running" in next(state["state"] for state in states if state["name"] == "loud")
    spdy.reading.set()
    assert len(spdy.end(streams["stdout"])) == _LOUD
    assert spdy.status(streams["error"])["status"] == "Success"


# port-forward


def forward(spdy: SpdyClient, port: int, request: str) -> tuple[int, int]:
    """Opens a connection as kubectl does: the error stream, closed on our side, and the data stream."""
    error = spdy.open(streamtype="error", port=str(port), requestid=request)
    spdy.write(error, b"", fin=True)
    return error, spdy.open(streamtype="data", port=str(port), requestid=request)


def test_a_connection_is_forwarded_and_ends_half_by_half(client: Client) -> None:
    spdy = client("portforward", FORWARD)
    error, data = forward(spdy, 8081, "0")
    spdy.write(data, b"x" * 20_000_000, fin=True)
    assert spdy.end(data) == b"20000000", (spdy.end(error), spdy.closed, spdy.finished, spdy.reset, data)
    assert spdy.end(error) == b""


def test_many_connections_at_once(client: Client) -> None:
    spdy = client("portforward", FORWARD)
    pairs = [forward(spdy, 8080, str(number)) for number in range(50)]
    for number, (_, data) in enumerate(pairs):
        spdy.write(data, b"%d " % number * 5000)
    for _, data in pairs:
        spdy.write(data, b"", fin=True)
    for number, (error, data) in enumerate(pairs):
        assert spdy.end(data) == b"%d " % number * 5000
        assert spdy.end(error) == b""


def test_a_large_answer_waits_for_a_slow_client(client: Client) -> None:
    spdy = client("portforward", FORWARD)
    _, data = forward(spdy, 8080, "0")
    text = bytes(range(256)) * 80_000  # 20 MB there and back
    writer = threading.Thread(target=spdy.write, args=(data, text), kwargs={"fin": True})
    spdy.reading.clear()
    writer.start()
    other = client("portforward", FORWARD)
    _, others = forward(other, 8080, "0")
    other.write(others, b"meanwhile", fin=True)
    assert other.end(others) == b"meanwhile"
    spdy.reading.set()
    assert spdy.end(data) == text
    writer.join()


def test_a_closed_port_and_what_is_no_port(client: Client) -> None:
    spdy = client("portforward", FORWARD)
    _, good = forward(spdy, 8080, "good")
    error, data = forward(spdy, 9, "bad")
    text = spdy.end(error).decode()
    assert text.startswith("error forwarding port 9 to pod ")
    assert "failed to connect to localhost:9 inside namespace" in text
    assert "IPv4: dial tcp4 127.0.0.1:9: connect: connection refused" in text
    spdy.wait(lambda: data in spdy.reset)
    wrong = [spdy.open(streamtype="data"), spdy.open(streamtype="data", port="70000"), spdy.open(port="80")]
    spdy.wait(lambda: set(wrong) <= spdy.reset)
    spdy.write(good, b"goes on", fin=True)
    assert spdy.end(good) == b"goes on"


def test_a_reset_stream_closes_its_connection(client: Client) -> None:
    spdy = client("portforward", FORWARD)
    error, data = forward(spdy, 8080, "0")
    spdy.write(data, b"abc")
    spdy.wait(lambda: spdy.received[data] == b"abc")
    spdy.reset_stream(data)
    assert spdy.end(error) == b""


def test_spdy_in_websocket_messages(lab: LabAccess) -> None:
    path = "/api/v1/namespaces/spdy/pods/p/portforward"
    tunnel = WebSocketBytes(lab, path, "SPDY/3.1+portforward.k8s.io")
    assert (tunnel.socket.getsubprotocol() or "").lower() == "spdy/3.1+portforward.k8s.io"
    spdy = SpdyClient(tunnel)
    error, data = forward(spdy, 8080, "0")
    spdy.write(data, b"y" * 1_000_000, fin=True)
    assert spdy.end(data) == b"y" * 1_000_000
    assert spdy.end(error) == b""
    spdy.close()
