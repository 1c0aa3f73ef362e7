"""Packets that arrive twice are counted, by probe."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from backends import NONCE

from kubereach.probe import Series
from kubereach.probe.peer import again


def answers(sock, times):
    """Answer each datagram so many times, from two pods in turn."""
    number = 0
    while True:
        try:
            data, client = sock.recvfrom(1000)
        except OSError:
            return
        who = {"pod": f"pod-{number % 2}", "node": "worker", "nonce": NONCE, "client": client[0], "port": 1}
        for _ in range(times(number)):
            sock.sendto(json.dumps({**who, "echo": data.decode()}).encode(), client)
        number += 1


@pytest.fixture
def doubling():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def start(times):
            threading.Thread(target=answers, args=(sock, times), daemon=True).start()
            return sock.getsockname()[1]

        yield start


def run(vantage, port):
    return vantage.run(Series("udp", "127.0.0.1", port, count=200, nonce=NONCE, patient=True))


def test_a_second_answer_is_counted_where_it_came(vantage, doubling):
    # of the endpoint that has the even numbers
    result = run(vantage, doubling(lambda number: 2 - number % 2))
    assert result.outcomes == {"ok": 200}
    by_pod = {one.pod: one for one in result.answered}
    assert 50 <= by_pod["pod-0"].duplicates <= 100
    assert by_pod["pod-1"].duplicates == 0
    assert result.duplicates == by_pod["pod-0"].duplicates
    assert [one.node for one in result.answered] == ["worker", "worker"]
    assert sum(len(one.latencies) for one in result.answered) == 200


def test_one_answer_each_is_none(vantage, serve, doubling):
    assert run(vantage, doubling(lambda _: 1)).duplicates == 0
    backend = serve("a")
    for kind in ("http", "tcp", "udp"):
        series = Series(kind, "127.0.0.1", backend.ports[kind], count=40, nonce=NONCE, retransmits=True)
        assert vantage.run(series).duplicates == 0


@pytest.mark.parametrize(
    ("told", "resent", "twice"),
    [(0, 0, False), (1, 0, True), (1, 1, False), (2, 1, True), (None, None, False), (None, 0, False)],
)
def test_a_segment_that_was_sent_twice_arrives_twice_by_right(monkeypatch, told, resent, twice):
    numbers = {again.DSACKS: told, again.TOTAL_RETRANS: resent}
    monkeypatch.setattr(again, "tcp_info", lambda _, offset: numbers[offset])
    with socket.socket() as sock:
        assert again.segment_arrived_twice(sock) is twice
