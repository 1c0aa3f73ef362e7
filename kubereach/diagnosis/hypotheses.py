"""Hypotheses: the components that may be broken, and which routes pass them.

A component is a kind and up to two names: the service proxy of a node, the way from one node to another, a pod. What a
fault of it does to which kinds of packets is not said here: that is fitted to the evidence (`score`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from kubereach.diagnosis.evidence import DIRECT, NODE_ADDRESS, Route, Row

# The pod network: what gets in at one node and out at another, and what stays on one
FROM_TO, BETWEEN, FROM, TO, NODE, WITHIN, NETWORK = (
    "from-to",
    "between",
    "from",
    "to",
    "node",
    "within",
    "network",
)
# The same of pods' own packets alone: those that are translated to a node's address may be another matter
PODS_FROM_TO, PODS_BETWEEN, PODS_FROM, PODS_TO = "pods-from-to", "pods-between", "pods-from", "pods-to"
# What a node forwards: packets of its pods and to its pods, not those of its own processes; and all that it meets
FORWARDING, WHOLE_NODE = "forwarding", "whole-node"
# All endpoints of a node, its own clients included; and whatever is probed
AT, EVERYTHING = "at", "everything"
# Nodes' own processes as clients; one client; the clients of a namespace
PROCESSES, CLIENT, NAMESPACE = "processes", "client", "namespace"
# An endpoint, and all endpoints of a Service, whoever asks and how
POD, WORKLOAD = "pod", "workload"
# What service proxies do: on one node or on all, for everything, one Service, one endpoint, or one way of reaching
PROXY, PROXIES, SERVICE, SERVICE_ON = "proxy", "proxies", "service", "service-on"
ENDPOINT, ENDPOINT_ON = "endpoint", "endpoint-on"
WAY, WAY_ON, ADDRESS = "way", "way-on", "address"
# A pod by a Service to itself
HAIRPIN, HAIRPIN_ON = "hairpin", "hairpin-on"
# Nodes' own addresses: one from everywhere, one from one node, all others from one node, all others from everywhere
OWN_ADDRESS, FROM_TO_ADDRESS, TO_ADDRESSES, ADDRESSES = (
    "own-address", "from-to-address", "to-addresses", "addresses",
)  # fmt: skip
# The same of pods alone: they pass where the node's own processes do not, or the other way round
PODS_TO_ADDRESSES, PODS_ADDRESSES = "pods-to-addresses", "pods-addresses"

#: kind -> which of its names are nodes', and the nats that it takes to be believed beside its number of names. What is
#: rarer or says less costs more, so that of two that explain the same the simpler and commoner one is believed.
KINDS: dict[str, tuple[tuple[bool, bool], float]] = {
    FROM_TO: ((True, True), 1.0),
    BETWEEN: ((True, True), 1.0),
    FROM: ((True, False), 1.0),
    TO: ((True, False), 1.0),
    NODE: ((True, False), 1.0),
    FORWARDING: ((True, False), 1.0),
    AT: ((True, False), 1.0),
    EVERYTHING: ((False, False), 1.5),
    WHOLE_NODE: ((True, False), 1.0),
    WITHIN: ((True, False), 1.0),
    NETWORK: ((False, False), 1.0),
    PODS_FROM_TO: ((True, True), 2.0),
    PODS_BETWEEN: ((True, True), 2.0),
    PODS_FROM: ((True, False), 2.0),
    PODS_TO: ((True, False), 2.0),
    PROCESSES: ((True, False), 2.0),
    POD: ((False, False), 1.0),
    WORKLOAD: ((False, False), 1.5),
    CLIENT: ((False, False), 3.0),
    NAMESPACE: ((False, False), 3.0),
    PROXY: ((True, False), 1.0),
    PROXIES: ((False, False), 1.5),
    SERVICE: ((False, False), 1.5),
    SERVICE_ON: ((False, True), 2.0),
    ENDPOINT: ((False, False), 2.0),
    ENDPOINT_ON: ((False, True), 2.5),
    WAY: ((False, False), 2.0),
    WAY_ON: ((False, True), 2.0),
    ADDRESS: ((False, False), 2.5),
    HAIRPIN: ((False, False), 1.5),
    HAIRPIN_ON: ((True, False), 1.5),
    OWN_ADDRESS: ((True, False), 1.0),
    FROM_TO_ADDRESS: ((True, True), 1.5),
    TO_ADDRESSES: ((True, False), 1.5),
    ADDRESSES: ((False, False), 1.5),
    PODS_TO_ADDRESSES: ((True, False), 2.0),
    PODS_ADDRESSES: ((False, False), 2.0),
}


#: those that may be broken for one kind of clients alone, such as nodes' own processes; and what that costs more
_BY_CLIENTS = frozenset(
    {PROXY, PROXIES, SERVICE, SERVICE_ON, WAY, WAY_ON, OWN_ADDRESS, FROM_TO_ADDRESS, ENDPOINT, ENDPOINT_ON}
)
_ONLY = 2.0


class Component(NamedTuple):
    """What may be broken: one of `KINDS`, of the names that it takes; `only` for a kind of clients (`Row.kind`)."""

    kind: str
    first: str = ""
    second: str = ""
    only: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it names."""
        named, _ = KINDS[self.kind]
        return tuple(name for name, is_node in zip((self.first, self.second), named, strict=True) if is_node)


