"""Replicas of cluster DNS: which of them are wrong, by what each says itself, and how findings call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted
from kubereach.model.finding import DNS, Finding
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, SERVFAIL, Answer, SeriesResult
from kubereach.probe import Series, Vantage
from kubereach.probe.path import Path

if TYPE_CHECKING:
    from kubereach.kube.cluster_dns import DnsReplica
    from kubereach.world.world import World

#: questions to each replica
TRIES = 60
#: outcomes that a server has said
REPLIES = frozenset({OK, NODATA, NXDOMAIN, SERVFAIL})


def named(
    wrong: Sequence[DnsReplica], replicas: Sequence[DnsReplica], short: dict[str, str]
) -> tuple[str, tuple[str, ...]]:
    """How a finding calls the replicas that are wrong, and their nodes: those of all are of no interest."""
    if not 0 < len(wrong) < len(replicas):
        return "cluster DNS", ()
    nodes = sorted({short.get(replica.node, replica.node) for replica in wrong if replica.node})
    return f"DNS replica {', '.join(replica.pod for replica in wrong)}", tuple(nodes)


def behind(
    bench: Bench, path: Path, vantage: Vantage, at: str, series: Series, right: Callable[[Answer], bool],
    replicas: Sequence[DnsReplica], short: dict[str, str],
) -> Finding | None:  # fmt: skip
    """Of answers that were wrong, where every replica is right by now: whose they were; None if they still come.

    A service proxy loses what is asked, or leads to somebody else; it does not make up answers. Where the Service gives
    none that is wrong any more either, it was a replica that has caught up since, as after it had lost its watch.
    """
    port = path.address.port if path.address.kind == "dns" else 53
    (again,) = bench.run([(vantage, replace(series, host=at, port=port))])
    if not all(right(probe.answer) for probe in again.probes):
        return None
    own = [replica for replica in replicas if replica.address == path.address.host]
    name, nodes = named(own, replicas, short)
    one = "it" if own else "a replica"
    what = f"{one} returned a stale answer and is up to date by now"
    line = f"{path.vantage.name} got {path.failures[0].got}, expected {path.failures[0].expected}"
    return Finding(
        DNS, name, what, nodes, (line, f"the same query to {at} now: {correct_answers(again, right)}")
    )


def correct_answers(result: SeriesResult, right: Callable[[Answer], bool]) -> str:
    good = sum(right(probe.answer) for probe in result.probes)
    return f"{good} of {len(result.probes)} answers correct; {counted([result])}"


def about(world: World, command: str) -> str:
    """A command about the pods of cluster DNS: by the label that most distributions have, else by their names."""
    dns = world.cluster.dns
    if dns is None or dns.namespace == "kube-system":
        return f"kubectl -n kube-system {command} -l k8s-app=kube-dns"
    return f"kubectl -n {dns.namespace} {command} {' '.join(sorted(r.pod for r in dns.replicas))}"
