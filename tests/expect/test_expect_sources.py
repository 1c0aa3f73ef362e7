"""Expectations about who is seen, who answers alike, and what nodes tell load balancers."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

import pytest
from backends import local_vantage
from test_expect import failures

from kubereach.expect import OWN, expect
from kubereach.kube.cluster import Node
from kubereach.model.address import Address
from kubereach.model.events import Note
from kubereach.model.outcome import Answer
from kubereach.probe import VantageGroup
from kubereach.probe.vantage import NODE, POD, OutsideVantage

NOBODY = Address("nodeport", "http", "127.0.0.1", 9)


def told(events):
    return [event.text for event in events if isinstance(event, Note)]


def test_the_address_that_backends_see_is_reported(serve, vantage, events):
    expect(vantage).to_report_source(serve("a").address())
    (line,) = told(events)
    assert line.endswith("as 127.0.0.1")


def test_no_answer_is_no_source(vantage):
    (failure,) = failures(lambda: expect(vantage).to_report_source(NOBODY))
    assert failure.expected == "12 answers in a row"


def test_vantages_that_agree(serve, multiplexer, context, events):
    both = VantageGroup([local_vantage(multiplexer, context, kind) for kind in (POD, NODE)])
    expect(both).to_agree(serve("a").address())
    expect(both).to_agree(NOBODY)
    assert told(events) == [
        "clusterip 127.0.0.1: answers at each of 2 vantages",
        "nodeport 127.0.0.1: refused at each of 2 vantages",
    ]


def test_vantages_that_do_not_agree(serve, multiplexer, context):
    both = VantageGroup([local_vantage(multiplexer, context, kind) for kind in (POD, NODE)])
    here = serve("a").address()
    (failure,) = failures(lambda: expect(both).to_agree([here, Address("clusterip", "http", here.host, 9)]))
    assert failure.evidence[0].startswith("answers at")


def test_what_is_only_reported_never_fails(serve, vantage, events):
    expect(vantage).to_report([serve("a").address(), NOBODY])
    assert [line.rpartition(": ")[2] for line in told(events)] == ["answered", "refused"]


def test_backends_by_the_node_of_the_vantage(serve, multiplexer, context):
    here = serve("a")
    vantage = local_vantage(multiplexer, context, POD, "one")
    expect(vantage).to_reach(here.address(), backends={"one": {"a"}, "two": {"b"}})
    (failure,) = failures(lambda: expect(vantage).to_reach(here.address(), backends={"two": {"a"}}))
    assert failure.got == "also answers from a"


@pytest.mark.parametrize(
    ("seen", "own"),
    [("203.0.113.1", True), ("198.51.100.7", True), ("172.18.0.3", False), ("10.244.1.1", False)],
)
def test_the_outside_may_be_behind_a_router_but_no_node(seen, own):
    vantage = OutsideVantage("outside", "", None, None, _Context())
    vantage.is_inside = lambda address: address.startswith(("172.18.", "10.244."))
    assert vantage.is_own(Answer("ok", client=seen, local="203.0.113.1")) is own


class _Context:
    class settings:
        refusal_interval, refusal_burst = 1.0, 5


def test_the_own_address_is_the_local_one_where_no_other_is_known(serve, multiplexer, context):
    vantage = local_vantage(multiplexer, context)
    vantage.address = ""
    expect(vantage).to_reach(serve("a").address(), source=OWN)


# --- health-check node ports


@dataclass
class Checked:
    """A Service with a health-check node port, on which `statuses` are answered in turn, the last one for ever."""

    statuses: list[int]
    by_node: dict[str, set[str]] = field(default_factory=dict)

    @property
    def endpoints(self):
        return self

    addresses = endpoints

    def health_check_on(self, node):
        front = socket.create_server(("127.0.0.1", 0), backlog=64)

        def run():
            while True:
                connection, _ = front.accept()
                connection.recv(4096)
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                connection.sendall(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\n{{}}".encode())
                connection.close()

        threading.Thread(target=run, daemon=True).start()
        return Address("health-check", "http", node.address, front.getsockname()[1])


def test_health_is_what_the_node_has(vantage):
    nodes = [Node("one", "127.0.0.1")]
    expect(vantage).to_get_health_checks(Checked([200], {"one": {"a"}}), nodes=nodes)
    expect(vantage).to_get_health_checks(Checked([503]), nodes=nodes)


def test_wrong_health_is_a_failure(vantage):
    nodes = [Node("one", "127.0.0.1")]
    (failure,) = failures(lambda: expect(vantage).to_get_health_checks(Checked([200]), nodes=nodes))
    assert (failure.expected, failure.got) == ("status 503", "status 200")


def test_health_that_changes_in_between_is_a_failure(vantage):
    nodes = [Node("one", "127.0.0.1")]
    checked = Checked([503] * 7 + [200])
    (failure,) = failures(lambda: expect(vantage).to_get_health_checks(checked, nodes=nodes))
    assert failure.got == "status 200, 503"
