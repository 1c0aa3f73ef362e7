"""Strangers: whoever reaches a backend cannot harm it, and whoever answers in its place is found out."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from backends import NONCE, SECRET, local_vantage

from kubereach.probe import Series
from kubereach.probe.group import run_all
from kubereach.probe.peer.handlers import Connection
from kubereach.probe.peer.outcomes import outcome_of
from kubereach.probe.peer.pattern import pattern
from kubereach.probe.peer.prober import Prober
from kubereach.probe.peer.server import Server
from kubereach.probe.vantage import OutsideVantage

# --- requests to a backend


def answers(backend, kind="http"):
    """Whether a backend still answers its own run."""
    question = b"kubereach 1.1\n" if kind == "tcp" else b"GET /who HTTP/1.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", backend.ports[kind]), 10) as client:
        client.sendall(question)
        return NONCE.encode() in client.recv(4096)


def send(port, *parts, reset=False):
    """Connect, send and read until the other side closes or says nothing more; gives what it said."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), 10) as client, suppress(OSError):
        for part in parts:
            client.sendall(part)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return said
        client.settimeout(0.1)
        while data := client.recv(65536):
            said += data
    return said


REQUESTS = {
    "length that is none": b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
    "negative length": b"POST /bytes HTTP/1.1\r\nContent-Length: -5\r\n\r\nhello",
    "length in Python's way": b"POST /bytes HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
    "length of a thousand digits": b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 1000 + b"\r\n\r\n",
    "large body": b"POST /ready?on=0 HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    "large upload": b"POST /bytes HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
    "size that is none": b"GET /bytes?size=x HTTP/1.1\r\n\r\n",
    "no size": b"GET /bytes?size= HTTP/1.1\r\n\r\n",
    "negative size": b"GET /bytes?size=-1 HTTP/1.1\r\n\r\n",
    "size beyond memory": b"GET /bytes?size=99999999999999 HTTP/1.1\r\n\r\n",
    "not a request": b"\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "bytes": bytes(range(256)) * 4 + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "endless head": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "endless line": b"x" * 1_000_000,
}


def test_a_malformed_request_costs_its_connection_alone(serve):
    backend = serve("a")
    for name, request in REQUESTS.items():
        for kind in ("http", "tcp"):
            for reset in (False, True):
                send(backend.ports[kind], request, reset=reset)
                assert answers(backend, kind), (name, kind, reset)
    assert backend.process.poll() is None


class Gone:
    """A client's socket: what it has sent can be read, but it has gone by the time it is answered."""

    def __init__(self, *parts):
        self.parts, self.closed = list(parts), False

    def fileno(self):
        return 99

    def recv(self, *_):
        return self.parts.pop(0)

    def send(self, *_):
        raise ConnectionResetError

    def close(self):
        self.closed = True


def test_a_client_that_resets_at_the_end_of_its_upload():
    server = Server("a", "", NONCE)
    gone = Gone(b"POST /bytes HTTP/1.1\r\nContent-Length: 20\r\n\r\n" + b"x" * 10, b"x" * 10)
    connection = server.connections[99] = Connection(gone, ("127.0.0.1", 1), 80, True)
    for _ in range(2):
        server._readable(99, connection)
    assert gone.closed
    assert not server.connections


@pytest.mark.parametrize("size", ["1", "65536", "65537", "1000000"])
def test_a_download_and_what_is_asked_for_after_it(serve, size):
    """Over one connection, and asked for at once."""
    ask = (
        f"GET /bytes?size={size} HTTP/1.1\r\n\r\nGET /bytes?size=0 HTTP/1.1\r\n\r\nGET /who HTTP/1.1\r\n\r\n"
    )
    said = send(serve("a").ports["http"], ask.encode())
    head, _, rest = said.partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: " + size.encode())
    assert rest[: int(size)] == pattern(int(size))
    assert b"Content-Length: 0\r\n\r\nHTTP/1.1 200 OK" in rest[int(size) :]
    assert NONCE.encode() in rest[int(size) :]


