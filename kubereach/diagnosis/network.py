"""The pod network: which vantages reach which pods directly, and what the pattern of those that do not says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kubereach.diagnosis.bench import Bench, counted, sound
from kubereach.diagnosis.subject import Endpoint
from kubereach.model.finding import NETWORK, NODE, WORKLOAD, Finding
from kubereach.model.outcome import REFUSED, TIMEOUT, SeriesResult
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

    @property
    def local(self) -> bool:
        return self.vantage.node == self.endpoint.node


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


def locate(cells: Sequence[Cell], short: Mapping[str, str], series: Series) -> Finding | None:
    """What is broken below the service proxy, from the pattern of what fails; None if nothing does.

    `cells` are those of every vantage with every endpoint; `short` are nodes' short names.
    """
    bad = [cell for cell in cells if not cell.good]
    if not bad:
        return None
    datagrams = series.kind == "udp" and int(str(series.more.get("size", 0))) > 1000
    large = series.kind == "transfer" or datagrams
    what = f"{_size(series)}{series.kind} probes to pod IPs"
    pod = _dead_pod(cells, series)
    if pod is not None:
        return _workload(pod, cells, series)
    into = {cell.endpoint.node for cell in bad if not cell.local}
    out_of = {cell.vantage.node for cell in bad if not cell.local}
    nodes = {cell.vantage.node for cell in cells} | {cell.endpoint.node for cell in cells}
    evidence = (*_lines(bad, short), *_lines([cell for cell in cells if cell.good], short)[:2])
    see = _see(bad[0], large)

    def name(node: str) -> str:
        return short.get(node, node)

    alone = [node for node in sorted(nodes) if len(nodes) > 1 and _all_of(bad, node)]
    for node in alone:
        around = [cell for cell in cells if node in (cell.vantage.node, cell.endpoint.node)]
        if _both_ways(around, node):
            text = f"{what} fail in both directions, from its pods and to them"
            if large and len(alone) == 1:
                return Finding(NETWORK, "pod network", text, (name(node),), evidence, see)
            if large:  # one of two: small packets would tell which, but they get through
                continue
            checks = ("sysctl net.ipv4.ip_forward", "sysctl net.netfilter.nf_conntrack_count", *see)
            return Finding(NODE, "node", text, (name(node),), evidence, checks)
    if not (into or out_of):
        hosts = sorted({cell.vantage.node for cell in bad})
        text = f"{what} on the same node fail"
        return Finding(NODE, "node", text, tuple(map(name, hosts)), evidence, see)
    between = {frozenset((cell.vantage.node, cell.endpoint.node)) for cell in bad if not cell.local}
    if len(between) == 1 and len(into) == 2:
        place = " and ".join(sorted(map(name, into)))
        return Finding(NETWORK, f"pod network between {place}", f"{what} fail only there", (), evidence, see)
    if len(into) == 1 and len(out_of) == 1:
        place = f"from {name(min(out_of))} to {name(min(into))}"
        return Finding(NETWORK, f"pod network {place}", f"{what} fail only there", (), evidence, see)
    if len(into) == 1:
        text = f"{what} from other nodes to it fail"
        return Finding(NETWORK, "pod network", text, (name(min(into)),), evidence, see)
    if len(out_of) == 1:
        text = f"{what} from it to other nodes fail"
        return Finding(NETWORK, "pod network", text, (name(min(out_of)),), evidence, see)
    return Finding(NETWORK, "pod network between nodes", f"{what} fail", (), evidence, see)


def _all_of(bad: Sequence[Cell], node: str) -> bool:
    """Whether a node has a part in everything that fails."""
    return all(node in (cell.vantage.node, cell.endpoint.node) for cell in bad)


def _both_ways(around: Sequence[Cell], node: str) -> bool:
    """Whether nothing of a node works, neither what comes from other nodes nor what goes to them.

    Among several others it is enough that something fails on the way from each of them and to each of them: what a node
    is short of may still suffice for some.
    """
    come: dict[str, list[bool]] = {}
    go: dict[str, list[bool]] = {}
    for cell in around:
        if not cell.local and cell.endpoint.node == node:
            come.setdefault(cell.vantage.node, []).append(cell.good)
        elif not cell.local:
            go.setdefault(cell.endpoint.node, []).append(cell.good)
    if not (come and go):
        return False
    works = all if min(len(come), len(go)) > 1 else any
    return not any(works(good) for good in [*come.values(), *go.values()])


def _refuse(cells: Sequence[Cell], series: Series) -> bool:
    """Whether all of these probes of a pod were refused: the network has brought them there, and nobody listens.

    Of datagrams one refusal is enough where the others are silent: refusals are ICMP errors, which the pod's kernel
    sends about once a second to a client (icmp(7), icmp_ratelimit).
    """
    outcomes = {outcome for cell in cells for outcome in cell.result.outcomes}
    return outcomes == {REFUSED} or (series.kind == "udp" and outcomes == {REFUSED, TIMEOUT})


def _dead_pod(cells: Sequence[Cell], series: Series) -> Endpoint | None:
    """An endpoint that nobody gets an answer of, not even from its own node, where another one there answers."""
    for endpoint in {cell.endpoint: None for cell in cells}:
        mine = [cell for cell in cells if cell.endpoint == endpoint]
        if any(cell.good for cell in mine):
            continue
        at_home = any(cell.local for cell in mine)
        others = [cell for cell in cells if cell.endpoint != endpoint and cell.endpoint.node == endpoint.node]
        if _refuse(mine, series) or (at_home and any(cell.good for cell in others)):
            return endpoint
    return None


def _workload(endpoint: Endpoint, cells: Sequence[Cell], series: Series) -> Finding:
    mine = [cell for cell in cells if cell.endpoint == endpoint]
    where = f"port {endpoint.number} of pod {endpoint.pod} ({endpoint.address})"
    what = f"{where} does not answer from any node"
    if _refuse(mine, series):
        what = f"no process listens on {where}"
    lines = tuple(f"from {cell.vantage.name}: {counted([cell.result])}" for cell in mine)
    see = (f"kubectl describe pod {endpoint.pod}", f"kubectl exec {endpoint.pod} -- ss -lntu")
    return Finding(WORKLOAD, "pods", what, (), lines, see)


def _lines(cells: Sequence[Cell], short: Mapping[str, str]) -> list[str]:
    """What came of it, a line for each pair of nodes."""
    pairs: dict[tuple[str, str], list[SeriesResult]] = {}
    for cell in cells:
        key = (cell.vantage.name, short.get(cell.endpoint.node, cell.endpoint.node))
        pairs.setdefault(key, []).append(cell.result)
    return [f"{v} to pods on {node or 'no node'}: {counted(r)}" for (v, node), r in pairs.items()][:_MOST]


def _size(series: Series) -> str:
    size, tos = series.more.get("size"), series.more.get("tos")
    half = "half-closed " if series.more.get("half_close") else ""
    mark = f"{half}TOS {int(str(tos)):#04x} " if tos else half
    return f"{size} byte {mark}" if size else mark


def _see(cell: Cell, large: bool) -> tuple[str, ...]:
    address = cell.endpoint.address
    ping = f"ping -M do -s 1372 {address}"
    return (
        f"ip route get {address}  # on {cell.vantage.node}",
        *((ping,) if large else ()),
        f"tcpdump -ni any host {address}  # on {cell.vantage.node} and {cell.endpoint.node}",
        "kubectl -n kube-system get pods -o wide  # the CNI's agents of both nodes",
    )


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
