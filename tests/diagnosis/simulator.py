"""A cluster on paper: what probes meet on it where some of its components are broken.

It knows nothing of how hypotheses are scored. A fault is a predicate over a probe: who sends it, of which packets,
which node translates it, and to which endpoint it goes; and a share of those that it loses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kubereach.diagnosis.evidence import DIRECT, NODE_ADDRESS, Route, Row

PACKETS = ("tcp", "tcp 1 MiB", "udp", "udp 8000 bytes")
#: probes of a row, and misses after which it ends
COUNT, STOP_AFTER = 60, 3
#: losses on a healthy cluster
STRAY = 1e-5


@dataclass(frozen=True)
class Fault:
    """What is broken: `nodes`, `pod` and `service` are those that a finding may name, `where` is in words."""

    where: str
    hits: Callable[[Row, Route], bool]
    nodes: frozenset[str] = frozenset()
    pod: str = ""
    service: str = ""
    packets: frozenset[str] = frozenset(PACKETS)
    share: float = 1.0

    def __str__(self) -> str:
        return f"{self.where}: {self.share:.0%} of {', '.join(sorted(self.packets))}"

    def loses(self, row: Row, route: Route) -> float:
        return self.share if row.packets in self.packets and self.hits(row, route) else 0.0


@dataclass
class Simulated:
    """Nodes with two pods each, two Services over all of them, and whoever probes them."""

    nodes: Sequence[str]
    rng: random.Random
    faults: Sequence[Fault] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        self.routes = tuple(Route(f"pod-{n}-{i}", n) for n in self.nodes for i in (1, 2))

    def table(self) -> list[Row]:
        """What a diagnosis measures: every vantage, every way, several kinds of packets."""
        return [self._probed(row) for row in self._rows()]

    def _rows(self) -> Iterator[Row]:
        clients = [(f"pod@{n}", "pod", n, "a") for n in self.nodes]
        clients += [(f"other@{n}", "other-namespace", n, "b") for n in self.nodes]
        clients += [(f"node@{n}", "node", n, "") for n in self.nodes]
        for name, kind, node, namespace in clients:
            for packets in PACKETS:
                if kind == "pod" or packets in ("tcp", "udp"):
                    for route in self.routes:
                        yield Row(
                            name, kind, node, DIRECT, route.pod, packets, (route,), 0, namespace=namespace
                        )
            if kind == "pod":
                own = next(route.pod for route in self.routes if route.node == node)
                yield Row(
                    f"{own}@{node}", kind, node, "clusterip", "first", "tcp", self.routes, 0,
                    translator=node, service="first", namespace=namespace, pod=own,
                )  # fmt: skip
            for service in ("first", "second"):
                yield Row(
                    name, kind, node, "clusterip", service, "tcp", self.routes, 0,
                    translator=node, service=service, namespace=namespace,
                )  # fmt: skip
        for name, kind, node, namespace in [*clients, ("outside", "outside", "", "")]:
            for owner in self.nodes:
                closed = (Route("", owner),)
                yield Row(
                    name, kind, node, NODE_ADDRESS, owner, "tcp", closed, 0, owner=owner, namespace=namespace
                )
                yield Row(
                    name, kind, node, "nodeport", owner, "tcp", self.routes, 0,
                    owner=owner, translator=owner, service="first", namespace=namespace,
                )  # fmt: skip

    def _probed(self, row: Row) -> Row:
        """What comes of a row: each probe takes any of its routes, and the row ends at the third miss."""
        chances = []
        for route in row.routes:
            kept = 1.0 - STRAY
            for fault in self.faults:
                kept *= 1.0 - fault.loses(row, route)
            chances.append(1.0 - kept)
        number = len(row.routes)
        if max(chances) < 2 * STRAY:  # nothing is broken on any of them
            share, more = divmod(COUNT, number)
            answered = [share + (at < more) for at in range(number)]
            return self._row(row, answered, 0)
        answered, lost = [0] * number, 0
        for _ in range(COUNT):
            at = self.rng.randrange(number)
            if self.rng.random() < chances[at]:
                lost += 1
                if lost == STOP_AFTER:
                    break
            else:
                answered[at] += 1
        return self._row(row, answered, lost)

    @staticmethod
    def _row(row: Row, answered: Sequence[int], lost: int) -> Row:
        routes = tuple(
            Route(route.pod, route.node, n, route.hosted)
            for route, n in zip(row.routes, answered, strict=True)
        )
        return replace(row, routes=routes, lost=lost)


def crosses(row: Row, route: Route) -> bool:
    return bool(row.enters) and row.enters != route.node and row.way != NODE_ADDRESS


def served(row: Row) -> bool:
    return row.way not in (DIRECT, NODE_ADDRESS)


def forwarded(row: Row, route: Route, node: str) -> bool:
    """Whether a node forwards it, and neither sends it itself nor takes it."""
    comes = row.enters == node and (row.kind != "node" or row.owner not in ("", row.node))
    return crosses(row, route) and (route.node == node or comes)


def drawn(rng: random.Random, nodes: Sequence[str]) -> Fault:
    """A fault: place, kinds of packets and share are drawn."""
    a, b = rng.sample(list(nodes), 2)
    pod, service = f"pod-{a}-1", rng.choice(["first", "second"])
    fault = rng.choice(
        [
            Fault(f"from {a} to {b}", lambda w, r: crosses(w, r) and (w.enters, r.node) == (a, b), frozenset({a, b})),
            Fault(
                f"between {a} and {b}",
                lambda w, r: crosses(w, r) and {w.enters, r.node} == {a, b},
                frozenset({a, b}),
            ),
            Fault(f"from {a}", lambda w, r: crosses(w, r) and w.enters == a, frozenset({a})),
            Fault(f"to {a}", lambda w, r: crosses(w, r) and r.node == a, frozenset({a})),
            Fault(f"node {a}", lambda w, r: crosses(w, r) and a in (w.enters, r.node), frozenset({a})),
            Fault(f"forwarding of {a}", lambda w, r: forwarded(w, r, a), frozenset({a})),
            Fault(f"all of {a}", lambda w, r: a in (w.node, w.enters, w.owner, r.node), frozenset({a})),
            Fault("the network", crosses),
            Fault("hairpin", lambda w, r: served(w) and w.pod == r.pod),
            Fault(f"hairpin on {a}", lambda w, r: served(w) and w.pod == r.pod and w.node == a, frozenset({a})),
            Fault(f"pod {pod}", lambda _, r: r.pod == pod, pod=pod),
            Fault(f"proxy of {a}", lambda w, _: served(w) and w.translator == a, frozenset({a})),
            Fault("proxies", lambda w, _: served(w)),
            Fault(f"Service {service}", lambda w, _: served(w) and w.service == service, service=service),
            Fault(
                f"Service {service} on {a}",
                lambda w, _: served(w) and w.service == service and w.translator == a,
                frozenset({a}),
                service=service,
            ),
            Fault(
                f"{pod} by the proxy of {a}",
                lambda w, r: served(w) and r.pod == pod and w.translator == a,
                frozenset({a}),
                pod=pod,
            ),
            Fault(f"address of {a}", lambda w, _: w.owner == a, frozenset({a})),
            Fault(f"from {a} to the address of {b}", lambda w, _: w.node == a and w.owner == b, frozenset({a, b})),
            Fault(f"{a} to its own address", lambda w, _: w.node == a == w.owner, frozenset({a})),
            Fault(f"processes of {a}", lambda w, _: w.kind == "node" and w.node == a, frozenset({a})),
            Fault(
                f"node ports of {a} for processes",
                lambda w, _: w.way == "nodeport" and w.owner == a and w.kind == "node",
                frozenset({a}),
            ),
            Fault("node ports", lambda w, _: w.way == "nodeport"),
            Fault(f"node ports of {a}", lambda w, _: w.way == "nodeport" and w.owner == a, frozenset({a})),
        ]
    )  # fmt: skip
    packets = rng.choice([PACKETS, PACKETS, ("tcp", "tcp 1 MiB"), ("tcp 1 MiB", "udp 8000 bytes"), ("udp",)])
    if not fault.where.startswith(_BENEATH):
        packets = PACKETS  # Services and nodes' addresses are probed by TCP alone
    return replace(fault, packets=frozenset(packets), share=rng.choice([1.0, 1.0, 0.5, 0.3, 0.1, 0.05]))


#: beginnings of the words of faults that lie beneath Services
_BENEATH = ("all of", "from", "to ", "between", "node ", "forwarding", "the network", "pod ")
