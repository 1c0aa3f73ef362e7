"""DNS replicas that do not answer as they must: is it they, the way to them, or somebody on some nodes?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted
from kubereach.diagnosis.dns_kinds import Kind
from kubereach.diagnosis.network import Cell, direct, locate
from kubereach.diagnosis.replicas import REPLIES, about, named
from kubereach.diagnosis.subject import Endpoint
from kubereach.model.finding import DNS, NETWORK, NODE, WORKLOAD, Finding
from kubereach.model.outcome import OK, Answer, Probe, SeriesResult
from kubereach.probe import Series, Vantage

if TYPE_CHECKING:
    from kubereach.kube.cluster_dns import DnsReplica
    from kubereach.world.world import World

#: seconds that a replica gets to answer in the end: longer than resolvers wait (5 s is glibc's and musl's default)
_LONGEST = 8.0


@dataclass(frozen=True)
class Asking:
    """A query that failed: who asks it, as which series, and whether an answer to it is right."""

    world: World
    bench: Bench
    short: dict[str, str]
    vantage: Vantage
    series: Series
    right: Callable[[Answer], bool]

    def node(self, name: str) -> str:
        return self.short.get(name, name)

    def from_everywhere(self, replicas: Sequence[DnsReplica], count: int) -> list[Cell]:
        """What the pods of every node get from the replicas."""
        endpoints = [Endpoint(r.address, r.pod, r.node, r.port) for r in replicas]
        return direct(self.bench, self.world.pods, endpoints, replace(self.series, count=count))

    def as_network_sees(self, cell: Cell) -> Cell:
        """The cell in which each right answer is one: to a network, NODATA and NXDOMAIN are as good as any."""

        def seen(probe: Probe) -> Probe:
            return (
                replace(probe, answer=replace(probe.answer, outcome=OK))
                if self.right(probe.answer)
                else probe
            )

        return replace(cell, result=replace(cell.result, probes=tuple(map(seen, cell.result.probes))))


def unanswered(
    asking: Asking, replicas: Sequence[DnsReplica], kind: Kind, lines: Sequence[str], see: tuple[str, ...]
) -> Finding:
    """Replicas that say nothing."""
    cells = asking.from_everywhere(replicas, 3)
    if any(cell.result.outcomes.keys() & REPLIES for cell in cells):
        seen_so = [asking.as_network_sees(cell) for cell in cells]
        located = locate(seen_so, asking.short, asking.series, f"DNS {kind.queries}")
        if located is not None and located.layer != WORKLOAD:
            seen = (*located.evidence[:2], *kind.evidence, *located.evidence[2:])
            return replace(located, what=kind.beside(located.what), evidence=seen)
    see = (about(asking.world, "get pods -o wide"), *see)
    if kind.large:
        # a server that has no room for an answer, or no EDNS, says so
        what = kind.beside("UDP answers of DNS over 512 bytes are lost on their way to every node")
        return Finding(NETWORK, "pod network", what, (), tuple(lines), see)
    name, place = named(replicas, asking.world.cluster.dns_replicas, asking.short)
    what = kind.beside(f"it does not answer {kind.queries} from any node")
    if not kind.works and (late := _late(asking, replicas)):
        what = f"it answers queries only after about {min(probe.seconds for probe in late.probes):.0f} s"
        seconds = asking.vantage.context.settings.dns_timeout
        lines = [*lines, f"asked without the time-out of {seconds:g} s: {counted([late])}"]
    return Finding(DNS, name, what, place, tuple(lines), see)


def _late(asking: Asking, replicas: Sequence[DnsReplica]) -> SeriesResult | None:
    """What comes of queries that get longer than any resolver waits; None if a replica stays silent."""
    patient = replace(asking.series, count=2, timeout=_LONGEST, stop_after=0)
    asked = [(asking.vantage, replace(patient, host=r.address, port=r.port)) for r in replicas]
    results = asking.bench.run(asked)
    return results[0] if all(one.probes and one.outcomes.keys() <= REPLIES for one in results) else None


def on_some_nodes(asking: Asking, replicas: Sequence[DnsReplica], kind: Kind, got: str) -> Finding | None:
    """Replicas that answer all pods of some nodes wrongly, and all others rightly: somebody there answers for them."""
    bad, good = _by_node(asking, asking.from_everywhere(replicas, 3))
    # one that catches up right now would be seen to be wrong by who asked first
    again, _ = _by_node(asking, asking.from_everywhere(replicas, 4)) if bad and good else ([], [])
    if not again or again != bad:
        return None
    what = f"DNS {kind.queries} of its pods are answered wrongly ({got}), and rightly on {', '.join(good)}"
    lines = (f"the same queries to the same replicas from {', '.join(good)}: all answers correct",)
    return Finding(NODE, "node", kind.beside(what), tuple(bad), lines)


def _by_node(asking: Asking, cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    """The nodes where nothing is right, and those where all is; none at all if that leaves any."""
    right: dict[str, list[bool]] = {}
    for cell in cells:
        right.setdefault(asking.node(cell.vantage.node), []).extend(
            asking.right(probe.answer) for probe in cell.result.probes
        )
    bad = sorted(node for node, some in right.items() if not any(some))
    good = sorted(node for node, some in right.items() if all(some))
    return (bad, good) if len(bad) + len(good) == len(right) else ([], [])
