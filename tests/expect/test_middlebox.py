"""Negatives where somebody answers for addresses that nobody has: here 127.0.0.8 and 127.0.0.9."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress

import pytest
from backends import NONCE, local_vantage
from test_expect import closed, failures

from kubereach.expect import expect, middlebox
from kubereach.kube.client import ApiError
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Note, Probed
from kubereach.probe import VantageGroup
from kubereach.probe.vantage import NODE, POD
from kubereach.world.unallocated import Unallocated, free_in

TARGET, TEST_NET, UNALLOCATED = "127.0.0.7", "127.0.0.8", "127.0.0.9"


def page(status, server=b"portal", body=b""):
    return b"HTTP/1.1 %s\r\nServer: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, server, len(body), body)


NOT_FOUND = page(b"404 Not Found", body=b"no such site")
SILENT = None


class Network:
    """Answers at every address of the loopback, at one port, as `answers` says of the address; else by a reset."""

    def __init__(self, answers):
        self.answers, self.kept = answers, []
        self.sock = socket.create_server(("0.0.0.0", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with suppress(OSError):
            while True:
                connection, _ = self.sock.accept()
                with suppress(OSError):
                    self._answer(connection, self.answers.get(connection.getsockname()[0], b""))

    def _answer(self, connection, answer):
        self.kept.append(connection)
        if answer is SILENT:
            return
        connection.settimeout(1)
        connection.recv(65536)
        connection.sendall(answer)
        if not answer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def address(self, kind="http", host=TARGET):
        return Address("clusterip", kind, host, self.port)

    def close(self):
        for sock in (self.sock, *self.kept):
            sock.close()


@pytest.fixture
def network(monkeypatch, context):
    """Starts a network: ``network({address: answer})``."""
    monkeypatch.setattr(middlebox, "NOBODY", {4: TEST_NET, 6: "::1"})
    context.unallocated = lambda version: [UNALLOCATED] if version == 4 else []
    made = []

    def start(answers):
        made.append(Network(answers))
        return made[-1]

    yield start
    for one in made:
        one.close()


def told(events):
    return [event.text for event in events if isinstance(event, Note)]


def test_what_nobodys_address_is_answered_too_is_the_middleboxs(serve, vantage, network, events):
    """No endpoint has answered, which is all that is asked; and it is told, once for a vantage."""
    box = network(dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), NOT_FOUND))
    control = serve("a").address()
    for kind in ("http", "tcp"):
        expect(vantage).not_to_be_answered(box.address(kind), control=control)
    assert told(events) == [
        "a middlebox answers for unassigned addresses, probed from pod@one: HTTP/1.1 404 Not "
        "Found, Server: portal"
    ]
    assert [event.outcomes for event in events if isinstance(event, Probed)] == [{"foreign": 4}] * 2


def test_each_vantage_tells_of_its_middlebox(serve, multiplexer, context, network, events):
    box = network(dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), NOT_FOUND))
    both = VantageGroup([local_vantage(multiplexer, context, kind) for kind in (POD, NODE)])
    expect(both).not_to_be_answered(box.address(), control=serve("a").address())
    assert [text.partition(" from ")[2][:8] for text in told(events)] == ["pod@one:", "node@one"]


@pytest.mark.parametrize("nobody", [TEST_NET, UNALLOCATED])
def test_one_of_nobodys_addresses_is_enough(serve, vantage, network, nobody):
    """Rules of a node may refuse the whole Service range, and routers what is of TEST-NET."""
    others = dict.fromkeys({TEST_NET, UNALLOCATED} - {nobody}, SILENT)
    box = network({TARGET: NOT_FOUND, nobody: NOT_FOUND, **others})
    expect(vantage).not_to_be_answered(box.address(), control=serve("a").address())


def test_a_connection_that_a_middlebox_resets_is_its_answer_too(serve, vantage, network):
    box = network({})
    expect(vantage).not_to_be_answered(box.address(), control=serve("a").address())


@pytest.mark.parametrize(
    ("answer", "nobodys"),
    [
        (NOT_FOUND, page(b"502 Bad Gateway")),
        (NOT_FOUND, page(b"404 Not Found", server=b"nginx")),
        (NOT_FOUND, SILENT),
        (NOT_FOUND, b""),
        (page(b"200 OK", body=b"welcome"), NOT_FOUND),
    ],
    ids=["other status", "other server", "silence", "reset", "success"],
)
def test_an_answer_that_nobodys_addresses_do_not_give_fails(serve, vantage, network, answer, nobodys, events):
    box = network({TARGET: answer, TEST_NET: nobodys, UNALLOCATED: nobodys})
    (failure,) = failures(
        lambda: expect(vantage).not_to_be_answered(box.address(), control=serve("a").address())
    )
    assert "answered by a foreign server" in failure.got
    assert not told(events)


@pytest.mark.parametrize("nonce", [NONCE, "another run's"])
def test_a_peers_answer_is_never_a_middleboxs(serve, vantage, network, nonce):
    """Not even if everybody gave it: a service proxy that leads every address to some pod."""
    who = {"pod": "a", "node": "n", "nonce": nonce, "client": "127.0.0.1", "port": 1}
    box = network(
        dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), page(b"200 OK", body=json.dumps(who).encode()))
    )
    assert failures(lambda: expect(vantage).not_to_be_answered(box.address(), control=serve("a").address()))


def test_one_answer_of_somebody_among_those_of_a_middlebox_fails(serve, vantage, network):
    box = network(dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), NOT_FOUND))
    real, count = box._answer, [0]

    def sometimes(connection, answer):
        count[0] += connection.getsockname()[0] == TARGET
        once = connection.getsockname()[0] == TARGET and count[0] % 4 == 0
        real(connection, page(b"200 OK", body=b"a pod") if once else answer)

    box._answer = sometimes
    assert failures(lambda: expect(vantage).not_to_be_answered(box.address(), control=serve("a").address()))


def test_a_refusal_cannot_be_seen_behind_a_middlebox(serve, vantage, network, events):
    box = network(dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), NOT_FOUND))
    with pytest.raises(
        CannotMeasure, match="a middlebox answers, as it does for unassigned addresses"
    ) as raised:
        expect(vantage).to_be_refused(box.address(), control=serve("a").address())
    assert f"pod@one -> clusterip http://{TARGET}:{box.port}: HTTP/1.1 404" in str(raised.value)
    # neither conforming nor not: the matrix has nothing of that path
    assert not [event for event in events if isinstance(event, Probed)]


def test_what_fails_elsewhere_is_a_failure_all_the_same(serve, vantage, network):
    box = network(dict.fromkeys((TARGET, TEST_NET, UNALLOCATED), NOT_FOUND))
    backend = serve("a")
    found = failures(
        lambda: expect(vantage).to_be_refused([box.address(), backend.address()], control=backend.address())
    )
    assert [failure.evidence for failure in found] == [("answered by pod a",)]


def test_nobodys_addresses_are_left_alone_where_all_is_well(serve, vantage, network):
    box = network({})
    expect(vantage).to_be_refused(closed(), control=serve("a").address())
    assert not box.kept


# --- an address of the Service range that no Service has


def test_an_unallocated_address_is_of_those_that_nobody_gets_without_asking(monkeypatch):
    offered = []
    monkeypatch.setattr("random.choice", lambda free: offered.extend(map(str, free)) or free[0])
    assert free_in("10.96.0.0/16", {"10.96.0.10"}) == "10.96.0.2"
    assert offered == [f"10.96.0.{n}" for n in range(2, 256) if n != 10]


def test_a_small_range_and_one_without_a_free_address():
    everything = {f"10.0.0.{n}" for n in range(16)}
    assert free_in("10.0.0.0/28", everything - {"10.0.0.9"}) == "10.0.0.9"
    assert free_in("10.0.0.0/28", everything) is None
    assert free_in("fd00:10:96::/112", set()).startswith("fd00:10:96::")


class Cluster:
    service_cidrs = ("10.0.0.0/28", "fd00::/120")


class Api:
    def __init__(self, services):
        self.services, self.asked = services, 0

    def items(self, _):
        self.asked += 1
        if isinstance(self.services, Exception):
            raise self.services
        return [{"spec": {"clusterIPs": addresses}} for addresses in self.services]


def test_unallocated_addresses_are_looked_for_once():
    api = Api([["10.0.0.1"], ["None"], None, [f"10.0.0.{n}" for n in range(2, 14)]])
    found = Unallocated(api, Cluster())
    assert found.of(4) == ["10.0.0.14"]
    assert len(found.of(6)) == 1
    assert api.asked == 1


@pytest.mark.parametrize(
    "error", [ApiError(403, "Forbidden", "no", "list services"), CannotMeasure("the API server is away")]
)
def test_where_services_cannot_be_listed_none_is_known(error):
    assert Unallocated(Api(error), Cluster()).of(4) == []
