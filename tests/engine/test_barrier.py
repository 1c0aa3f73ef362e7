"""Silence of an older Service: judged once a younger one of the same kind is served."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from test_peer import unused_port

from kubereach.expect import expect, must_stay_silent
from kubereach.model.address import Address
from kubereach.model.convergence import CREATED, Settling
from kubereach.model.errors import NotConforming

#: seconds for which nobody serves any Service
LATE = 1.5


class SlowProxy:
    """What serves Services some time after they were made: each at a port of this machine, by one backend."""

    def __init__(self, backend):
        self.backend = backend
        self.closing = []

    def serve(self, port, after):
        threading.Thread(target=self._serve, args=(port, after), daemon=True).start()

    def _serve(self, port, after):
        time.sleep(after)
        listener = socket.create_server(("127.0.0.1", port), backlog=500)
        self.closing.append(listener)
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.backend.ports["http"]))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@dataclass
class Younger:
    port: int
    endpoints: frozenset
    settled: float

    def vip(self):
        return Address("clusterip", "http", "127.0.0.1", self.port, settled=self.settled)


class World:
    """Makes Services that a slow proxy serves."""

    def __init__(self, proxy):
        self.proxy, self.made = proxy, []

    @contextmanager
    def create(self, stem, name, spec, **more):
        self.made.append((stem, name, spec, more))
        port = unused_port()
        self.proxy.serve(port, LATE)
        yield Younger(port, frozenset({self.proxy.backend.pod}), Settling.after(CREATED, 10.0))


@pytest.fixture
def proxy(serve):
    made = SlowProxy(serve("a"))
    yield made
    for listener in made.closing:
        listener.close()


def older():
    return Address("clusterip", "http", "127.0.0.1", unused_port(), settled=Settling.after(CREATED, 2.0))


def test_a_service_that_is_served_late_though_it_must_not_be(vantage, proxy):
    """The first look at it, right after it was made, finds nobody."""
    control = Address("clusterip", "http", "127.0.0.1", proxy.backend.ports["http"])
    expect(vantage).to_reach(control)
    address = older()
    proxy.serve(address.port, LATE)
    expect(vantage).not_to_be_answered(address, control=control)  # too early to mean anything
    world = World(proxy)
    with pytest.raises(NotConforming) as error:
        must_stay_silent(world, vantage, address, than="older", reached=Younger.vip)
    (failure,) = error.value.failures
    assert "answered by pod a" in failure.evidence[0]
    assert world.made == [("over-backend", "after-older", {}, {})]


def test_a_service_that_nobody_serves(vantage, proxy):
    must_stay_silent(World(proxy), vantage, older(), than="older", reached=Younger.vip)


def test_a_younger_service_that_is_not_served_proves_nothing(vantage, proxy):
    proxy.serve = lambda *_: None
    with pytest.raises(NotConforming) as error:
        must_stay_silent(
            World(proxy),
            vantage,
            older(),
            than="older",
            reached=lambda it: replace_settled(it),
            type="LoadBalancer",
        )
    assert "answers in a row" in error.value.failures[0].expected


def replace_settled(younger):
    return Address("clusterip", "http", "127.0.0.1", younger.port, settled=time.monotonic() + 0.3)
