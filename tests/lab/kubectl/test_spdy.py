"""kubectl port-forward's SPDY/3.1 in WebSocket messages (KEP-4006), byte by byte."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator

import pytest
from lab_access import LabAccess, Object

from kubereach_lab.kubectl.spdy import DICTIONARY, Decoder, Encoder, Frame, Kind, SpdyError

from .spdy_client import SpdyClient, WebSocketBytes

FORWARD = "SPDY/3.1+portforward.k8s.io"
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

Client = Callable[[], SpdyClient]


@pytest.fixture(scope="module", autouse=True)
def _pod(lab: LabAccess) -> Iterator[None]:
    """A pod that serves on its localhost alone, where only port-forward can reach it."""
    namespace = "spdy"
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    containers = [
        {"name": "c", "image": "python:3", "command": ["python3", "-c", _SERVER], "readinessProbe": _probe()}
    ]
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

    def connect() -> SpdyClient:
        tunnel = WebSocketBytes(lab, "/api/v1/namespaces/spdy/pods/p/portforward", FORWARD)
        assert (tunnel.socket.getsubprotocol() or "").lower() == FORWARD.lower()
        opened.append(SpdyClient(tunnel))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


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


def forward(spdy: SpdyClient, port: int, request: str) -> tuple[int, int]:
    """Opens a connection as kubectl does: the error stream, closed on our side, and the data stream."""
    error = spdy.open(streamtype="error", port=str(port), requestid=request)
    spdy.write(error, b"", fin=True)
    return error, spdy.open(streamtype="data", port=str(port), requestid=request)


def test_a_connection_is_forwarded_and_ends_half_by_half(client: Client) -> None:
    spdy = client()
    error, data = forward(spdy, 8081, "0")
    spdy.write(data, b"x" * 20_000_000, fin=True)
    assert spdy.end(data) == b"20000000", (spdy.end(error), spdy.closed, spdy.finished, spdy.reset, data)
    assert spdy.end(error) == b""


def test_many_connections_at_once(client: Client) -> None:
    spdy = client()
    pairs = [forward(spdy, 8080, str(number)) for number in range(50)]
    for number, (_, data) in enumerate(pairs):
        spdy.write(data, b"%d " % number * 5000)
    for _, data in pairs:
        spdy.write(data, b"", fin=True)
    for number, (error, data) in enumerate(pairs):
        assert spdy.end(data) == b"%d " % number * 5000
        assert spdy.end(error) == b""


def test_a_large_answer_waits_for_a_slow_client(client: Client) -> None:
    spdy = client()
    _, data = forward(spdy, 8080, "0")
    text = bytes(range(256)) * 80_000  # 20 MB there and back
    writer = threading.Thread(target=spdy.write, args=(data, text), kwargs={"fin": True})
    spdy.reading.clear()
    writer.start()
    other = client()
    _, others = forward(other, 8080, "0")
    other.write(others, b"meanwhile", fin=True)
    assert other.end(others) == b"meanwhile"
    spdy.reading.set()
    assert spdy.end(data) == text
    writer.join()


def test_a_closed_port_and_what_is_no_port(client: Client) -> None:
    spdy = client()
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
    spdy = client()
    error, data = forward(spdy, 8080, "0")
    spdy.write(data, b"abc")
    spdy.wait(lambda: spdy.received[data] == b"abc")
    spdy.reset_stream(data)
    assert spdy.end(error) == b""


def test_streams_that_break_the_rules_are_reset_alone(client: Client) -> None:
    spdy = client()
    error, data = forward(spdy, 8080, "0")
    # a stream of the same request and kind, an even number, a number that was: each is reset, and the others go on
    twice, even = spdy.open(streamtype="data", port="8080"), spdy.open(streamtype="data", number=200)
    spdy.open(streamtype="data", port="8080", number=twice)
    spdy.wait(lambda: {twice, even} <= spdy.reset)
    spdy.ping(101)
    spdy.wait(lambda: spdy.pings == [101])
    spdy.write(data, b"still", fin=True)
    assert spdy.end(data) == b"still"
    assert spdy.end(error) == b""
