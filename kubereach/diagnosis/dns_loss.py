"""Queries that are lost, some of them or all: on the way, at a replica, or by the service proxy in front of them?

What explains it is inferred from queries of every node to every replica and to the DNS Service, beside datagrams that
are no queries, to other pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.diagnosis import hypotheses as kinds
from kubereach.diagnosis.bench import counted
from kubereach.diagnosis.conclusion import finding_of
from kubereach.diagnosis.dns_places import Asking
from kubereach.diagnosis.evidence import DIRECT, Row
from kubereach.diagnosis.experiments import Cell, is_lost
from kubereach.diagnosis.intermittent import clock_times
from kubereach.diagnosis.replicas import named
from kubereach.diagnosis.score import Explanation, explain
from kubereach.diagnosis.subject import Endpoint, datagram_endpoints
from kubereach.expect.reach import series_for
from kubereach.model.address import Address
from kubereach.model.finding import DNS, INTERMITTENT, Finding
from kubereach.model.outcome import Probe
from kubereach.probe import Vantage
from kubereach.probe.path import Path

if TYPE_CHECKING:
    from kubereach.kube.cluster_dns import DnsReplica

#: queries to each server, and datagrams to each pod, from every node
_QUERIES, _DATAGRAMS = 135, 60
#: times that they are made, the second time slowly, and seconds between queries then
_ROUNDS, _SLOWLY = 2, 0.04
_SERVICE = "kube-system/kube-dns"


def lost_queries(
    asking: Asking, path: Path, replicas: Sequence[DnsReplica], at: str, see: tuple[str, ...]
) -> Finding | None:
    """What loses queries; `intermittent loss` where nothing does any more. None if there is no replica to ask.

    `at` is the address of the DNS Service.
    """
    if not replicas:
        return None
    rows: list[Row] = []
    cover: list[Explanation] = []
    for again in range(_ROUNDS):
        rows += _asked(asking, replicas, at, again=bool(again))
        cover = explain(rows)
        if cover:
            break
    if not cover:
        seen = f"{path.vantage.name}: {counted([path.result])}"
        what = f"queries were lost {clock_times(path)}, and the same queries are answered since"
        return Finding(DNS, INTERMITTENT, what, (), (seen,), see)
    mine = next((one for one in cover if _concerns(one, rows, path)), cover[0])
    return _called(finding_of(rows, cover, mine, asking.node), mine, replicas, asking, see)


def _asked(asking: Asking, replicas: Sequence[DnsReplica], at: str, *, again: bool) -> list[Row]:
    endpoints = tuple(Endpoint(r.address, r.pod, r.node, r.port) for r in replicas)
    queries = replace(asking.series, count=_QUERIES, stop_after=3, spacing=_SLOWLY if again else 0.0)

    def wrong(probe: Probe) -> bool:
        return not asking.right(probe.answer)

    cells: list[Cell] = []
    for vantage in _vantages(asking):
        for one in endpoints:
            series = replace(queries, host=one.address, port=one.number)
            cells.append(Cell(vantage, series, DIRECT, (one,), wrong, service=_SERVICE))
        if at:
            series = replace(queries, host=at, port=53)
            cells.append(
                Cell(vantage, series, "dns", endpoints, wrong, translator=vantage.node, service=_SERVICE)
            )
        cells += _datagrams(asking, vantage)
    results = asking.bench.run([(cell.vantage, cell.series) for cell in cells], fresh=again)
    return [
        row for cell, result in zip(cells, results, strict=True) for row in cell.rows(result, asking.node)
    ]


def _vantages(asking: Asking) -> list[Vantage]:
    return list(dict.fromkeys([asking.vantage, *asking.world.pods]))


def _datagrams(asking: Asking, vantage: Vantage) -> list[Cell]:
    """Datagrams to pods that echo them: what they lose as well is not lost by DNS."""
    cells = []
    for echo in datagram_endpoints(asking.world):
        like = series_for(Path(vantage, Address("pod", "udp", echo.address, echo.number)), _DATAGRAMS)
        cells.append(Cell(vantage, replace(like, patient=True), DIRECT, (echo,), is_lost))
    return cells


def _concerns(one: Explanation, rows: Sequence[Row], path: Path) -> bool:
    """Whether an explanation accounts for losses of the vantage that failed."""
    return any(rows[number].client == path.vantage.name for number in one.candidate.lossy)


def _called(
    found: Finding, one: Explanation, replicas: Sequence[DnsReplica], asking: Asking, see: tuple[str, ...]
) -> Finding:
    """The finding in words of DNS: a pod that loses queries is a replica, all of them are cluster DNS."""
    component = one.candidate.component
    mine = [replica for replica in replicas if replica.pod == component.first]
    if component.kind == kinds.POD and mine:
        name, nodes = named(mine, replicas, asking.short)
        share = max(one.shares.values())
        return replace(
            found,
            layer=DNS,
            object=name,
            nodes=nodes,
            what=f"it does not answer {share:.0%} of queries",
            next=see,
        )
    if component.kind in (kinds.WORKLOAD, kinds.EVERYTHING):
        share = max(one.shares.values())
        what = f"it does not answer {share:.0%} of queries, whichever replica is asked"
        return replace(found, layer=DNS, object="cluster DNS", nodes=(), what=what, next=see)
    return found
