"""What a report may say of a fault: the layers, the nodes and the object that are right, and what is false.

It is what a careful engineer can say who sees probes alone. Where no probe can tell two places apart, both are right.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from kubereach.model.finding import BALANCER, DNS, NETWORK, NODE, PROXY, WORKLOAD
from kubereach.model.verdicts import NOTED
from kubereach.selftest.random_fault import (
    BALANCED,
    CLUSTER_IPS,
    DNS_SERVICE,
    EGRESS,
    ENDPOINT,
    FORWARDING,
    INGRESS,
    NODE_PORTS,
    OWN_NODE,
    PAIR,
    PROCESSES,
    REPLICA,
    SERVICE,
    RandomFault,
)

EVERY_NODE = "every node"
_LAYERS: dict[str, frozenset[str]] = {
    PAIR: frozenset({NETWORK}),
    INGRESS: frozenset({NETWORK, NODE}),
    EGRESS: frozenset({NETWORK, NODE}),
    FORWARDING: frozenset({NETWORK, NODE}),
    PROCESSES: frozenset({NETWORK, NODE}),
    CLUSTER_IPS: frozenset({PROXY}),
    NODE_PORTS: frozenset({PROXY}),
    BALANCED: frozenset({PROXY, BALANCER}),
    SERVICE: frozenset({PROXY}),
    # nobody who sees probes alone can tell a pod that loses packets from the end of the way to it
    ENDPOINT: frozenset({WORKLOAD, NETWORK, NODE}),
    REPLICA: frozenset({DNS, WORKLOAD, NETWORK}),
    DNS_SERVICE: frozenset({PROXY, DNS}),
    OWN_NODE: frozenset({NETWORK, NODE, PROXY}),
}
#: what a cause calls a pod or a Service that it puts down to: "DNS replica coredns-1, coredns-2"
_REPLICAS = re.compile(r"\bDNS replica ((?:[\w.-]+, )*[\w.-]+)")
_PODS = re.compile(r"\bpod ([\w.-]+) \(")
_SERVICES = re.compile(r"\bService (?:[\w.-]+/)?([\w.-]+)")


@dataclass(frozen=True)
class Answer:
    """What is right. Nodes are short names, as reports have them."""

    layers: frozenset[str]
    #: all nodes of the cluster
    known: tuple[str, ...]
    #: exactly these must be named; none needs to where it is empty
    nodes: frozenset[str] = frozenset()
    #: these may be named as well
    more_nodes: frozenset[str] = frozenset()
    #: one of these names or addresses must be in the cause's sentence; none needs to where it is empty
    named: frozenset[str] = frozenset()
    #: pods and Services that may be called broken
    objects: frozenset[str] = frozenset()
    #: packets of one node with all others: a pair that has it is no false statement, though not the whole
    pairs_of: frozenset[str] = frozenset()

    @property
    def everywhere(self) -> bool:
        return not self.nodes and self.more_nodes == {*self.known}

    @property
    def in_words(self) -> str:
        words = [" or ".join(sorted(self.layers))]
        if self.nodes:
            words.append(f"on {' and '.join(sorted(self.nodes))}")
        elif self.everywhere:
            words.append("on every node")
        if self.named:
            words.append(f"naming {' or '.join(sorted(self.named))}")
        return " ".join(words)


@dataclass(frozen=True)
class Judged:
    """Of one run. `detected` is `failed`, `noted` or empty; `said` is the report's first cause."""

    detected: str
    located: bool
    said: str
    false: tuple[str, ...] = field(default=())


def right_answer(fault: RandomFault, facts: dict[str, Any]) -> Answer:
    """By the facts of the lab that had the fault, as `injection` leaves them."""
    known = tuple(node["name"].removeprefix("kubereach-") for node in facts["nodes"])
    place, layers = fault.place, _LAYERS[fault.place.kind]
    if place.kind == PAIR:
        return Answer(layers, known, frozenset({known[place.nodes[0]], known[place.to]}))
    if place.kind in (ENDPOINT, REPLICA):
        listed = facts["replicas"]
        pod = listed[place.replica] if place.kind == REPLICA else facts["backends"][place.nodes[0]]
        more = frozenset({known[pod["node"]]})
        name = frozenset({pod["name"]})
        return Answer(layers, known, more_nodes=more, named=name | {pod["address"]}, objects=name)
    service = frozenset({place.service} if place.service else ())
    named = service | {facts["cluster_ips"][one] for one in service}
    if place.kind == DNS_SERVICE:
        service = frozenset({"kube-dns"})
    if place.everywhere:
        return Answer(layers, known, more_nodes=frozenset(known), named=named, objects=service)
    node = frozenset({known[place.nodes[0]]})
    pairs = node if place.kind in (INGRESS, EGRESS, FORWARDING, PROCESSES) else frozenset()
    return Answer(layers, known, node, named=named, objects=service, pairs_of=pairs)


