"""Expectations about what goes on: continuous probes, flows, affinity, and much at once."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from dataclasses import replace

import pytest
from backends import local_vantage
from test_expect import balancer, failures

from kubereach.expect import affinity, expect, tries
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Note, Probed
from kubereach.model.misses import LOST
from kubereach.model.outcome import Answer, Probe, SeriesResult
from kubereach.probe import VantageGroup
from kubereach.probe.path import Path
from kubereach.probe.vantage import NODE, POD


class Relay:
    """A UDP port that hands every so-manieth datagram on to a backend that can be changed; None drops them."""

    def __init__(self, port: int | None, every: int = 1) -> None:
        self.port = port
        self.every = every
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.address = Address("clusterip", "udp", "127.0.0.1", self.front.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for number in itertools.count():
            data, client = self.front.recvfrom(65536)
            port = self._backend(number)
            if port is None:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.settimeout(10)
                back.sendto(data, ("127.0.0.1", port))
                answer = back.recv(65536)
            if self._answers(number):
                self.front.sendto(answer, client)

    def _backend(self, number: int) -> int | None:
        """Where the datagram of this number goes."""
        return None if number % self.every else self.port

    def _answers(self, number: int) -> bool:
        """Whether the answer to it gets back."""
        return True


class Forgetful(Relay):
    """Loses the answers to the datagrams of these numbers."""

    def __init__(self, port: int, lost: range) -> None:
        self.lost = lost
        super().__init__(port)

    def _answers(self, number: int) -> bool:
        return number not in self.lost


@pytest.mark.parametrize(
    ("lost", "settling", "conforms"),
    [(range(40, 42), 10.0, True), (range(40, 42), 0.0, False), (range(0, 10_000, 20), 1.5, False)],
    ids=["once, while settling", "once, settled", "again and again"],
)
def test_a_path_that_loses_something_before_it_has_settled_is_held_again(
    serve, vantage, events, lost, settling, conforms
):
    relay = Forgetful(serve("a").ports["udp"], lost)
    settled = time.monotonic() + settling if settling else 0.0
    address = replace(relay.address, settled=settled)
    if conforms:
        expect(vantage).to_reach(address)
        (told,) = [event.text for event in events if isinstance(event, Note)]
        assert "2 timed out before it settled (for 0." in told
    else:
        assert "timed out" in failures(lambda: expect(vantage).to_reach(address))[0].got


class Moving(Relay):
    """Hands datagrams on to one backend, and after so many to another one."""

    def __init__(self, first: int, second: int, after: int) -> None:
        self.second, self.after = second, after
        super().__init__(first)

    def _backend(self, number: int) -> int | None:
        return self.second if number >= self.after else self.port


def test_endpoints_that_follow_one_another_are_not_all_of_them(serve, vantage):
    """A series that is under way when one endpoint takes the place of another sees both, though never together."""
    relay = Moving(serve("a").ports["udp"], serve("b").ports["udp"], 60)
    address = replace(relay.address, settled=time.monotonic() + 1.0)
    (failure,) = failures(lambda: expect(vantage).to_reach(address, backends={"a", "b"}, every=True))
    assert failure.got == "none from a"


# --- new connections all the time


def test_nothing_lost_while_something_changes(serve, vantage):
    backend = serve("a")
    with expect(vantage).to_keep_reaching(backend.address(), backends={"a"}):
        time.sleep(0.3)


def test_one_lost_connection_in_many_is_a_failure(serve, vantage):
    address = balancer(serve("a"), every=30)

    def change():
        with expect(vantage).to_keep_reaching(address):
            time.sleep(0.6)

    (failure,) = failures(change)
    assert "1 lost or late" in failure.got
    assert "after the start" in failure.evidence[0]


@pytest.mark.parametrize(("slowest", "error"), [(2.9, NotConforming), (3.1, CannotMeasure)])
def test_pods_that_ended_before_a_proxy_could_know_are_nobodys_failure(serve, vantage, slowest, error):
    address = balancer(serve("a"), every=30)
    vantage.context.followed = slowest
    with pytest.raises(error), expect(vantage).to_keep_reaching(address, drain=3):
        time.sleep(0.6)


def test_an_answer_of_another_pod_is_a_failure(serve, vantage):
    address = balancer(serve("a"), serve("b"))

    def change():
        with expect(vantage).to_keep_reaching(address, backends={"a"}):
            time.sleep(0.2)

    (failure,) = failures(change)
    assert failure.got == "answers from b"


def test_what_the_block_raises_is_told_and_the_probes_end(serve, vantage):
    backend = serve("a")
    with (
        pytest.raises(CannotMeasure, match="the change failed"),
        expect(vantage).to_keep_reaching(backend.address()),
    ):
        raise CannotMeasure("the change failed")
    assert expect(vantage).to_reach(backend.address()) is None


# --- flows


def test_a_flow_that_stays(serve, vantage):
    backend = serve("a")
    for kind in ("tcp", "udp"):
        with expect(vantage).flow(backend.address(kind), every=0.02) as flow:
            time.sleep(0.1)
            flow.must_stay({"a"})


def test_a_connection_that_is_cut_is_a_failure(serve, vantage):
    backend = serve("a")
    with expect(vantage).flow(backend.address("tcp"), every=0.02) as flow:
        backend.process.kill()
        backend.process.wait()
        time.sleep(0.1)
        (failure,) = failures(lambda: flow.must_stay({"a"}))
    assert "after its start" in failure.evidence[0]


def test_a_flow_that_moves(serve, vantage):
    one, other = serve("a"), serve("b")
    relay = Relay(one.ports["udp"])
    with expect(vantage).flow(relay.address, every=0.02) as flow:
        relay.port = other.ports["udp"]
        flow.must_move({"b"})


def test_a_flow_that_does_not_move_is_a_failure(serve, vantage):
    vantage.context.settings = vantage.context.settings.overridden(["converge_deadline=0.3"])
    relay = Relay(serve("a").ports["udp"])
    with expect(vantage).flow(relay.address, every=0.02) as flow:
        (failure,) = failures(lambda: flow.must_move({"b"}))
    assert "answered by a" in failure.evidence[0]


def test_a_flow_needs_a_port_that_echoes(serve, vantage):
    with pytest.raises(CannotMeasure, match="a flow needs an address"):
        expect(vantage).flow(serve("a").address("http")).__enter__()


# --- affinity


def test_one_endpoint_alone(serve, vantage):
    backend = serve("a")
    stuck = expect(vantage).to_stick(backend.address(), count=10)
    assert set(stuck.values()) == {"a"}
    assert expect(vantage).to_stick(backend.address(), count=2, pause=0.05, kept=stuck) == stuck


def test_two_endpoints_are_not_one(serve, vantage):
    (failure,) = failures(lambda: expect(vantage).to_stick(balancer(serve("a"), serve("b")), count=10))
    assert failure.expected == "one endpoint for all of 10 connections"
    assert failure.got == "a 5, b 5"


def test_another_endpoint_than_before_is_a_failure(serve, vantage):
    backend = serve("a")
    stuck = dict.fromkeys(expect(vantage).to_stick(backend.address(), count=2), "b")
    (failure,) = failures(lambda: expect(vantage).to_stick(backend.address(), count=2, kept=stuck))
    assert failure.expected.startswith("b, as before")


def test_a_client_that_was_starved_measures_nothing(vantage):
    answers = [Answer("ok", pod) for pod in "ab"]
    result = SeriesResult(
        tuple(Probe(answer, 0.001, at=at) for answer, at in zip(answers, (0.0, 5.0), strict=True)), 5.0
    )
    path = Path(vantage, Address("clusterip", "http", "127.0.0.1", 80), result)
    affinity._judge(path, False, None, 1.0)
    assert not path.failures
    assert "paused for 5" in path.unmeasured.message


def test_a_client_that_waited_for_an_answer_was_not_starved(vantage):
    answers = [Answer("timeout"), Answer("ok", "a")]
    result = SeriesResult(
        tuple(Probe(answer, 2.0, at=at) for answer, at in zip(answers, (0.0, 5.0), strict=True)), 5.0
    )
    path = Path(vantage, Address("clusterip", "http", "127.0.0.1", 80), result)
    affinity._judge(path, False, None, 1.0)
    (failure,) = path.failures
    assert (failure.got, failure.miss) == ("a 1", LOST)


def test_let_go_after_a_while(serve, vantage):
    addresses = [balancer(serve("a"), serve("b")) for _ in range(2)]
    stuck = {(vantage.name, str(address)): "b" for address in addresses}
    expect(vantage).to_leave_endpoint(addresses, after=0.05, kept=stuck, endpoints=1_000_000)


def test_too_few_tries_measure_nothing(serve, vantage):
    backend = serve("a")
    stuck = expect(vantage).to_stick(backend.address(), count=2)
    with pytest.raises(CannotMeasure, match="too few attempts"):
        expect(vantage).to_leave_endpoint(backend.address(), after=0.05, kept=stuck, endpoints=4)


def test_as_many_tries_as_chance_needs():
    assert tries(endpoints=4, clients=1) == 15
    assert 4.0**-15 < 1e-9 < 4.0**-14
    assert tries(endpoints=4, clients=3) == 5
    assert tries(endpoints=4, clients=1, nodes=3) == 16


def test_clients_of_one_node_are_told_apart(multiplexer, context):
    vantages = [
        local_vantage(multiplexer, context, POD, "one"),
        local_vantage(multiplexer, context, NODE, "one"),
    ]
    names = [vantage.name for vantage in vantages]
    services = [f"service {number}" for number in range(15)]
    together = {(name, service): "a" for name in names for service in services}
    (failure,) = failures(lambda: expect(VantageGroup(vantages)).to_spread_clients(together, endpoints=4))
    assert failure.vantage == ", ".join(names)
    apart = {**together, (names[0], services[7]): "b"}
    expect(VantageGroup(vantages)).to_spread_clients(apart, endpoints=4)
    with pytest.raises(CannotMeasure, match="too few attempts"):
        expect(vantages[0]).to_spread_clients(together, endpoints=4)


def test_held_for_ever_is_a_failure(serve, vantage):
    backend = serve("a")
    stuck = expect(vantage).to_stick(backend.address(), count=2)
    (failure,) = failures(
        lambda: expect(vantage).to_leave_endpoint(backend.address(), after=0.05, kept=stuck, endpoints=10**10)
    )
    assert failure.got == "all stayed on their endpoints"


# --- load


def test_a_burst(serve, vantage):
    expect(vantage).to_take_a_burst(serve("a").address(), count=200)


def test_a_burst_of_which_one_is_lost(serve, vantage):
    (failure,) = failures(lambda: expect(vantage).to_take_a_burst(balancer(serve("a"), every=40), count=50))
    assert failure.expected == "answers to all of 50 simultaneous connections"


def test_a_transfer(serve, vantage):
    expect(vantage).to_transfer(serve("a").address(), size=1 << 20)


def test_every_endpoint_is_given_a_transfer(serve, vantage, events):
    expect(vantage).to_transfer(balancer(serve("a"), serve("b")), size=1 << 16, backends={"a", "b"})
    (probed,) = [event for event in events if isinstance(event, Probed)]
    assert probed.outcomes == {"ok": 2}


def test_an_endpoint_that_no_connection_meets_is_a_failure(serve, vantage):
    (failure,) = failures(
        lambda: expect(vantage).to_transfer(serve("a").address(), size=1 << 16, backends={"a", "b"})
    )
    assert failure.got == "no connection to b among 135"


def test_datagrams_over_several_packets(serve, vantage):
    expect(vantage).to_carry(serve("a").address("udp"), size=4000)


def test_datagrams_that_are_too_large_tell_which_are_not(serve, vantage):
    """A relay that takes datagrams of up to 1350 bytes alone."""
    relay = Relay(serve("a").ports["udp"])
    run = relay.front.recvfrom

    class Narrow:
        def recvfrom(self, size):
            while True:
                data, client = run(size)
                if len(data) <= 1350:
                    return data, client

        sendto = relay.front.sendto

    front = relay.front
    relay.front = Narrow()
    expect(vantage).to_reach(relay.address)
    (failure,) = failures(lambda: expect(vantage).to_carry(relay.address, size=4000))
    front.close()
    assert failure.evidence == (
        "answers to datagrams of up to 1300 bytes, but not to datagrams of 1372 bytes",
    )