def memory_of(process):
    """Bytes of resident memory."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_downloads_and_heads_that_never_end_take_no_memory(serve):
    backend = serve("a")
    assert answers(backend)
    before = memory_of(backend.process)
    with ExitStack() as stack:
        for number in range(100):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", backend.ports["http"]), 10))
            client.settimeout(0.2)
            with suppress(OSError):
                if number % 2:
                    client.sendall(b"GET /bytes?size=1000000000 HTTP/1.1\r\n\r\n")
                else:
                    client.sendall(
                        b"POST /bytes HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 200_000
                    )
        assert answers(backend)
        assert memory_of(backend.process) - before < 16 << 20


@pytest.fixture
def small():
    """A backend in this process that serves eight connections at a time; gives its port."""
    server = Server("a", "", NONCE, secret=SECRET, limit=8)
    port = server.listen("http", 0, "127.0.0.1")
    ended = threading.Event()

    def run():
        while not ended.is_set():
            server.step(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    yield server, port
    ended.set()
    thread.join()


def test_connections_of_one_client_do_not_shut_out_others(small):
    """Nor do they end those that others have: the one with the most of them loses its oldest."""
    server, port = small
    who = b"GET /who HTTP/1.1\r\n\r\n"
    with ExitStack() as stack:
        ours = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)))
        for _ in range(3):
            ours.sendall(who)
            assert NONCE.encode() in ours.recv(4096)
            another = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            another.sendall(who)
            assert NONCE.encode() in another.recv(4096)
        assert len(server.connections) <= 8


def test_a_backend_without_free_descriptors_makes_room(small, monkeypatch):
    """Where it may open fewer than it should serve."""
    server, port = small
    real = socket.socket.accept
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)))
        while len(server.connections) < 4:
            time.sleep(0.01)
        fails = [True]

        def accept(sock):
            if fails and fails.pop():
                raise OSError(24, "Too many open files")
            return real(sock)

        monkeypatch.setattr(socket.socket, "accept", accept)
        ours = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        ours.sendall(b"GET /who HTTP/1.1\r\n\r\n")
        assert NONCE.encode() in ours.recv(4096)
        assert len(server.connections) == 4


def test_the_secret_is_in_no_answer(serve):
    """Nor in what a series says of itself, which tracebacks show."""
    port = serve("a").ports["http"]
    change = b"POST /ready?on=1 HTTP/1.1\r\nContent-Length: 0\r\n"
    said = send(
        port,
        b"GET / HTTP/1.1\r\n\r\n",
        change + b"\r\n",
        change + b"Kubereach-Secret: %s\r\n\r\n" % SECRET.encode(),
    )
    assert said.count(NONCE.encode()) == 3
    assert SECRET.encode() not in said
    series = Series("ready", port=port, secret=SECRET)
    assert SECRET not in repr(series)
    assert series.request(1)["secret"] == SECRET
    assert "secret" not in Series("http").request(1)


# --- answers to a prober


class Stranger:
    """Answers each connection, and each datagram, with the same bytes; then closes if that is wanted."""

    def __init__(self, answer, closes=True):
        self.answer, self.closes, self.kept = answer, closes, []
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        threading.Thread(target=self._streams, daemon=True).start()
        threading.Thread(target=self._datagrams, daemon=True).start()

    def _streams(self):
        with suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with suppress(OSError):
                    connection.settimeout(2)
                    connection.recv(65536)
                    connection.sendall(self.answer)
                self.kept.append(connection)
                if self.closes:
                    connection.close()

    def _datagrams(self):
        with suppress(OSError):
            while True:
                _, client = self.udp.recvfrom(65536)
                self.udp.sendto(self.answer[:60000], client)

    def close(self):
        for sock in (self.tcp, self.udp, *self.kept):
            sock.close()


def http(body, status=b"200 OK", length=None, more=b""):
    size = str(len(body)).encode() if length is None else length
    return b"HTTP/1.1 %s\r\n%sContent-Length: %s\r\n\r\n%s" % (status, more, size, body)


WHO = {"pod": "a", "node": "n", "nonce": NONCE, "client": "127.0.0.1", "port": 1}


def who(**changes):
    return json.dumps({**WHO, **changes}).encode()


BODIES = {
    "no JSON": b"<html>",
    "no object": b"[1, 2]",
    "null": b"null",
    "a number": b"7",
    "deep": b"[" * 10_000,
    "no nonce": json.dumps({k: v for k, v in WHO.items() if k != "nonce"}).encode(),
    "another nonce": who(nonce="another"),
    "nonce of no text": who(nonce=None),
    "pod that is an object": who(pod={"a": 1}),
    "client that is a list": who(client=["x"]),
    "port of text": who(port="80"),
    "echo that is a number": who(echo=5),
    "endless name": who(pod="x" * 10_000),
    "not UTF-8": b"\xff\xfe\x00{",
    "empty": b"",
}
ANSWERS = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "status line that is none": b"HELLO 200\r\n\r\n",
    "length many": http(b"", length=b"many"),
    "length negative": http(b"", length=b"-1"),
    "length of nothing": http(b"", length=b""),
    "length of a thousand digits": http(b"", length=b"9" * 1000),
    "length beyond memory": http(b"", length=b"999999999999"),
    "no length": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "cut short": http(b"hello", length=b"500"),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    "somebody's 404": http(b"<html>no such site</html>", b"404 Not Found"),
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n",
    **{f"body: {name}": http(body) for name, body in BODIES.items()},
}


def outcomes(vantage, kind, port, **more):
    series = Series(kind, "127.0.0.1", port, timeout=0.5, nonce=NONCE, more=more)
    return [probe.answer for probe in vantage.run(series).probes]


@pytest.fixture
def stranger():
    """Starts strangers: ``stranger(answer, closes=True)``."""
    with ExitStack() as stack:

        def start(answer, closes=True):
            made = Stranger(answer, closes)
            stack.callback(made.close)
            return made

        yield start


def answered(vantage, stranger, kind, given, closes=True, **more):
    """The outcome of a series to each of many strangers, by what they answer; the prober must have survived them."""
    ports = {name: stranger(answer, closes).port for name, answer in given.items()}
    wanted = [
        (vantage, Series(kind, "127.0.0.1", port, timeout=1, nonce=NONCE, more=more))
        for port in ports.values()
    ]
    vantage.open()
    pid = vantage._prober.stream._process.pid
    found = {name: result.probes[0].answer for name, result in zip(ports, run_all(wanted), strict=True)}
    assert pid == vantage._prober.stream._process.pid
    assert all(one.detail.isprintable() and len(one.detail) < 200 for one in found.values())
    return {name: one.outcome for name, one in found.items()}


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays"])
def test_whoever_answers_http_in_our_place_is_foreign(vantage, stranger, closes):
    # one who says that more is to come, and stays, is waited for
    waited = {} if closes else {"cut short": "timeout"}
    assert answered(vantage, stranger, "http", ANSWERS, closes) == {
        **dict.fromkeys(ANSWERS, "foreign"),
        **waited,
    }


LINES = {"no JSON": b"hello\n", "no line": b"hello", "web server": ANSWERS["somebody's 404"], **BODIES}


@pytest.mark.parametrize("kind", ["tcp", "udp", "flow tcp", "flow udp"])
def test_whoever_answers_in_our_place_is_foreign(vantage, stranger, kind):
    given = dict(LINES)
    if "udp" not in kind:
        given = {name: line if line.endswith(b"\n") else line + b"\n" for name, line in LINES.items()}
        given["no line"] = b"hello"
    kind, _, transport = kind.partition(" ")
    more = {"transport": transport} if transport else {}
    assert answered(vantage, stranger, kind, given, False, **more) == dict.fromkeys(given, "foreign")


def test_whoever_takes_a_transfer_in_our_place_is_foreign(vantage, stranger):
    found = answered(vantage, stranger, "transfer", ANSWERS, False, size=1000, stall=0.5)
    assert found == {**dict.fromkeys(ANSWERS, "foreign"), "cut short": "timeout"}


def test_whoever_shakes_no_hands_is_no_tls_server(vantage, stranger):
    (ca, *_) = (ssl.DER_cert_to_PEM_cert(der) for der in ssl.create_default_context().get_ca_certs(True))
    given = [b"", b"hello\n", http(b"hello"), b"\x16\x03\x03\x00\x05xxxxx", bytes(100)]
    found = answered(vantage, stranger, "tls", dict(enumerate(given)), ca=ca, server_name="a.example")
    assert set(found.values()) <= {"tls", "reset"}


def test_our_own_error_is_no_strangers(serve, vantage):
    (found,) = outcomes(vantage, "http", serve("a", ready=False).ports["http"], path="/ready")
    assert (found.outcome, found.detail) == ("protocol", "HTTP/1.1 503 Service Unavailable")


def test_headers_that_a_proxy_writes_in_its_own_way_are_read(vantage, stranger):
    answer = http(who()).replace(b"Content-Length: ", b"content-length:")
    assert outcomes(vantage, "http", stranger(answer).port)[0].outcome == "ok"


def test_without_a_nonce_nobody_is_foreign(vantage, stranger):
    series = Series("http", "127.0.0.1", stranger(ANSWERS["length many"]).port, timeout=0.5)
    assert vantage.run(series).outcomes == {"protocol": 1}


def test_only_http_has_a_status(vantage, stranger):
    port = stranger(b"NONSENSE 200 OK\r\n\r\n").port
    series = Series("http", "127.0.0.1", port, timeout=0.5, more={"status": True})
    assert vantage.run(series).outcomes == {"protocol": 1}


def test_whoever_sends_without_end_is_not_read_without_end(vantage, stranger):
    """A stream that never pauses: the prober leaves it, and other series go on."""
    port = stranger(b"x" * (64 << 20), closes=False).port
    for kind in ("http", "tcp"):
        assert outcomes(vantage, kind, port)[0].outcome == "foreign"


@pytest.mark.parametrize("name", ["ENOPROTOOPT", "ENONET", "EPROTO"])
def test_what_routers_say_is_not_our_own_failure(name):
    import errno

    assert outcome_of(getattr(errno, name)) == "unreachable"


def test_an_ordinary_client_is_not_held_up_by_a_body_without_end(multiplexer, context, stranger):
    outside = local_vantage(multiplexer, context, cls=OutsideVantage)
    port = stranger(http(b"x" * 1000, length=b"99999999999"), closes=False).port
    assert outside.second_opinion(f"http://127.0.0.1:{port}/who", 1.0) == ""
    assert outside.second_opinion(f"http://127.0.0.1:{stranger(b'hello').port}/who", 1.0) != ""


# --- requests to a prober


MALFORMED = [
    b"hello", b"[]", b"7", b"null", b"[" * 100_000, b"\xff\xff", b'{"id": 1}',
    b'{"id": {}, "kind": "http", "host": "127.0.0.1", "port": 1}',
    b'{"id": 1, "kind": [], "host": "127.0.0.1", "port": 1}',
    b'{"id": 1, "kind": "http", "host": "127.0.0.1", "port": 70000}',
    b'{"id": 1, "kind": "http", "host": "127.0.0.1", "port": Infinity}',
    b'{"id": 1, "kind": "http", "host": "127.0.0.1", "port": 1, "timeout": NaN}',
    b'{"id": 1, "kind": "http", "host": "127.0.0.1", "port": 1, "in_flight": 0}',
    b'{"id": 1, "kind": "http", "host": 5, "port": 1}',
    b'{"id": 1, "kind": "udp", "host": "127.0.0.1", "port": 1, "size": "many"}',
    b'{"id": 1, "kind": "resolve"}',
    b'{"id": 1, "kind": "tls", "host": "127.0.0.1", "port": 1}',
    b'{"id": 1, "kind": "dns", "host": "127.0.0.1", "port": 1, "message": "!"}',
    b'{"id": 1, "kind": "transfer", "host": "127.0.0.1", "port": 1, "size": 99999999999999}',
    b'{"id": 1, "kind": "stop", "series": {}}',
]  # fmt: skip


def test_a_malformed_request_is_answered_and_forgotten(serve):
    backend, said = serve("a"), []
    prober = Prober(said.append)
    for line in MALFORMED:
        prober.submit_line(line)
        assert said and "error" in json.loads(said.pop()), line
        assert not prober.series
    prober.submit({"id": 2, "kind": "http", "host": "127.0.0.1", "port": backend.ports["http"]})
    while not said:
        prober.step()
    assert json.loads(said[0])["rows"][0][0] == "ok"
