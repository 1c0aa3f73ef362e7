"""From a path that failed to the layer that is broken."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from kubereach.diagnosis import dns, network, proxy
from kubereach.diagnosis.bench import Bench, counted
from kubereach.diagnosis.conclusion import finding_of
from kubereach.diagnosis.evidence import DIRECT, Row
from kubereach.diagnosis.experiments import Experiments
from kubereach.diagnosis.intermittent import intermittent
from kubereach.diagnosis.misled import misled
from kubereach.diagnosis.subject import Endpoint, Subject, subject_named, subject_of, subjects_at
from kubereach.diagnosis.table import Table
from kubereach.diagnosis.template import probing
from kubereach.diagnosis.workload import hints_wrong, hostnames_wrong, pods_wrong, slices_late, slices_wrong
from kubereach.expect.reach import series_for
from kubereach.kube.endpoints import addresses_of
from kubereach.model import misses
from kubereach.model.finding import NODE, Finding
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, SERVFAIL, TIMEOUT, UNREACHABLE
from kubereach.probe import Vantage
from kubereach.probe.path import Path
from kubereach.probe.peer.protocol import NO_ADDRESS
from kubereach.probe.vantage import OUTSIDE, POD

if TYPE_CHECKING:
    from kubereach.world.world import World

#: outcomes that only a name can have
_NAMES = frozenset({NXDOMAIN, NODATA, SERVFAIL})
#: misses that say nothing of what is beneath the service proxy: somebody answered who must not
_ABOVE = frozenset({misses.ANSWERED, misses.NO_REFUSAL, misses.STATUS})
#: misses that any component may cause: where they are not met again, nothing is blamed for that alone. Who leads probes
#: astray, by contrast, is who translates them
_MET_AGAIN = frozenset({misses.LOST})
#: times that what failed is measured anew before it is said not to recur
_ROUNDS = 2
#: of a connection that is held open, and how many seconds it is silent between them at most
_PINGS, _SILENCE = 2, 8.0
#: such connections, and seconds between the pings of others that are never silent
_HELD, _BUSY = 6, 0.4


class Doctor:
    """Examines paths that failed, at the moment at which they did: what a check has made is still there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bench = Bench()
        self._spent = 0.0
        #: what earlier examinations have measured of the network itself
        self._known: list[Row] = []
        self._lock = threading.Lock()
        self._short = {node.name: node.short or node.name for node in world.cluster.nodes}

    def examine(self, path: Path) -> Finding | None:
        """What is broken on the way of `path`; None if it could not be found out, or not in time.

        All examinations of a run take ``settings.diagnosis_budget`` seconds together: a run ends in time.
        May raise whatever it stumbles over: who calls it keeps the failure, and says that it has no diagnosis.
        """
        if self._spent > path.vantage.context.settings.diagnosis_budget:
            return None
        begun = time.monotonic()
        try:
            return self._examine(path)
        finally:
            with self._lock:
                self._spent += time.monotonic() - begun

    def _examine(self, path: Path) -> Finding | None:
        world, bench = self._world, self._bench
        subject = subject_of(world, path.address)
        if path.address.way == "dns" or _name_failed(path):
            wrong = self._records_wrong(path, subject)
            return wrong or dns.walk(world, bench, path, subject, self._short)
        if found := misled(world, bench, path, subject, self._short):
            return self._records_wrong(path, subject) or found
        subject = self._followed(path, subject)
        if subject is None:
            return self._without_service(path)
        # where nobody is to answer, pods that are not ready are as they should be
        above = path.miss in _ABOVE and not (path.miss == misses.STATUS and _silent(path))
        of_pods = not above and path.address.way != "health-check"
        wrong = slices_wrong(subject) or slices_late(world, subject)
        wrong = wrong or (pods_wrong(world, subject) if of_pods else None)
        if path.miss == misses.BACKENDS:
            wrong = wrong or hints_wrong(subject)
        if wrong is not None:
            return wrong
        # who answers health checks is the node itself, also where it has no endpoints
        if above or not (subject.endpoints or path.address.way == "health-check"):
            return proxy.proxy_finding(world, bench, path, subject, ())
        if path.miss == misses.SOURCE:
            # what pods see of one another: a node has several addresses of its own
            pods = network.direct(bench, world.pods, subject.endpoints, probing(path))
            found = network.snat(pods, self._short)
        elif path.series is not None and path.series.burst:
            found = self._limited(path, subject) or self._inferred(path, subject)
        elif not proxy.by_balancer(world, bench, path, subject):
            found = self._inferred(path, subject)
        else:
            found = None
        if found is None and path.miss == misses.FLOW:
            found = self._idle_broken(path)
        if found is None and path.miss in _MET_AGAIN and not _follows_change(path):
            return intermittent(world, path, subject)
        return found or proxy.proxy_finding(world, bench, path, subject, self._sound(path, subject))

    def _inferred(self, path: Path, subject: Subject) -> Finding | None:
        """What explains all that fails and all that passes; None where what failed does not fail any more."""
        experiments = Experiments(self._world, self._bench, path, subject)
        own = experiments.own()
        table = Table([*own, *experiments.about()], self._known)
        mine = table.explanation_of(own)
        for _ in range(0 if _follows_change(path) else _ROUNDS):
            if mine is not None or not any(row.lost for row in own):
                break
            table.add(experiments.again())
            mine = table.explanation_of(own)
        if mine is None:
            return None
        if any(row.lost and row.way == DIRECT for row in table.rows):
            table.add(experiments.other_packets())
            mine = table.explanation_of(own) or mine
        with self._lock:
            self._known = table.of_network()
        return finding_of(table.rows, table.cover, mine, experiments.short)

    def _records_wrong(self, path: Path, subject: Subject | None) -> Finding | None:
        """What is wrong with the EndpointSlices of a headless Service, which its records are made of."""
        world, name = self._world, dns.queried_name(path)
        named = subject_named(world, name, path.address.family) or subject
        for one in subjects_at(world, name) or ([named] if named else []):
            if one.service["spec"].get("clusterIP") == "None":
                wrong = slices_wrong(one) or hostnames_wrong(one) or slices_late(world, one)
                if wrong is not None:
                    return wrong
        return None

    def _followed(self, path: Path, subject: Subject | None) -> Subject | None:
        """The Service that the path leads to in the end: by a pod's name, or by the name that stands for another."""
        if subject is None:
            return subject_named(self._world, path.address.host, path.address.family)
        spec = subject.service["spec"]
        if spec.get("type") == "ExternalName":
            return subject_named(self._world, spec["externalName"], path.address.family) or subject
        return subject

    def _without_service(self, path: Path) -> Finding | None:
        """A pod's own address, or a Service that is gone."""
        if path.address.way == "pod":
            subject = self._workload_of(path)
            if subject is None:
                return None
            if path.miss == misses.SOURCE:
                cells = network.direct(self._bench, self._group(path), subject.endpoints, probing(path))
                return network.snat(cells, self._short)
            return self._inferred(path, subject)
        if path.miss in _ABOVE:
            return proxy.proxy_finding(self._world, self._bench, path, None, ())
        return None

    def _workload_of(self, path: Path) -> Subject | None:
        """The pods of the workload that the address' pod is of, at the same port: a pattern takes several."""
        found = None
        for pod in self._world.watch_cache.all("Pod"):
            if path.address.host in addresses_of(pod):
                found = pod
        if found is None:
            return None
        app = (found["metadata"].get("labels") or {}).get("app")
        family = ":" in path.address.host
        endpoints = [
            Endpoint(
                ip,
                pod["metadata"]["name"],
                pod["spec"].get("nodeName", ""),
                path.address.port,
                hosted=bool(pod["spec"].get("hostNetwork")),
            )
            for pod in self._world.watch_cache.all("Pod", found["metadata"]["namespace"])
            if (pod["metadata"].get("labels") or {}).get("app") == app
            and not pod["metadata"].get("deletionTimestamp")
            for ip in addresses_of(pod)
            if (":" in ip) == family
        ]
        meta = {"namespace": found["metadata"]["namespace"], "name": app or found["metadata"]["name"]}
        listed = {endpoint.address: endpoint for endpoint in endpoints}
        return Subject({"metadata": meta, "spec": {}}, {"port": path.address.port}, (), {}, listed)

    def _group(self, path: Path) -> list[Vantage]:
        """The vantages that tell on which nodes a path fails: one for each node, of the same kind where there are."""
        world = self._world
        if path.vantage.kind not in (POD, OUTSIDE):
            for group in (world.other_pods, world.nodes):
                if len(group) and path.vantage in list(group):
                    return list(group)
        return list(world.pods)

    def _idle_broken(self, path: Path) -> Finding | None:
        """A connection that breaks of silence alone: nothing that is changed meanwhile can be to blame."""
        begun = [0.0, *sorted(probe.at for probe in path.result.probes)]
        silent = min(_SILENCE, max(later - sooner for sooner, later in pairwise(begun)) if begun[1:] else 0.0)
        if path.series is None or path.address.kind != "tcp" or not silent:
            return None
        # several: which endpoint one gets, and so which nodes it passes, is luck
        held = [replace(path.series, count=_PINGS, spacing=silent + 0.05 * n) for n in range(_HELD)]
        # those that are not silent meanwhile: what cuts them too, as changes of other Services may, is not the silence
        often = replace(path.series, count=int(silent / _BUSY) + 1, spacing=_BUSY)
        busy = [replace(often, delay=0.01 * n) for n in range(_HELD)]
        results = self._bench.run([(path.vantage, series) for series in (*held, *busy)])
        results, talking = results[:_HELD], results[_HELD:]
        if all(result.outcomes[OK] >= _PINGS for result in results):
            return None
        if any(result.outcomes.keys() - {OK} for result in talking):
            return None
        what = f"connections that are idle for {silent:.1f} s break although nothing changed"
        lines = (f"{path.vantage.name} to {path.address}: {counted(results)}",)
        node = self._short.get(path.vantage.node, path.vantage.node)
        see = (
            "sysctl net.netfilter.nf_conntrack_tcp_timeout_established",
            "conntrack -S",
            "conntrack -L -p tcp",
        )
        return Finding(NODE, "connection tracking", what, (node,) if node else (), lines, see)

    def _limited(self, path: Path, subject: Subject) -> Finding | None:
        """A limit on simultaneous connections: many at a time do not all get through to the pods, and few do."""
        sources = proxy.translating(self._world, path)
        cells = network.direct(self._bench, sources, subject.endpoints, probing(path))
        few = network.direct(self._bench, sources, subject.endpoints, replace(series_for(path), count=12))
        if all(cell.good for cell in cells) or not all(cell.good for cell in few):
            return None
        count = path.series.count if path.series else 0
        what = (
            f"some of {count} simultaneous connections of one client are refused or lost, also "
            "directly to pods"
        )
        bad = [cell for cell in cells if not cell.good]
        lines = tuple(f"{c.vantage.name} to pod {c.endpoint.pod}: {counted([c.result])}" for c in bad[:4])
        nodes = tuple(sorted({self._short.get(c.endpoint.node, c.endpoint.node) for c in bad}))
        see = (
            "sysctl net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_count",
            "nft list ruleset | grep -i limit",
        )
        return Finding(NODE, "node", what, nodes, lines, see)

    def _sound(self, path: Path, subject: Subject) -> list[str]:
        """What was found to work beneath the service proxy, in words."""
        cells = network.direct(
            self._bench, proxy.translating(self._world, path), subject.endpoints, probing(path)
        )
        if not cells:
            return []
        many = (
            f"all of its {len(subject.endpoints)} endpoints answer"
            if len(subject.endpoints) > 1
            else "its endpoint answers"
        )
        return [f"{many} directly ({counted([cell.result for cell in cells])})"]


def _follows_change(path: Path) -> bool:
    """Whether the path was to follow a change and did not in time: that it works by now is no wonder then."""
    return path.converged < 0 and (bool(path.change) or path.address.settled > path.began)


def _silent(path: Path) -> bool:
    """Whether nothing came back at all, right or wrong."""
    return path.result.outcomes.keys() <= {TIMEOUT, UNREACHABLE}


def _name_failed(path: Path) -> bool:
    """Whether it goes by a name, and it was the name that did not lead anywhere."""
    missed = [probe.answer for probe in path.result.probes if probe.answer.outcome != OK]
    return any(answer.outcome in _NAMES or answer.detail == NO_ADDRESS for answer in missed)
