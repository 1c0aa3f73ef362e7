"""Faults that are drawn: the same for the same seed, and rules that the kernel takes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from kubereach.selftest import random_fault
from kubereach.selftest.injection import changes
from kubereach.selftest.lab_facts import Facts, Node, Pod
from kubereach.selftest.nft_rules import TABLE, matching, needs_world, scripts
from kubereach.selftest.random_fault import EVERY, Match, RandomFault, Window, draw

FACTS = Facts(
    nodes=tuple(Node(f"kubereach-{n}", f"172.18.0.{2 + n}", f"10.244.{n}.0/24") for n in EVERY),
    services=("10.96.0.0/16",),
    dns_service="10.96.0.10",
    replicas=(Pod("coredns-a", "10.244.0.2", 0), Pod("coredns-b", "10.244.1.2", 1)),
    backends=tuple(Pod(f"backend-{n}", f"10.244.{n}.6", n) for n in EVERY),
    lonely=Pod("lonely", "10.244.1.9", 1),
    cluster_ips=dict.fromkeys(random_fault.SERVICES, "10.96.3.7"),
    balanced=("172.19.255.1", "172.19.255.1"),
)
#: what standard input has is applied, and then a fault's table taken away, in a network namespace of its own
_APPLY = """
import sys
from pyroute2.iproute.linux import IPRoute
from kubereach.selftest.nft_rules import REMOVED
from kubereach_lab import syscalls
from kubereach_lab.nftables import refusal
try:
    syscalls.unshare(syscalls.CLONE_NEWNET)
except PermissionError:
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
with IPRoute() as ip:
    ip.link("add", ifname="eth0", kind="veth", peer={"ifname": "eth1"})
print(refusal(sys.stdin.read()) or refusal(REMOVED))
"""


def test_a_seed_and_a_number_give_one_fault() -> None:
    assert draw(7, 3) == draw(7, 3)
    assert len({draw(7, number) for number in range(1, 60)}) > 50
    assert draw(7, 3) != draw(8, 3)


def test_a_seed_that_was_printed_means_the_same_tomorrow() -> None:
    assert [draw(1, number).in_words for number in (1, 4, 12)] == [
        "reset: TCP packets for 3 s of every 10 s, to cluster IPs on node 2",
        "throttle: packets, to the backend of node 0",
        "drop: packets from the upper half of source ports, to the backend of node 2",
    ]


def test_everything_is_drawn() -> None:
    drawn = [draw(1, number) for number in range(1, 1500)]
    pairs = Counter((one.place.kind, one.action) for one in drawn)
    known = {(kind, action) for kind, (_, all) in random_fault._PLACES.items() for action, _ in all}
    assert pairs.keys() == known
    for name, usual in vars(Match()).items():
        assert any(getattr(one.match, name) != usual for one in drawn), name


def test_only_what_some_packet_meets_is_drawn() -> None:
    for number in range(1, 1500):
        fault = draw(2, number)
        match, place = fault.match, fault.place
        if fault.action == random_fault.RESET:
            assert match.protocol == "tcp", fault
        if place.kind in (random_fault.ENDPOINT, random_fault.REPLICA) and not place.toward:
            assert not (match.upper_half or match.ports or match.state), fault
        if place.kind in (random_fault.REPLICA, random_fault.DNS_SERVICE):
            assert match.above == 0 or not place.toward, fault


def test_the_kernel_takes_the_rules_of_every_fault() -> None:
    made = {text for number in range(1, 600) for text in scripts(draw(3, number), FACTS).values()}
    assert len(made) > 300
    # in one transaction, which is quick, each as a table of its own but for the first
    first, *others = sorted(made)
    renamed = [text.replace(TABLE, f"{TABLE}-{index}", 1) for index, text in enumerate(others)]
    done = subprocess.run(
        [sys.executable, "-c", _APPLY], input="".join([first, *renamed]), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)


def test_rules_are_on_the_nodes_of_the_place() -> None:
    place = random_fault.Place(random_fault.PAIR, (2,), to=0)
    (rules,) = scripts(RandomFault(1, 1, place), FACTS).values()
    assert "ip saddr 10.244.2.0/24 ip daddr 10.244.0.0/24 drop" in rules
    everywhere = random_fault.Place(random_fault.DNS_SERVICE, EVERY)
    assert list(scripts(RandomFault(1, 1, everywhere), FACTS)) == [node.name for node in FACTS.nodes]
    # a replica's rules are where its pod is
    replica = random_fault.Place(random_fault.REPLICA, (), replica=1, toward=False)
    ((node, rules),) = scripts(RandomFault(1, 1, replica), FACTS).items()
    assert node == "kubereach-1"
    assert "ip saddr 10.244.1.2 drop" in rules


def test_what_a_run_makes_is_waited_for_only_where_it_is_needed() -> None:
    assert needs_world(RandomFault(1, 1, random_fault.Place(random_fault.ENDPOINT, (0,))))
    assert not needs_world(RandomFault(1, 1, random_fault.Place(random_fault.PAIR, (0,), to=1)))


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (Match(), ""),
        (Match(protocol="udp", share=10), "meta l4proto udp numgen random mod 100 < 10"),
        (
            Match(ports=(80, 81), above=1300),
            "meta l4proto { tcp, udp } th dport { 80, 81 } meta length > 1300",
        ),
    ],
)
def test_restrictions_in_the_words_of_nftables(match: Match, words: str) -> None:
    assert matching(match, random_fault.DROP) == words


def test_windows() -> None:
    assert list(changes(None)) == []
    assert list(changes(Window(8, 20))) == [(False, 0), (True, 8), (False, 28)]
    again = changes(Window(0, 4, 10))
    assert [next(again) for _ in range(4)] == [(False, 4), (True, 10), (False, 14), (True, 20)]
