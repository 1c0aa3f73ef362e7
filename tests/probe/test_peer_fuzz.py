"""Strangers that nobody would think of: random requests to a backend, random answers and requests to a prober.

KUBEREACH_FUZZ sets the number of examples of each test; the nightly run takes thousands, and others each time.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import socket
import threading
from contextlib import suppress

import pytest
from backends import NONCE, SECRET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubereach.model.outcome import WORDS, SeriesResult
from kubereach.probe import dns_message
from kubereach.probe.peer.prober import Prober
from kubereach.probe.peer.protocol import KINDS
from kubereach.probe.peer.server import Server

EXAMPLES = int(os.environ.get("KUBEREACH_FUZZ", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 120,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
#: bytes of memory that this process may take over what it had: what strangers send is not kept
MEMORY = 64 << 20


def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module", autouse=True)
def bounded():
    # Hypothesis reads the constants of all modules that are loaded: after many tests that takes more than this allows
    @settings(fuzzed, max_examples=50)
    @given(st.tuples(st.integers(), st.floats(), st.text(), st.binary()))
    def begin(_):
        pass

    begin()
    before = used()
    yield
    assert used() - before < MEMORY


# --- what strangers may say

NUMBERS = st.one_of(
    st.integers(-5, 100_000).map(str),
    st.sampled_from(
        ["", "x", "many", "1e3", "0x10", "+1", "1_0", " 7 ", "9" * 400, "99999999999999", "\x00"]
    ),
).map(str.encode)
WORD = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"GET", b"POST", b"HTTP/1.1", b"HTTP/1.0", b"/", b"/bytes", b"/ready?on=0", b"/end", b"200"]
    ),
    NUMBERS.map(lambda number: b"/bytes?size=" + number),
)
HEADER = st.one_of(
    st.binary(max_size=60),
    NUMBERS.map(lambda number: b"Content-Length: " + number),
    st.sampled_from(
        [
            b"Kubereach-Secret: ",
            b"Kubereach-Secret: " + NONCE.encode(),
            b"Connection: close",
            b"Transfer-Encoding: chunked",
            b"X: " + b"y" * 20_000,
        ]
    ),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
WHO = {
    "pod": "a",
    "node": "n",
    "nonce": NONCE,
    "client": "127.0.0.1",
    "port": 1,
    "echo": "kubereach 1.1",
    "late": 1.5,
}
IDENTITY = st.dictionaries(st.sampled_from([*WHO]), VALUE, max_size=3).flatmap(
    lambda changes: st.sets(st.sampled_from([*WHO])).map(
        lambda dropped: {k: v for k, v in {**WHO, **changes}.items() if k not in dropped}
    )
)
BODY = st.one_of(
    st.binary(max_size=300),
    IDENTITY.map(json.dumps).map(str.encode),
    VALUE.map(json.dumps).map(str.encode),
    st.integers(1, 30_000).map(lambda depth: b"[" * depth),
)


def message(start, headers, body):
    return b"\r\n".join([start, *headers]) + b"\r\n\r\n" + body


REQUEST = st.builds(message, st.lists(WORD, max_size=4).map(b" ".join), st.lists(HEADER, max_size=4), BODY)
WELL_FORMED = st.builds(
    lambda status, body: b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body),
    st.sampled_from([b"200 OK", b"404 Not Found", b"503 Service Unavailable", b""]),
    BODY,
)
ANSWER = st.one_of(
    st.binary(max_size=300),
    BODY.map(lambda body: body + b"\n"),
    WELL_FORMED,
    st.builds(message, st.lists(WORD, max_size=4).map(b" ".join), st.lists(HEADER, max_size=4), BODY),
)
DNS = st.builds(
    lambda head, rest: head + rest,
    st.binary(min_size=2, max_size=12),
    st.binary(max_size=100),
)


def cut(data, places):
    """The same bytes, in several pieces."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


PLACES = st.lists(st.integers(0, 1 << 16), max_size=3)


# --- requests to a backend


@pytest.fixture(scope="module")
def backend():
    """A backend in this process, so that its memory is ours; gives its ports."""
    server = Server("a", "", NONCE, secret=SECRET)
    ports = {kind: server.listen(kind, 0, "127.0.0.1") for kind in ("http", "tcp", "udp")}
    ended = threading.Event()
    failed = []

    def run():
        try:
            while not ended.is_set():
                server.step(0.02)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield ports
    ended.set()
    thread.join()
    assert not failed
    assert server.handlers.ready, "somebody changed it without the secret"


