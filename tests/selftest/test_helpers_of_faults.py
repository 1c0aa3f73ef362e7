"""What random faults need beside rules: a name server that knows no name, and ways that take longer."""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import sys
import time

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from kubereach.selftest import random_fault as drawn
from kubereach.selftest.slow_way import SlowWay, slow_ways
from tests.selftest.test_random_fault import FACTS


def test_a_name_server_that_knows_no_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from kubereach.selftest.false_dns import answer_falsely; answer_falsely('127.0.0.1', {port})"
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        answer = _asked(port)
    finally:
        server.kill()
        server.wait()
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.question[0].name.to_text() == "kubernetes.default.svc.cluster.local."


def _asked(port: int) -> dns.message.Message:
    query = dns.message.make_query("kubernetes.default.svc.cluster.local.", "A")
    deadline = time.monotonic() + 30
    while True:
        try:
            return dns.query.udp(query, "127.0.0.1", port=port, timeout=0.5)
        except (dns.exception.Timeout, OSError):
            if time.monotonic() > deadline:
                raise


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        (drawn.PAIR, {"kubereach-1": ["kubereach-2"]}),
        (drawn.EGRESS, {"kubereach-1": ["kubereach-0", "kubereach-2"]}),
        (drawn.INGRESS, {"kubereach-0": ["kubereach-1"], "kubereach-2": ["kubereach-1"]}),
    ],
)
def test_from_which_nodes_to_which_it_takes_longer(kind: str, ways: dict[str, list[str]]) -> None:
    assert slow_ways(drawn.Place(kind, (1,), to=2), FACTS) == ways


def test_a_packet_goes_on_to_the_node_that_has_its_address() -> None:
    sent = []

    class Underlay:
        def sendto(self, packet: bytes, to: tuple[object, ...]) -> None:
            sent.append((packet, to[-1]))

    ranges = {ipaddress.IPv4Network(f"10.244.{n}.0/24"): bytes([n]) * 6 for n in (0, 2)}
    way = SlowWay(ranges, underlay=Underlay())  # type: ignore[arg-type]
    packet = struct.pack("!B15x4s", 0x45, socket.inet_aton("10.244.2.7"))
    for one in (packet, b"\x60" + packet[1:]):
        way._send(one)
    assert sent == [(packet, b"\x02" * 6)]
