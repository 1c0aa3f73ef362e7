"""What stands out in a run, and what does not: runs are simulated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from kubereach.model.outcome import Answered
from kubereach.report.outliers import outliers
from kubereach.report.outliers.places import Cell, Count, find, tail
from kubereach.report.record import Path

NODES = ("control-plane", "worker", "worker2")
#: seconds that a probe takes more, by client, endpoint's node and number of the check
Extra = Callable[[str, str, int], float]
Checks = list[list[Path]]


def pod_on(node: str) -> str:
    return f"backend-{node}"


def path(kind: str, node: str, way: str, probe: str, answered: list[Answered], **more: object) -> Path:
    latencies = tuple(seconds for one in answered for seconds in one.latencies)
    made = Path(
        f"{kind}@{node}", kind, f"cluster-{node}", way, "10.0.0.1:80", True, {"ok": len(latencies)}, latencies,
        0.0, probe=probe, answered=tuple(answered),
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def run(
    chance: random.Random,
    extra: Extra = lambda _client, _server, _check: 0.0,
    load: float = 0.0,
    checks: int = 8,
    nodes: tuple[str, ...] = NODES,
    count: int = 6,
) -> Checks:
    """Checks of all pairs of nodes, over pods' own addresses and over a cluster IP, with latencies of heavy tails.

    With a `load`, in seconds, a node is busy in some checks and tells nothing of it: what it asks, and what it is
    asked, takes about as much longer.
    """
    found: Checks = []
    zones = {node: chance.choice((0.0, 0.001)) for node in nodes}
    for number in range(checks):
        busy = {node: load * (chance.random() < 0.4) for node in nodes}

        def seconds(client: str, server: str, number: int = number, busy: dict[str, float] = busy) -> float:
            plain = 0.0004 * chance.lognormvariate(0, 0.5) + 0.0002 * chance.paretovariate(1.2)
            far = 0.0 if client == server else 0.0003 + abs(zones[client] - zones[server])
            waits = sum(chance.expovariate(1 / busy[one]) for one in (client, server) if busy[one])
            return plain + far + waits + extra(client, server, number)

        made = []
        for kind in ("pod", "node"):
            for client in nodes:
                by_pod = [
                    Answered(
                        pod_on(server),
                        f"cluster-{server}",
                        tuple(seconds(client, server) for _ in range(count)),
                    )
                    for server in nodes
                ]
                made += [path(kind, client, "pod", "http", [one]) for one in by_pod]
                made.append(path(kind, client, "clusterip", "http", by_pod))
        found.append(made)
    return found


def texts(checks: Checks) -> list[str]:
    return [one.text for one in outliers(checks)]


@pytest.mark.parametrize("load", [0.0, 0.003, 0.03, 0.1])
def test_healthy_runs_have_none(load: float) -> None:
    chance = random.Random(f"healthy {load}")
    noted = [found for _ in range(250) if (found := texts(run(chance, load=load, count=3)))]
    assert noted == []


def between(first: str, second: str) -> Extra:
    return lambda client, server, _: 0.2 if {client, server} == {first, second} else 0.0


@pytest.mark.parametrize("load", [0.0, 0.003, 0.01])
def test_a_slow_pair_is_noted(load: float) -> None:
    chance = random.Random(load)
    for _ in range(20):
        checks = run(chance, between("worker", "worker2"), load)
        (found,) = outliers(checks)
        assert found.note.startswith("outlier: between worker and worker2: p50 2")
        place = found.place
        assert (place.source, place.target, place.both, place.node, place.pod) == (
            "worker",
            "worker2",
            True,
            "",
            "",
        )
        assert (found.what, found.unit) == ("latency", "ms")
        assert found.value > 195
        assert found.others < 30 + 1000 * load


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        (lambda c, s, _: 0.2 * (c != s and "worker" in (c, s)), "between worker and other nodes"),
        (lambda client, server, _: 0.2 * (client == "worker" != server), "from worker to other nodes"),
        (lambda client, server, _: 0.2 * (server == "worker" != client), "from other nodes to worker"),
        (lambda client, server, _: 0.2 * ("worker" in (client, server)), "on worker"),
        (lambda _client, server, _: 0.2 * (server == "worker"), "to pod backend-worker on worker"),
        (lambda client, server, _: 0.2 * (client == server == "worker"), "from worker to worker"),
    ],
)  # fmt: skip
def test_the_place_is_no_larger_and_no_smaller_than_it_is(extra: Extra, place: str) -> None:
    (found,) = outliers(run(random.Random(1), extra))
    assert found.place.in_words == place


def test_two_slow_pairs_are_two_outliers() -> None:
    nodes = ("a", "b", "c", "d")
    slow = ({"a", "b"}, {"c", "d"})
    checks = run(random.Random(1), lambda c, s, _: 0.2 * ({c, s} in slow), nodes=nodes, checks=12)
    assert sorted(one.place.in_words for one in outliers(checks)) == ["between a and b", "between c and d"]


def test_zones_are_none_and_neither_is_what_is_slow_everywhere_or_once() -> None:
    assert texts(run(random.Random(1), lambda c, s, _: 0.012 * (c != s and "worker" in (c, s)))) == []
    assert texts(run(random.Random(1), lambda _client, _server, _: 0.2)) == []
    assert texts(run(random.Random(1), lambda c, s, number: 0.2 * (number == 3 and "worker" in (c, s)))) == []
    # two nodes have one way between them: nothing to compare it with
    assert texts(run(random.Random(1), lambda c, s, _: 0.2 * (c != s), nodes=NODES[:2])) == []


def test_a_series_whose_machine_was_late_is_not_judged() -> None:
    checks = run(random.Random(1), lambda client, server, _: 0.2 * (client == "worker" != server))
    assert len(texts(checks)) == 1
    late = [[replace(p, late=0.25 * p.vantage.endswith("@worker")) for p in paths] for paths in checks]
    assert texts(late) == []
    # what was late by less does not explain it
    late = [[replace(p, late=0.06 * p.vantage.endswith("@worker")) for p in paths] for paths in checks]
    assert len(texts(late)) == 1


def test_failed_series_and_ways_over_third_nodes_are_not_compared() -> None:
    checks = run(random.Random(1), between("worker", "worker2"))
    assert texts([[replace(p, conforming=False) for p in paths] for paths in checks]) == []
    assert texts([[replace(p, way="nodeport") for p in paths] for paths in checks]) == []
    assert texts([[replace(p, probe="burst") for p in paths] for paths in checks]) == []


def changes(
    chance: random.Random, stalled: str = "", at: frozenset[int] = frozenset(), **more: object
) -> Checks:
    """Thirty changes of Services, of which those `at` these numbers are followed 20 s late by one node."""
    found: Checks = []
    for number in range(30):
        slow = min(4.5, 0.3 * chance.lognormvariate(0, 1))
        made = []
        for kind in ("pod", "node"):
            for node in NODES:
                seconds = slow * chance.uniform(0.5, 1.5) + 20 * (node == stalled and number in at)
                change = {
                    "converged": seconds,
                    "change": "service changed",
                    "attempts": 3,
                    "address": f"10.96.0.{number}:80",
                }
                made.append(replace(path(kind, node, "clusterip", "http", []), **{**change, **more}))
        found.append(made)
    return found


def test_nodes_that_follow_alike_are_none() -> None:
    chance = random.Random(7)
    assert [found for _ in range(250) if (found := texts(changes(chance)))] == []


def test_a_node_whose_service_proxy_stood_still_is_noted() -> None:
    for seed in range(20):
        checks = changes(random.Random(seed), "worker", frozenset({11, 12}))
        (found,) = outliers(checks)
        assert found.what == "convergence"
        assert found.place.node == "worker"
        assert 20 < found.value < 27
        assert found.text.startswith("changes of Services take up to 2")
        assert " s on worker, up to " in found.text
        assert found.text.endswith(" s on other nodes")


def test_what_may_be_a_machines_being_late_is_no_nodes() -> None:
    stalled = ("worker", frozenset({11, 12}))
    assert texts(changes(random.Random(1), *stalled, latest=0.6)) == []
    # once is no rule
    assert texts(changes(random.Random(1), "worker", frozenset({11}))) == []
    # nobody knows how long before the first attempt it was so
    assert texts(changes(random.Random(1), *stalled, attempts=1)) == []
    # a cache keeps a name for its time to live
    assert texts(changes(random.Random(1), *stalled, way="dns")) == []


def duplicates(probe: str, doubled: Callable[[str, str], int]) -> Checks:
    """Each pair of nodes exchanges 40 probes; `doubled` says how many of them arrive twice."""
    return [
        [
            path(
                "pod", client, "pod", probe,
                [Answered(pod_on(server), f"cluster-{server}", (0.0005,) * 40, doubled(client, server))],
            )
            for client in NODES
            for server in NODES
        ]
    ]  # fmt: skip


def test_packets_that_arrive_twice_are_noted_with_their_way() -> None:
    both = duplicates("udp", lambda c, s: 20 * ({c, s} == {"worker", "worker2"}))
    one_way = duplicates("http", lambda c, s: 38 * ((c, s) == ("worker", "worker2")))
    assert texts([*both, *one_way]) == [
        "packets between worker and worker2 arrive twice: 40 of 80 datagrams",
        "packets from worker to worker2 arrive twice: 38 of 40 connections",
    ]
    node = duplicates("udp", lambda c, s: 20 * (c != s and "worker" in (c, s)))
    assert texts(node) == ["packets between worker and other nodes arrive twice: 80 of 160 datagrams"]


def test_a_packet_now_and_then_is_flooded_while_a_switch_learns() -> None:
    assert texts(duplicates("udp", lambda c, s: c != s)) == []
    assert texts(duplicates("udp", lambda c, s: 3 * (c == "worker" != s))) == []


def test_chance_alone_notes_no_place() -> None:
    chance = random.Random(3)
    cells = [Cell(client, server, pod_on(server)) for client in NODES for server in NODES]
    for share in (0.1, 0.5, 0.8):
        for _ in range(300):
            counts = {cell: Count(sum(chance.random() < share for _ in range(12)), 12) for cell in cells}
            assert find(counts, 0.1) == []


def test_the_bound_is_one() -> None:
    assert tail(0.0, 10, 0.1) == tail(0.1, 10, 0.1) == 1.0
    assert 0.99 * 0.1**5 <= tail(1.0, 5, 0.1) <= 1.01 * 0.1**5
    assert 0.0016 < tail(0.5, 10, 0.1) < 0.05  # exactly 0.00163