@fuzzed
@given(data=st.one_of(REQUEST, st.binary(max_size=300)), places=PLACES, closes=st.booleans())
def test_no_request_stops_a_backend(backend, data, places, closes):
    for kind in ("http", "tcp"):
        with socket.create_connection(("127.0.0.1", backend[kind]), 10) as client, suppress(OSError):
            for part in cut(data, places):
                client.sendall(part)
            if not closes:
                client.settimeout(0.002)
                client.recv(65536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, suppress(OSError):
        client.connect(("127.0.0.1", backend["udp"]))
        client.send(data[:60000])
        client.send(b"kubereach " + data[:60000])
    with socket.create_connection(("127.0.0.1", backend["http"]), 10) as client:
        client.sendall(b"GET /who HTTP/1.1\r\n\r\n")
        assert NONCE.encode() in client.recv(4096)


# --- answers to a prober


class Stranger:
    """Says one thing to whoever connects, or sends a datagram."""

    def __init__(self):
        self.parts, self.closes = [b""], True
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.kept = []
        for run in (self._streams, self._datagrams):
            threading.Thread(target=run, daemon=True).start()

    def _streams(self):
        with suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with suppress(OSError):
                    connection.settimeout(1)
                    for part in self.parts:
                        connection.sendall(part)
                if self.closes:
                    connection.close()
                else:
                    self.kept = [connection]

    def _datagrams(self):
        with suppress(OSError):
            while True:
                _, client = self.udp.recvfrom(65536)
                for part in self.parts[:2]:
                    self.udp.sendto(part[:60000], client)

    def close(self):
        for sock in (self.tcp, self.udp, *self.kept):
            sock.close()


@pytest.fixture(scope="module")
def stranger():
    made = Stranger()
    yield made
    made.close()


class Asking:
    """A prober in this process."""

    def __init__(self):
        self.lines = []
        self.prober = Prober(self.lines.append)
        self.number = 1000

    def answers(self, *requests):
        """What comes of these requests, in their order, as the whole answers."""
        numbers = []
        for request in requests:
            self.number += 1
            numbers.append(self.number)
            self.prober.submit(
                {"nonce": NONCE, "timeout": 0.1, "host": "127.0.0.1", **request, "id": self.number}
            )
        found = {}
        while set(numbers) - found.keys():
            self.prober.step()
            while self.lines:
                line = json.loads(self.lines.pop(0))
                if line["id"] in numbers and "began" not in line:
                    found[line["id"]] = line
        return [found[number] for number in numbers]


@pytest.fixture(scope="module")
def asking():
    return Asking()


@fuzzed
@given(data=ANSWER, places=PLACES, closes=st.booleans())
def test_no_answer_stops_a_prober(asking, stranger, backend, data, places, closes):
    """Nor does it take a stranger for a failure of its own, or for one of ours."""
    stranger.parts, stranger.closes = cut(data, places), closes
    kinds = [{"kind": kind} for kind in ("http", "tcp", "udp")]
    flows = [{"kind": "flow", "transport": transport} for transport in ("tcp", "udp")]
    more = [{"kind": "transfer", "size": 100, "stall": 0.1}, {"kind": "http", "status": True}]
    wanted = [{**one, "port": stranger.port} for one in (*kinds, *flows, *more)]
    *strange, ours = asking.answers(*wanted, {"kind": "http", "port": backend["http"], "timeout": 5})
    for one, answer in zip(wanted, strange, strict=True):
        (probe,) = SeriesResult.from_peer(answer).probes
        assert probe.answer.outcome in WORDS
        assert probe.answer.outcome != "local", one
        assert len(json.dumps(answer)) < 10_000
        if probe.answer.outcome == "ok" and not one.get("status"):
            assert probe.answer.nonce == NONCE
    assert ours["rows"][0][0] == "ok"


@fuzzed
@given(
    data=st.one_of(DNS, st.binary(max_size=200)),
    how=st.sampled_from(["answer", "stream", "other"]),
    places=PLACES,
)
def test_no_dns_message_stops_a_prober(asking, stranger, data, how, places):
    query = base64.b64decode(dns_message.query("a.example.", "A"))
    # most of them are answers to the question
    answer = query[:2] + b"\x80" + data
    stream = len(answer).to_bytes(2, "big") + answer
    stranger.parts = {"answer": [answer], "stream": cut(stream, places), "other": [data]}[how]
    stranger.closes = True
    message = base64.b64encode(query).decode()
    one = {"kind": "dns", "port": stranger.port, "message": message, "timeout": 0.02}
    for told in asking.answers({**one, "transport": "udp"}, {**one, "transport": "tcp"}):
        (probe,) = SeriesResult.from_peer(told).probes
        assert probe.answer.outcome != "local"
        for rdtype in ("A", "SRV", "CNAME"):
            if dns_message.read(probe.answer.detail, rdtype) is not None:
                dns_message.kept(probe.answer.detail)


# --- requests to a prober

FIELD = st.one_of(
    VALUE, st.sampled_from(["127.0.0.1", "::1", "", "\x00", "kubereach"]), st.integers(-2, 70_000)
)
FIELDS = (
    "id", "kind", "port", "count", "in_flight", "spacing", "delay", "timeout", "wanted", "nonce", "retransmits",
    "patient", "burst", "times", "message", "transport", "family", "ca", "server_name", "path", "status", "text",
    "size", "stall", "on", "end", "secret", "series", "pods", "within",
)  # fmt: skip


def line_of(kind, fields, port):
    # what it takes to be a request at all, most of which is then changed
    usual = {"id": 1, "kind": kind, "host": "127.0.0.1", "port": port, "count": 2, "timeout": 0.1}
    return json.dumps(
        {**usual, **{k: v for k, v in fields.items() if k != "host" or kind != "resolve"}}
    ).encode()


@pytest.fixture(scope="module")
def nobody():
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@fuzzed
@given(
    kind=st.sampled_from([*sorted(KINDS - {"resolve"}), "stop"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), FIELD, max_size=4),
    raw=st.one_of(st.none(), st.none(), st.binary(max_size=100)),
)
def test_no_request_stops_a_prober(asking, backend, nobody, kind, fields, raw):
    if kind != "file" and fields.get("port", 0) != 0:
        del fields["port"]  # whoever listens there is not ours to talk to
    asking.prober.submit_line(line_of(kind, fields, nobody) if raw is None else raw)
    (ours,) = asking.answers({"kind": "http", "port": backend["http"], "timeout": 5})
    assert ours["rows"][0][0] == "ok"
    for series in list(asking.prober.series.values()):
        asking.prober.submit({"id": 0, "kind": "stop", "series": series.id})