def judge(report: dict[str, Any], code: int, answer: Answer, *, mild: bool) -> Judged:
    """What a run that ended with this exit code says. Of a `mild` fault a note that names the place is enough."""
    causes = report.get("causes") or []
    detected = "failed" if code == 1 else ""
    if not detected and mild and code == 0 and _noted(report, answer):
        detected = "noted"
    first = causes[0] if causes else None
    located = _is_right(first, answer) if first else detected == "noted"
    texts = [text for cause in causes for text in false_statements(cause, answer)]
    false = tuple(dict.fromkeys([*texts, *_false_outliers(report, answer)]))
    said = first["sentence"] if first else (report.get("reason") or "nothing")
    return Judged(detected, bool(detected) and located, f"{first['layer']}: {said}" if first else said, false)


def false_statements(cause: dict[str, Any], answer: Answer) -> list[str]:
    """What a cause calls broken and is not, each with its sentence."""
    found = []
    pair = pair_of(cause, answer.known)
    if EVERY_NODE in cause["nodes"] and not answer.everywhere:
        found.append(EVERY_NODE)
    allowed = answer.nodes | answer.more_nodes
    for node in answer.known:
        if node not in _places(cause) or node in allowed:
            continue
        if node in pair and {*pair} & answer.pairs_of:
            continue
        found.append(node)
    found += [one for one in _objects(cause) if one not in answer.objects]
    return [f"{one} ({cause['layer']}: {cause['sentence']})" for one in found]


def pair_of(cause: dict[str, Any], known: Collection[str]) -> tuple[str, ...]:
    """The two nodes of a cause that names a way between two: "pod network from worker to worker2"."""
    found = tuple(word for word in cause["object"].split() if word in known)
    return found if len(found) == 2 else ()


def _places(cause: dict[str, Any]) -> set[str]:
    return {*cause["nodes"], *cause["object"].split()}


def _is_right(cause: dict[str, Any], answer: Answer) -> bool:
    named = _places(cause) & {*answer.known}
    if cause["layer"] not in answer.layers:
        return False
    if answer.named and not any(_is_named(one, cause["sentence"]) for one in answer.named):
        return False
    if EVERY_NODE in cause["nodes"]:
        return answer.everywhere
    if answer.everywhere:
        return not named or named == {*answer.known}
    if answer.nodes:
        return named == answer.nodes
    return named <= answer.more_nodes


def _is_named(one: str, sentence: str) -> bool:
    """Whether a sentence has a name or an address as a word: after its namespace, in brackets, before a port."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w-])", sentence))


def _objects(cause: dict[str, Any]) -> list[str]:
    """Pods and Services that a cause calls broken, not those that it has for an example."""
    found = [name for listed in _REPLICAS.findall(cause["object"]) for name in listed.split(", ")]
    found += _SERVICES.findall(cause["object"])
    if cause["layer"] == WORKLOAD:
        found += _PODS.findall(cause["sentence"])
    return found


def _noted(report: dict[str, Any], answer: Answer) -> bool:
    """Whether a note names just the nodes of the place: of the run, or of a check that is noted.

    What checks that pass write down, as latencies, is there on healthy labs too.
    """
    outliers = report.get("outliers") or []
    if any(_is_place_of(one, answer) for one in outliers):
        return True
    told = {f"outlier: {one['text']}" for one in outliers}
    texts = [note for note in report["run"]["notes"] if note not in told]
    for check in report["checks"]:
        if check["verdict"] == NOTED and not check["known_defect"]:
            texts += [check["message"], *check["notes"]]
    return any(answer.nodes and _nodes_in(text, answer.known) == answer.nodes for text in texts)


def _is_place_of(outlier: dict[str, Any], answer: Answer) -> bool:
    nodes, pod = _place_of(outlier)
    if answer.named:
        return pod in answer.named
    return bool(nodes) and nodes == answer.nodes


def _false_outliers(report: dict[str, Any], answer: Answer) -> list[str]:
    """Nodes that an outlier names and that have no part in the fault, each with its text."""
    found = []
    for one in report.get("outliers") or []:
        nodes, _ = _place_of(one)
        # a pair that has the node is true, though not all of it
        if not (answer.everywhere or (len(nodes) == 2 and nodes & answer.pairs_of)):
            wrong = sorted(nodes - answer.nodes - answer.more_nodes)
            found += [f"{node} (outlier: {one['text']})" for node in wrong]
    return found


def _place_of(outlier: dict[str, Any]) -> tuple[set[str], str]:
    """The nodes that it names, and the pod."""
    place = outlier["place"]
    return {place[name] for name in ("from", "to", "node")} - {""}, place["pod"]


def _nodes_in(text: str, known: Collection[str]) -> set[str]:
    return {node for node in known if re.search(rf"(?<![\w-]){re.escape(node)}(?![\w-])", text)}
