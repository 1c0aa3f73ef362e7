"""The pod network: which vantages reach which pods directly, and what the pattern of those that do not says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kubereach.diagnosis.bench import Bench, sound
from kubereach.diagnosis.conclusion import finding_of
from kubereach.diagnosis.evidence import DIRECT
from kubereach.diagnosis.experiments import Cell as Experiment
from kubereach.diagnosis.experiments import is_lost
from kubereach.diagnosis.score import explain
from kubereach.diagnosis.subject import Endpoint
from kubereach.model.finding import NETWORK, Finding
from kubereach.model.outcome import SeriesResult
from kubereach.probe import Series, Vantage

#: vantages and endpoints that are tried with one another
_MOST = 6


@dataclass(frozen=True)
class Cell:
    """What came of one vantage's probes of one endpoint."""

    vantage: Vantage
    endpoint: Endpoint
    result: SeriesResult

    @property
    def good(self) -> bool:
        return sound(self.result)


def direct(
    bench: Bench, vantages: Iterable[Vantage], endpoints: Sequence[Endpoint], series: Series
) -> list[Cell]:
    """Try endpoints at the pods' own addresses, where nothing is translated, by the probes that failed."""
    chosen = [(v, e) for v in list(vantages)[:_MOST] for e in endpoints[:_MOST] if e.number]
    results = bench.run([(v, _at(series, e)) for v, e in chosen])
    return [Cell(v, e, result) for (v, e), result in zip(chosen, results, strict=True)]


def _at(series: Series, endpoint: Endpoint) -> Series:
    # a datagram that a busy backend answers late has not been lost by the network
    return replace(series, host=endpoint.address, port=endpoint.number, patient=True)


def locate(
    cells: Sequence[Cell], short: Mapping[str, str], series: Series, probes: str = ""
) -> Finding | None:
    """What is broken below the service proxy, as what fails and what does not explain it; None if nothing does.

    `cells` are those of every vantage with every endpoint; `short` are nodes' short names, `probes` what the finding
    calls the probes.
    """

    def name(node: str) -> str:
        return short.get(node, node)

    asked = [
        (Experiment(c.vantage, _at(series, c.endpoint), DIRECT, (c.endpoint,), is_lost), c.result)
        for c in cells
    ]
    rows = [row for one, result in asked for row in one.rows(result, name)]
    cover = explain(rows)
    return finding_of(rows, cover, cover[0], name, probes) if cover else None


def snat(
    cells: Sequence[Cell], short: Mapping[str, str], own: Collection[str] | None = None
) -> Finding | None:
    """Pods that see another address than the client's own, where no Service is in between."""
    lines = []
    nodes = set()
    for cell in cells:
        for probe in cell.result.probes:
            source_ip = probe.answer.client
            if source_ip and not cell.vantage.is_own(probe.answer) and source_ip not in (own or ()):
                lines.append(f"{cell.endpoint.pod} sees {cell.vantage.name} with the source IP {source_ip}")
                nodes.add(short.get(cell.vantage.node, cell.vantage.node))
                break
    if not lines:
        return None
    what = "the network changes the source IP of packets between pods (SNAT)"
    see = ("nft list ruleset | grep -i masquerade", "kubectl -n kube-system get pods -o wide")
    return Finding(NETWORK, "pod network", what, tuple(sorted(nodes)), tuple(lines[:_MOST]), see)
