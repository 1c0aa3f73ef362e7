"""Marked packets and half-closed connections, on loopback."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
from odd_servers import Odd

from kubereach.expect import expect
from kubereach.expect.packets import DSCP, ECN
from kubereach.model.address import Address
from kubereach.model.errors import NotConforming
from kubereach.model.events import Probed


def failures(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


@contextmanager
def firewall(port, lost=None):
    """A UDP address in front of a backend that loses datagrams with one TOS byte; gives it and what it has seen."""
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.bind(("127.0.0.1", 0))
    front.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    seen = set()

    def run():
        while True:
            data, (more, *_), _, client = front.recvmsg(65536, 64)
            if data == b"end":
                return
            seen.add(more[2][0])
            if more[2][0] == lost:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.settimeout(5)
                back.sendto(data, ("127.0.0.1", port))
                front.sendto(back.recv(65536), client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Address("pod", "udp", *front.getsockname(), note="pod-a on one"), seen
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", front.getsockname())
        thread.join()
        front.close()


def test_every_mark_is_sent(serve, vantage):
    with firewall(serve("a").ports["udp"]) as (address, seen):
        expect(vantage).to_take_marks(address)
    assert seen == {0, *DSCP.values(), *ECN.values()}


def test_a_mark_that_is_lost_is_named_and_no_other(serve, vantage):
    with firewall(serve("a").ports["udp"], DSCP["DSCP AF11"]) as (address, _):
        (failure,) = failures(lambda: expect(vantage).to_take_marks(address))
    assert failure.expected == "answers to 3 probes with DSCP AF11"
    assert failure.address.endswith("(pod-a on one, DSCP AF11)")


def test_marks_of_connections(serve, vantage, events):
    expect(vantage).to_take_marks(serve("a").address("tcp"))
    assert len([event for event in events if isinstance(event, Probed)]) == len(DSCP)


def test_an_address_that_gives_no_answer_fails_without_any_mark(vantage, serve):
    with firewall(serve("a").ports["udp"], 0) as (address, seen):
        (failure,) = failures(lambda: expect(vantage).to_take_marks(address))
    assert failure.expected == "an answer to a single small probe before"
    assert seen == {0}


def test_a_half_closed_connection_is_answered(serve, vantage):
    expect(vantage).to_answer_half_closed(serve("a").address("tcp"))


def test_the_answer_on_a_half_closed_connection_comes_after_its_end(serve):
    with socket.create_connection(("127.0.0.1", serve("a").ports["tcp"])) as client:
        client.settimeout(0.2)
        client.sendall(b"a question without an end")
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert b"a question without an end" in answer


def test_who_takes_half_a_close_for_a_whole_one_is_a_failure(serve, vantage):
    port = serve("a").ports["tcp"]

    def proxy(client):
        """Hands on lines; when the client closes its side it closes everything."""
        with socket.create_connection(("127.0.0.1", port)) as server:
            while data := client.recv(65536):
                server.sendall(data)
                if data.endswith(b"\n"):
                    client.sendall(server.recv(65536))
        client.close()

    address = Address("clusterip", "tcp", "127.0.0.1", Odd(proxy).port)
    expect(vantage).to_reach(address)
    (failure,) = failures(lambda: expect(vantage).to_answer_half_closed(address))
    assert failure.expected == "the whole answer on a half-closed connection"
