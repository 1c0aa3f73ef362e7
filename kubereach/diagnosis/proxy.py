"""The service proxy and the load balancer: what is left when the pods answer directly, and on which nodes it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench, counted, sound
from kubereach.diagnosis.subject import Subject
from kubereach.diagnosis.template import probing
from kubereach.diagnosis.wording import describe
from kubereach.model import misses
from kubereach.model.finding import BALANCER, NETWORK, NODE, PROXY, Finding
from kubereach.model.outcome import OK, REFUSED, RESET, SeriesResult
from kubereach.probe import Series, Vantage
from kubereach.probe.path import Path
from kubereach.probe.vantage import NODE as NODE_VANTAGE
from kubereach.probe.vantage import OUTSIDE
from kubereach.world.load_balancer_own import CLEANUP, OWN_CLASS

if TYPE_CHECKING:
    from kubereach.world.world import World

#: probes of each way, one after the other: refusals are rationed, and whoever fails is to fail soon
_TRIES = 24


def address_node(world: World, path: Path) -> str:
    """The node whose own address was tried; empty if it was none."""
    return next((node.name for node in world.cluster.nodes if path.address.host in node.addresses), "")


def translating(world: World, path: Path) -> list[Vantage]:
    """Vantages on the nodes whose service proxy translates what goes over the path."""
    node = address_node(world, path)
    hosts = list(world.nodes) if len(world.nodes) else []
    if node:
        return [v for v in hosts or world.pods if v.node == node]
    if path.vantage.kind == OUTSIDE:
        return hosts or list(world.pods)
    return [path.vantage]


def unreachable_node(world: World, bench: Bench, path: Path) -> Finding | None:
    """A node that sends nothing back at all, not even a refusal, so that its node ports say nothing."""
    name = address_node(world, path)
    own = path.vantage.node == name
    # what a node port leads to is not on the own node's address; what answers health checks is
    if not name or (own and path.address.way != "health-check"):
        return None
    closed = Series("tcp", path.address.host, 1, timeout=path.vantage.context.settings.connect_timeout)
    (result,) = bench.run([(path.vantage, closed)])
    if result.outcomes.keys() & {OK, REFUSED, RESET}:
        return None
    short = _short(world, name)
    what = f"no reply to {path.vantage.name} at all, not even a refusal from a closed port"
    if path.vantage.kind not in (OUTSIDE, NODE_VANTAGE) and not own:
        others = [(v, closed) for v in world.nodes if v.node != name] if len(world.nodes) else []
        if any(one.outcomes.keys() & {OK, REFUSED, RESET} for one in bench.run(others)):
            return _no_egress(path, counted([result]))
    see = (
        f"ping {path.address.host}",
        f"kubectl describe node {name}",
        "the firewall between the two",
    )
    return Finding(NODE, "node", what, (short,), (f"tcp port 1: {counted([result])}",), see)


def _no_egress(path: Path, counts: str) -> Finding:
    """A node that answers other nodes and not the pods."""
    what = (
        f"pods on this node cannot reach {path.address.host}, other nodes can "
        f"({path.vantage.name} gets no reply)"
    )
    see = (
        f"ip route get {path.address.host}  # in a pod",
        "nft list ruleset | grep -i -e masquerade -e drop  # on the pod's node",
        "kubectl -n kube-system get pods -o wide  # the CNI's agents",
    )
    node = path.vantage.name.rpartition("@")[2]
    return Finding(NETWORK, "pod network", what, (node,) if node else (), (f"tcp port 1: {counts}",), see)


def proxy_finding(
    world: World, bench: Bench, path: Path, subject: Subject | None, working: Sequence[str]
) -> Finding:
    """The layer that is left, and the nodes on which it fails. `working` says what was found to work."""
    if path.miss == misses.ANSWERED and path.vantage.kind == OUTSIDE and path.address.way == "clusterip":
        return _routed(path, subject)
    foreign = _foreign_controller(subject) if path.address.way == "loadbalancer" else None
    if foreign is not None:
        return foreign
    what = describe(world, path, subject)
    if working:
        what += f"; {working[0]}"
    own = f"{path.vantage.name}: {counted([path.result])}"
    alternatives = _other_nodes(world, path)
    lines = [own, *working]
    places = [address_node(world, path) or path.vantage.node]
    if alternatives and path.miss in _REPEATED:
        results = bench.run([(v, _series(path, host)) for v, host, _ in alternatives])
        wrong = _REPEATED[path.miss]
        bad = [
            (node, r)
            for (_, _, node), r in zip(alternatives, results, strict=True)
            if wrong(path, subject, r)
        ]
        good = [
            (node, r)
            for (_, _, node), r in zip(alternatives, results, strict=True)
            if not wrong(path, subject, r)
        ]
        # the one that was seen to fail counts even if it works again by now
        places = list(dict.fromkeys([*places, *(node for node, _ in bad)]))
        lines += [f"via {_short(world, node)}: {counted([r])}" for node, r in (*bad, *good)[:6]]
    nodes = tuple(_short(world, node) for node in places if node)
    if _balancers(world, bench, path, subject):
        see = (*_service_commands(subject), "the load balancer controller's log")
        return Finding(BALANCER, "load balancer", what, (), tuple(lines), see)
    every = len(nodes) == len(world.cluster.nodes) and len(nodes) > 1
    see = (
        f"nft list ruleset | grep {path.address.host}  # or iptables-save, ipvsadm -Ln; on {places[0] or 'a node'}",
        f"conntrack -L -d {path.address.host}",
        *_service_commands(subject),
        "kubectl -n kube-system get pods -o wide  # the service proxy's",
    )
    return Finding(PROXY, "service proxy", what, ("every node",) if every else nodes, tuple(lines), see)


def _routed(path: Path, subject: Subject | None) -> Finding:
    what = f"cluster IPs are routed from outside: {path.address.host} answers {path.vantage.name}"
    see = (f"ip route get {path.address.host}  # outside", *_service_commands(subject))
    return Finding(NETWORK, "routes", what, (), (counted([path.result]),), see)


def _foreign_controller(subject: Subject | None) -> Finding | None:
    """A Service of our own class that a controller has taken charge of all the same."""
    spec = subject.service["spec"] if subject else {}
    if subject is None or CLEANUP not in (subject.service["metadata"].get("finalizers") or ()):
        return None
    if spec.get("loadBalancerClass") != OWN_CLASS:
        return None
    what = (
        f"a controller serves Service {subject.name} despite its loadBalancerClass "
        f"{spec['loadBalancerClass']}"
    )
    lines = (f"it has the finalizer {CLEANUP}",)
    return Finding(BALANCER, "load balancer", what, (), lines, _service_commands(subject))


def _balancers(world: World, bench: Bench, path: Path, subject: Subject | None) -> bool:
    """Whether the way to the cluster is at fault, not what the cluster does: the same is not missed inside."""
    if path.address.way != "loadbalancer":
        return False
    if subject is None or path.vantage.kind != OUTSIDE:
        # of a Service that is gone nothing should lead anywhere; inside, the service proxy serves the address
        return subject is None
    if path.miss == misses.SOURCE:
        return not _hides_clients(world, bench, path, subject)
    results = bench.run([(v, _series(path, path.address.host)) for v in world.pods])
    if path.miss == misses.MISSING:
        backends_inside = {pod for result in results for pod in result.backends}
        return backends_inside >= {endpoint.pod for endpoint in subject.endpoints}
    wrong = _REPEATED.get(path.miss, _lost)
    return not any(wrong(path, subject, result) for result in results)


def _hides_clients(world: World, bench: Bench, path: Path, subject: Subject) -> bool:
    """Whether pods do not see the client's own address by their nodes' ports either, where no balancer is between."""
    number, own = int(subject.port.get("nodePort", 0)), {endpoint.node for endpoint in subject.endpoints}
    nodes = [node for node in world.cluster.nodes if number and node.name in own]
    results = bench.run([(path.vantage, replace(_series(path, node.address), port=number)) for node in nodes])
    answers = [probe.answer for result in results for probe in result.probes if probe.answer.outcome == OK]
    return any(not path.vantage.is_own(answer) for answer in answers)


def _other_nodes(world: World, path: Path) -> list[tuple[Vantage, str, str]]:
    """The same way of reaching over other nodes: vantage, host and the node that serves it."""
    if path.address.way in ("nodeport", "health-check") and address_node(world, path):
        return [(path.vantage, node.address, node.name) for node in world.cluster.nodes]
    if path.vantage.kind == OUTSIDE or path.address.way == "pod":
        return []
    group = next(
        (g for g in (world.pods, world.other_pods, world.nodes) if path.vantage in list(g)), world.pods
    )
    return [(vantage, path.address.host, vantage.node) for vantage in group]


def _series(path: Path, host: str) -> Series:
    return replace(probing(path, _TRIES), host=host, in_flight=1, stop_after=1)


def _lost(path: Path, subject: Subject | None, result: SeriesResult) -> bool:  # noqa: ARG001
    return not sound(result)


def _other_backends(path: Path, subject: Subject | None, result: SeriesResult) -> bool:  # noqa: ARG001
    return subject is not None and bool(result.backends.keys() - {e.pod for e in subject.endpoints})


def _answered(path: Path, subject: Subject | None, result: SeriesResult) -> bool:  # noqa: ARG001
    return bool(result.outcomes[OK])


def _port(path: Path, subject: Subject | None, result: SeriesResult) -> bool:  # noqa: ARG001
    targets = dict(path.address.targets)
    return any(
        p.answer.port != targets.get(p.answer.pod, p.answer.port)
        for p in result.probes
        if p.answer.outcome == OK
    )


#: by what was missed: whether another way's series misses the same. What is not here is seen on one node alone
_REPEATED: dict[str, Callable[[Path, Subject | None, SeriesResult], bool]] = {
    misses.LOST: _lost,
    misses.BACKENDS: _other_backends,
    misses.ANSWERED: _answered,
    misses.PORT: _port,
}


def _service_commands(subject: Subject | None) -> tuple[str, ...]:
    if subject is None:
        return ()
    namespace, name = subject.name.split("/")
    return (f"kubectl -n {namespace} describe service {name}",)


def _short(world: World, name: str) -> str:
    return next((node.short or node.name for node in world.cluster.nodes if node.name == name), name)