def components(row: Row, route: Route) -> tuple[Component, ...]:
    """Every component that a probe of `row` passes if it goes by `route`."""
    place = (row.client, row.kind, row.node, row.pod, row.namespace, row.way, row.host)
    served = (row.owner, row.translator, row.service)
    return _components(place, served, (route.pod, route.node, route.hosted))


@lru_cache(maxsize=1 << 14)
def _components(
    place: tuple[str, str, str, str, str, str, str], served: tuple[str, str, str], end: tuple[str, str, bool]
) -> tuple[Component, ...]:
    """By what alone decides it: many rows differ in their packets, and tables have most of their rows in common."""
    client, kind, node, pod, namespace, way, host = place
    owner, translator, service = served
    route = Route(end[0], end[1], hosted=end[2])
    row = Row(
        client, kind, node, way, host, "", (route,), 0, owner, translator, service, namespace=namespace, pod=pod
    )  # fmt: skip
    found = tuple(_passed(row, route))
    by_clients = tuple(one._replace(only=kind) for one in found if one.kind in _BY_CLIENTS)
    return found + by_clients


def _passed(row: Row, route: Route) -> Iterator[Component]:
    start, end = row.enters, route.node
    if row.way == NODE_ADDRESS:
        pass
    elif start and end and start != end:
        yield from _of_network(row, route)
    elif start == end and start and row.way == DIRECT:
        yield Component(WITHIN, start)
    if row.way not in (DIRECT, NODE_ADDRESS):
        yield from _of_proxies(row, route)
    if row.owner:
        yield from _of_addresses(row, row.node, row.owner)
    if route.hosted and start and end:
        yield from _of_addresses(row, start, end)
    yield Component(EVERYTHING)
    if end and row.way != NODE_ADDRESS:
        yield Component(AT, end)
    for node in {row.node, start, end, row.owner} - {""}:
        yield Component(WHOLE_NODE, node)
    if row.kind == "node":
        yield Component(PROCESSES, row.node)
    if route.pod:
        yield Component(POD, route.pod)
    if row.service:
        yield Component(WORKLOAD, row.service)
    yield Component(CLIENT, row.client)
    if row.namespace:
        yield Component(NAMESPACE, row.namespace)


