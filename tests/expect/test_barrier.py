"""Silence of an older Service: judged once a younger one of the same kind is served."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from odd_servers import unused_port

from kubereach.expect import barrier, expect, must_stay_silent
from kubereach.model.address import Address
from kubereach.model.convergence import CREATED, ConvergenceDeadline
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
        yield Younger(port, frozenset({self.proxy.backend.pod}), ConvergenceDeadline.after(CREATED, 10.0))


@pytest.fixture
def proxy(serve):
    made = SlowProxy(serve("a"))
    yield made
    for listener in made.closing:
        listener.close()


def older():
    return Address(
        "clusterip", "http", "127.0.0.1", unused_port(), settled=ConvergenceDeadline.after(CREATED, 2.0)
    )


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
    assert world.made == [("over-backend", "after-older", {"ipFamilies": ["IPv4"]}, {})]


def test_the_younger_one_is_of_the_ip_families_that_are_judged(monkeypatch):
    """Whoever serves IPv4 already may not have looked at IPv6 yet."""
    expectation = SimpleNamespace(to_reach=lambda *_, **__: None, not_to_be_answered=lambda *_, **__: None)
    monkeypatch.setattr(barrier, "expect", lambda _: expectation)
    world = World(SimpleNamespace(serve=lambda *_: None, backend=SimpleNamespace(pod="a")))
    v4 = Address("clusterip", "http", "10.96.0.1", 80)
    v6 = Address("clusterip", "http", "fd00:10:96::1", 80, family=6)
    for where in (v6, [v6, v4], v4):
        must_stay_silent(world, None, where, than="older", reached=Younger.vip)
    must_stay_silent(world, None, v6, than="older", reached=Younger.vip, ipFamilies=["IPv6", "IPv4"])
    assert [spec for _, _, spec, _ in world.made] == [
        {"ipFamilies": ["IPv6"]},
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
        {"ipFamilies": ["IPv4"]},
        {"ipFamilies": ["IPv6", "IPv4"]},
    ]


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
