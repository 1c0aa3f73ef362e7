"""Failures that have one cause are one: what is broken, and every check that fails of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubereach.model.errors import Failure
from kubereach.model.finding import (
    API,
    BALANCER,
    DNS,
    INTERMITTENT,
    NETWORK,
    NODE,
    PROXY,
    WORKLOAD,
    Finding,
    on,
)
from kubereach.model.misses import LOST, MISSING, RECORDS

#: what lies deeper comes first: it may explain what lies above
_DEPTH = (WORKLOAD, NODE, NETWORK, API, PROXY, BALANCER, DNS)
#: of failures that could not be examined: what their topic is about
_TOPICS = {
    "dns": DNS, "headless": DNS, "externalname": DNS, "loadbalancer": BALANCER, "nodes": NETWORK,
}  # fmt: skip
_NOTHING_KNOWN = "kubereach found no more than the failed checks"
_EVERY = "every node"
#: lines of evidence, and commands, of one cause
_MOST = 6


@dataclass
class Cause:
    """What is broken; `checks` are the ids of those that fail of it, and `what` lists what was seen, first the most."""

    layer: str
    object: str
    nodes: tuple[str, ...] = ()
    what: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    #: failures that were examined, which weigh more than those put down to it by their topic
    examined: int = 0

    def explains(self, check: str) -> None:
        """The check fails of it."""
        if check not in self.checks:
            self.checks.append(check)

    @property
    def sentence(self) -> str:
        """What, where, and what was seen there first."""
        return f"{self.object}{on(self.nodes)}: {self.what[0] if self.what else _NOTHING_KNOWN}"


def causes(failed: Iterable[tuple[str, str, Iterable[Failure]]]) -> list[Cause]:
    """The causes of failures, by check, message and failures; the one that explains most comes first.

    A failure without any `Failure` is about what the API has: nothing was probed.
    """
    found: dict[tuple[str, str, bool], Cause] = {}
    found_now: list[tuple[str, Finding]] = []
    #: what was not met again: it may be the same, at another time
    passing: list[tuple[str, Finding]] = []
    left: list[tuple[str, Failure]] = []
    for check, message, failures in failed:
        listed = list(failures)
        findings = [failure.finding for failure in listed if failure.finding]
        for finding in findings:
            (passing if finding.object == INTERMITTENT else found_now).append((check, finding))
        if not findings:
            left.append((check, listed[0] if listed else Failure("API", check, "", message)))
    for check, finding in found_now:
        _add(found, check, finding)
    for check, finding in passing:
        same = [
            cause for cause in found.values() if cause.layer == finding.layer and cause.object != INTERMITTENT
        ]
        if same:
            max(same, key=lambda one: one.examined).explains(check)
        else:
            _add(found, check, finding)
    for check, failure in left:
        layer = _layer(check, failure)
        # what was not examined and got no answer either has the cause that was found most often
        lost = failure.miss in (LOST, MISSING)
        same = [cause for cause in found.values() if cause.examined and (lost or cause.layer == layer)]
        if same:
            cause = max(same, key=lambda one: (one.layer == layer and not lost, one.examined))
            cause.explains(check)
            continue
        way = failure.address if failure.vantage == "API" else f"{failure.vantage} to {failure.address}"
        observed = f"{way}: {failure.got}"
        if failure.expected:
            observed = f"{way}: expected {failure.expected}, got {failure.got}"
        cause = found.setdefault(
            (layer, _OBJECTS.get(layer, layer), False), Cause(layer, _OBJECTS.get(layer, layer))
        )
        cause.explains(check)
        if len(cause.what) < _MOST:
            cause.what.append(observed)
            cause.evidence += [line for line in failure.evidence if line not in cause.evidence]
    return sorted(
        found.values(), key=lambda c: (-len(c.checks), _DEPTH.index(c.layer) if c.layer in _DEPTH else 9)
    )


def _layer(check: str, failure: Failure) -> str:
    """What a failure is about, where nothing was probed that could tell."""
    if failure.layer:
        return failure.layer
    if failure.vantage == "API":
        return API
    if failure.miss == RECORDS:  # whoever asks, and whatever for
        return DNS
    return _TOPICS.get(check.partition(".")[0], PROXY)


_OBJECTS = {
    DNS: "cluster DNS", PROXY: "service proxy", BALANCER: "load balancer", NETWORK: "pod network", API: "API server",
    NODE: "node", WORKLOAD: "pods",
}  # fmt: skip


def _add(found: dict[tuple[str, str, bool], Cause], check: str, finding: Finding) -> None:
    """What is broken on some nodes is one cause, and what is broken on every node another."""
    everywhere = _EVERY in finding.nodes
    cause = found.setdefault(
        (finding.layer, finding.object, everywhere), Cause(finding.layer, finding.object, finding.nodes)
    )
    cause.examined += 1
    cause.explains(check)
    if not everywhere:
        cause.nodes = tuple(sorted({*cause.nodes, *finding.nodes}))
    for more, to in (
        (finding.evidence, cause.evidence),
        (finding.next, cause.next),
        ((finding.what,), cause.what),
    ):
        to += [line for line in more if line not in to][: max(0, _MOST - len(to))]