def _of_network(row: Row, route: Route) -> Iterator[Component]:
    start, end = row.enters, route.node
    one, other = sorted((start, end))
    yield Component(FROM_TO, start, end)
    yield Component(BETWEEN, one, other)
    yield Component(FROM, start)
    yield Component(TO, end)
    yield Component(NODE, start)
    yield Component(NODE, end)
    yield Component(NETWORK)
    if row.kind != "node" or row.owner not in ("", row.node):
        yield Component(FORWARDING, start)
    if route.hosted:
        return
    yield Component(FORWARDING, end)
    if row.own_pods:
        yield Component(PODS_FROM_TO, start, end)
        yield Component(PODS_BETWEEN, one, other)
        yield Component(PODS_FROM, start)
        yield Component(PODS_TO, end)


def _of_addresses(row: Row, start: str, end: str) -> Iterator[Component]:
    """What passes on the way to a node's own address `end`; `start` is empty outside."""
    yield Component(OWN_ADDRESS, end)
    if not start:
        return
    yield Component(FROM_TO_ADDRESS, start, end)
    if start == end:
        return
    yield Component(TO_ADDRESSES, start)
    yield Component(ADDRESSES)
    if row.kind != "node":
        yield Component(PODS_TO_ADDRESSES, start)
        yield Component(PODS_ADDRESSES)


def _of_proxies(row: Row, route: Route) -> Iterator[Component]:
    yield Component(PROXIES)
    yield Component(WAY, row.way)
    yield Component(SERVICE, row.service)
    yield Component(ENDPOINT, route.pod)
    if not row.owner:
        yield Component(ADDRESS, row.host)
    if route.pod == row.pod:
        yield Component(HAIRPIN)
        yield Component(HAIRPIN_ON, row.node)
    if row.translator:
        yield Component(PROXY, row.translator)
        yield Component(WAY_ON, row.way, row.translator)
        yield Component(SERVICE_ON, row.service, row.translator)
        yield Component(ENDPOINT_ON, route.pod, row.translator)


@dataclass(frozen=True)
class Candidate:
    """A component that losses may be put down to, its price in nats, and what the table has of it."""

    component: Component
    price: float
    #: probes that passed it and were answered, by kind of packets
    answered: Mapping[str, int]
    #: rows with a loss, and their routes that pass it: number of a row -> numbers of routes
    lossy: Mapping[int, tuple[int, ...]]
    #: others of which the table has exactly the same: no probe tells them apart
    alike: tuple[Component, ...] = field(default=())


def candidates(rows: Sequence[Row]) -> list[Candidate]:
    """Every component that some loss may be put down to, the cheapest of those that no probe tells apart."""
    lossy: dict[Component, dict[int, tuple[int, ...]]] = {}
    for number, row in enumerate(rows):
        if row.lost:
            for at, route in enumerate(row.routes):
                for component in components(row, route):
                    passed = lossy.setdefault(component, {})
                    passed[number] = (*passed.get(number, ()), at)
    answered: dict[Component, dict[str, int]] = {component: {} for component in lossy}
    every: set[Component] = set()
    for row in rows:
        packets = row.packets
        for route in row.routes:
            mine = components(row, route)
            every.update(mine)
            for component in mine:
                counts = answered.get(component)
                if counts is not None:
                    counts[packets] = counts.get(packets, 0) + route.answered
    number_of = Counter((component.kind, component.only) for component in every)
    same: dict[tuple[tuple[object, ...], ...], list[Candidate]] = {}
    for component, passed in lossy.items():
        price = KINDS[component.kind][1] + math.log(number_of[component.kind, component.only])
        price += _ONLY if component.only else 0.0
        one = Candidate(component, price, answered[component], passed)
        same.setdefault((tuple(sorted(one.answered.items())), tuple(passed.items())), []).append(one)
    found = []
    for group in same.values():
        first, *others = sorted(group, key=lambda one: one.price)
        alike = tuple(one.component for one in others)
        found.append(Candidate(first.component, first.price, first.answered, first.lossy, alike))
    return found
