"""Experiments: the probes that tell hypotheses apart, with what is right for each of them.

One dimension is varied at a time: other clients on the node, other nodes, each endpoint directly, other nodes'
addresses, a Service beside. Whatever a traffic policy leaves unanswered is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted
from kubereach.diagnosis.evidence import DIRECT, NODE_ADDRESS, Route, Row, by_endpoint, packets_of
from kubereach.diagnosis.subject import Endpoint, Subject, datagram_endpoints, subjects_like
from kubereach.diagnosis.template import probing
from kubereach.expect.reach import series_for
from kubereach.model import misses
from kubereach.model.outcome import OK, REFUSED, RESET, UNANSWERED, Probe, SeriesResult
from kubereach.probe import Series, Vantage
from kubereach.probe.path import Path
from kubereach.probe.vantage import NODE, OUTSIDE

if TYPE_CHECKING:
    from kubereach.world.world import World

#: the way of a Service's health check node port
_HEALTH = "health-check"
#: vantages, endpoints and nodes that are tried with one another
MOST = 6
#: probes of a row where nothing is asked of the path that failed itself
_BESIDE = 60
#: probes that are made slowly, and seconds between them: some five seconds together
_SLOW_COUNT, _SLOWLY = 100, 0.05
#: a TCP port that nobody listens on (tcpmux): a node that is reached refuses it
_CLOSED = 1
_CLOSED_TRIES = 4


@dataclass(frozen=True)
class Cell:
    """One series of an experiment: who sends it and where to, and which endpoints may answer."""

    vantage: Vantage
    series: Series
    way: str
    endpoints: tuple[Endpoint, ...]
    #: whether a probe of it is not as it must be here
    wrong: Callable[[Probe], bool]
    owner: str = ""
    translator: str = ""
    service: str = ""
    #: what is wrong with answers that are
    astray: str = "by others"

    def rows(self, result: SeriesResult, short: Callable[[str], str]) -> list[Row]:
        """What came of it. A loss on a known route, such as a retransmission, has a row of its own."""
        answered: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        refused = 0
        for probe in result.probes:
            (lost if self.wrong(probe) else answered)[probe.answer.pod] += 1
            refused += probe.answer.outcome == REFUSED
        known = {e.pod: e for e in self.endpoints} if len(self.endpoints) > 1 else {}
        if len(self.endpoints) == 1:  # whoever says so, or nobody: it can only be this one
            only = self.endpoints[0].pod
            answered, lost = Counter({only: answered.total()}), Counter({"": lost.total()})
        elif answered.keys() == {""}:  # nobody says who: each as much as any
            share, more = divmod(answered.total(), len(self.endpoints))
            answered = Counter({e.pod: share + (at < more) for at, e in enumerate(self.endpoints)})
        text = f"{self.vantage.name} to {self._place(short)}: {counted([result])}"
        if astray := sum(
            self.wrong(p) for p in result.probes if p.answer.outcome == OK and not p.retransmits
        ):
            text += f", {astray} of them {self.astray}"
        unknown = sum(count for pod, count in lost.items() if pod not in known)
        rows = [replace(self._row(self.endpoints, answered, unknown, text), refused=refused)]
        rows += [self._row((known[pod],), Counter(), n, text) for pod, n in lost.items() if pod in known]
        return [row for row in rows if row.sent]

    def _row(self, endpoints: Iterable[Endpoint], answered: Counter[str], lost: int, text: str) -> Row:
        routes = tuple(Route(e.pod, e.node, answered[e.pod], e.hosted) for e in endpoints)
        vantage = self.vantage
        return Row(
            client=vantage.name,
            kind=vantage.kind,
            node=vantage.node,
            way=self.way,
            host=self.series.host,
            packets=packets_of(self.series),
            routes=routes,
            lost=lost,
            owner=self.owner,
            translator=self.translator,
            service=self.service,
            namespace=vantage.namespace,
            pod=vantage.pod,
            port=self.series.port,
            text=text,
        )

    def _place(self, short: Callable[[str], str]) -> str:
        if self.way == DIRECT:
            (endpoint,) = self.endpoints
            return f"pod {endpoint.pod} on {short(endpoint.node) or 'no node'}"
        if self.way == NODE_ADDRESS:
            return f"a closed port of {short(self.owner)}"
        host = f"{self.way} {self.series.host}:{self.series.port}"
        return f"{host} ({short(self.owner)})" if self.owner else host


class Experiments:
    """The probes about one path that failed, and about what is beside it."""

    def __init__(self, world: World, bench: Bench, path: Path, subject: Subject) -> None:
        self._world, self._bench, self._path, self._subject = world, bench, path, subject
        self._node_of = {
            ip: node.name for node in world.cluster.nodes for ip in (node.address, *node.addresses)
        }
        self._short = {node.name: node.short or node.name for node in world.cluster.nodes}
        like = probing(path)
        # so many at once from everywhere would be too much for any backend
        self._like = like if not like.burst else probing(replace(path, series=None))

    def short(self, node: str) -> str:
        """A node's name as reports shorten it."""
        return self._short.get(node, node)

    def own(self) -> list[Row]:
        """What the path itself has shown: it failed before anything was asked here."""
        path = self._path
        cell = self._served(path.vantage, self._subject, path.address.host, self._like)
        return self._judged(cell.rows(path.result, self.short)) if cell else []

    def about(self) -> list[Row]:
        """The same and one thing else at a time: every vantage, every node, every endpoint, other Services."""
        return self._run([*self._ways(), *self._direct(self._like), *self._addresses(), *self._beside()])

    def again(self) -> list[Row]:
        """The path that failed, from everywhere, measured anew and for longer: what comes and goes is to come again."""
        path = self._path
        slowly = replace(self._like, count=min(self._like.count, _SLOW_COUNT), spacing=_SLOWLY)
        cells = [self._served(v, self._subject, path.address.host, slowly) for v in self._group()]
        return self._run([cell for cell in cells if cell], fresh=True)

    def other_packets(self) -> list[Row]:
        """Between pods, without any Service: packets of another protocol and of another size."""
        like = self._like
        small = series_for(Path(self._path.vantage, self._path.address), _BESIDE)
        cells: list[Cell] = []
        if packets_of(like) not in ("tcp", "udp"):
            cells += self._direct(small)
        echoes = datagram_endpoints(self._world)
        if like.kind != "udp" and echoes:
            host = echoes[0]
            address = replace(self._path.address, way=DIRECT, kind="udp", host=host.address, port=host.number)
            datagrams = series_for(Path(self._path.vantage, address), _BESIDE)
            cells += self._direct(
                datagrams, [echo for echo in echoes if echo.address.count(":") == host.address.count(":")]
            )
        return self._run(cells)

    # the cells

    def _group(self) -> list[Vantage]:
        """The path's own vantages first, then those of pods and of nodes."""
        world, own = self._world, self._path.vantage
        found: dict[Vantage, None] = {own: None}
        for group in (world.pods, world.other_pods, world.nodes):
            if len(group):
                found.update(dict.fromkeys(list(group)[:MOST]))
        return list(found)

    def _ways(self) -> list[Cell]:
        """The failed address from everywhere; a node port on every node."""
        path, way = self._path, self._path.address.way
        hosts = [path.address.host]
        if way in ("nodeport", _HEALTH) and path.address.host in self._node_of:
            version = path.address.version
            hosts += [node.address_of(version) for node in self._world.cluster.nodes[:MOST]]
        if way == DIRECT:
            return []
        cells = [
            self._served(vantage, self._subject, host, self._like)
            for vantage in self._group()
            for host in dict.fromkeys(hosts)
        ]
        return [cell for cell in cells if cell]

    def _direct(self, like: Series, endpoints: Sequence[Endpoint] = ()) -> list[Cell]:
        """Endpoints at the pods' own addresses, where nothing is translated."""
        wanted = [e for e in (endpoints or self._subject.endpoints) if e.number][:MOST]
        vantages = [v for v in self._group() if v.kind != OUTSIDE]
        return [
            Cell(
                vantage,
                # a datagram that a busy backend answers late has not been lost by the network
                replace(like, host=endpoint.address, port=endpoint.number, patient=True),
                DIRECT,
                (endpoint,),
                is_lost,
                service="" if endpoints else self._subject.name,
            )
            for vantage in vantages
            for endpoint in wanted
        ]

    def _addresses(self) -> list[Cell]:
        """Closed ports of nodes: a refusal shows that a node is reached, and its own packets come back."""
        if self._path.address.host not in self._node_of:
            return []
        series = Series(
            "tcp", port=_CLOSED, count=_CLOSED_TRIES, timeout=self._like.timeout, wanted=(REFUSED, RESET, OK)
        )
        version = self._path.address.version
        return [
            Cell(
                vantage,
                replace(series, host=node.address_of(version)),
                NODE_ADDRESS,
                (Endpoint(node.address, "", node.name, _CLOSED),),
                _no_reply,
                owner=node.name,
            )
            for vantage in self._group()
            for node in self._world.cluster.nodes[:MOST]
            if not (vantage.kind == NODE and vantage.node == node.name)
        ]

    def _beside(self) -> list[Cell]:
        """Another Service by the same way, from everywhere."""
        path = self._path
        other = next(iter(subjects_like(self._world, self._subject, path.address)), None)
        if other is None or path.vantage.kind == OUTSIDE:
            return []
        kind = "udp" if other.port.get("protocol") == "UDP" else "http"
        host = str(other.service["spec"]["clusterIP"])
        address = replace(path.address, way="clusterip", kind=kind, host=host, port=other.port["port"])
        cells = [
            self._served(v, other, host, series_for(Path(v, address), _BESIDE), "clusterip")
            for v in self._group()
        ]
        return [cell for cell in cells if cell]

    def _served(
        self, vantage: Vantage, subject: Subject, host: str, like: Series, way: str = ""
    ) -> Cell | None:
        """A Service's address from a vantage; None where its traffic policy has nobody answer."""
        way = way or self._path.address.way
        owner = self._node_of.get(host, "")
        translator = owner or ("" if vantage.kind == OUTSIDE else vantage.node)
        if way == DIRECT:
            translator = ""
        spec = subject.service["spec"]
        policy = spec.get("externalTrafficPolicy") if owner else spec.get("internalTrafficPolicy")
        endpoints = subject.endpoints
        if way == DIRECT:
            endpoints = [endpoint for endpoint in endpoints if endpoint.address == host]
        if policy == "Local" and way not in (DIRECT, _HEALTH):
            endpoints = [endpoint for endpoint in endpoints if endpoint.node == translator]
        if way == _HEALTH:  # the node itself answers, whatever its answer is
            endpoints = [Endpoint(host, "", owner, self._path.address.port, hosted=True)]
        if not endpoints:
            return None
        port = (
            subject.node_port if owner and subject.node_port and way != _HEALTH else self._path.address.port
        )
        if way == "clusterip":
            port = int(subject.port["port"])
        wrong = self._wrong(endpoints) if subject is self._subject else is_lost
        return Cell(
            vantage, replace(like, host=host, port=port), way, tuple(endpoints), wrong, owner, translator, subject.name
        )  # fmt: skip

    def _wrong(self, endpoints: Sequence[Endpoint]) -> Callable[[Probe], bool]:
        """Whether a probe misses what the path has missed."""
        miss = self._path.miss
        if miss == misses.BACKENDS:
            own = {endpoint.pod for endpoint in endpoints}
            return lambda probe: probe.answer.outcome == OK and probe.answer.pod not in own
        if self._path.address.way == _HEALTH:
            return _no_reply
        if miss == misses.PORT:
            targets = dict(self._path.address.targets)
            return lambda probe: (
                probe.answer.outcome == OK
                and probe.answer.port != targets.get(probe.answer.pod, probe.answer.port)
            )
        return is_lost

    def _run(self, cells: Sequence[Cell], *, fresh: bool = False) -> list[Row]:
        results = self._bench.run([(cell.vantage, cell.series) for cell in cells], fresh=fresh)
        rows = [
            row for cell, result in zip(cells, results, strict=True) for row in cell.rows(result, self.short)
        ]
        return self._judged(rows)

    def _judged(self, rows: list[Row]) -> list[Row]:
        return by_endpoint(rows) if self._path.miss == misses.MISSING else rows


def is_lost(probe: Probe) -> bool:
    """Whether a probe got no answer, or one that took a packet twice."""
    return probe.answer.outcome != OK or bool(probe.retransmits)


def _no_reply(probe: Probe) -> bool:
    return probe.answer.outcome in UNANSWERED - {REFUSED}
