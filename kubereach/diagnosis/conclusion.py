"""From an explanation to a finding: the layer and the place, what fails there, what passes, and what is not known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kubereach.diagnosis import hypotheses as kinds
from kubereach.diagnosis.evidence import DIRECT, Row
from kubereach.diagnosis.hypotheses import Component
from kubereach.diagnosis.score import Explanation
from kubereach.model.finding import NETWORK, NODE, PROXY, WORKLOAD, Finding

#: lines of evidence of each sort: what fails, and what does not
_FAILING, _PASSING = 4, 2
#: a share below which it is told
_EVERYTHING = 0.97
_EVERY = ("every node",)


@dataclass(frozen=True)
class Place:
    """How reports call a component: `what` goes on from the object and its nodes, `{}` is what fails there."""

    layer: str
    object: str
    nodes: tuple[str, ...]
    what: str


#: kinds of clients, as sentences have them
_CLIENTS = {
    "pod": "pods", "other-namespace": "pods of another namespace", "node": "nodes' own processes",
    "outside": "clients from outside",
}  # fmt: skip


def place_of(component: Component, short: Callable[[str], str]) -> Place:
    """The place that a component is."""
    place = _place(component, short)
    if component.only:
        who = f"{{}} of {_CLIENTS.get(component.only, component.only)}"
        return replace(place, what=place.what.replace("{}", who, 1))
    return place


def _place(component: Component, short: Callable[[str], str]) -> Place:
    first, second = short(component.first), short(component.second)
    network = "pod network"
    match component.kind:
        case kinds.FROM_TO | kinds.PODS_FROM_TO:
            return Place(NETWORK, f"{network} from {first} to {second}", (), "{} fail only there")
        case kinds.BETWEEN | kinds.PODS_BETWEEN:
            return Place(NETWORK, f"{network} between {first} and {second}", (), "{} fail only there")
        case kinds.FROM | kinds.PODS_FROM:
            return Place(NETWORK, network, (first,), "{} from it to other nodes fail")
        case kinds.TO | kinds.PODS_TO:
            return Place(NETWORK, network, (first,), "{} from other nodes to it fail")
        case kinds.NODE | kinds.FORWARDING:
            return Place(NODE, "node", (first,), "{} fail in both directions, from its pods and to them")
        case kinds.WHOLE_NODE:
            return Place(NODE, "node", (first,), "{} from it, to it and within it fail")
        case kinds.AT:
            return Place(NODE, "node", (first,), "{} to its pods fail, also from itself")
        case kinds.EVERYTHING:
            return Place(NETWORK, network, (), "{} fail everywhere, also on the same node")
        case kinds.WITHIN:
            return Place(NODE, "node", (first,), "{} on the same node fail")
        case kinds.NETWORK:
            return Place(NETWORK, f"{network} between nodes", (), "{} fail")
        case kinds.PROCESSES:
            return Place(NODE, "node", (first,), "{} of its own processes fail")
        case kinds.POD:
            return Place(WORKLOAD, "pods", (), f"{{}} to pod {component.first} fail from every node")
        case kinds.WORKLOAD:
            what = f"{{}} to every endpoint of Service {component.first} fail, also directly"
            return Place(WORKLOAD, "pods", (), what)
        case kinds.CLIENT:
            return Place(NETWORK, "pod network", (), f"{{}} of {component.first} fail, and of nobody else")
        case kinds.NAMESPACE:
            return Place(NETWORK, network, (), f"{{}} of clients in namespace {component.first} fail alone")
        case kinds.OWN_ADDRESS:
            return Place(NODE, "node", (first,), "{} to its address get no reply, not even a refusal")
        case kinds.FROM_TO_ADDRESS if first == second:
            return Place(NODE, "node", (first,), "{} from it to its own address fail")
        case kinds.FROM_TO_ADDRESS:
            return Place(NETWORK, f"{network} from {first} to {second}", (), "{} to the node's address fail")
        case kinds.ADDRESSES | kinds.PODS_ADDRESSES:
            return Place(NETWORK, network, _EVERY, "{} to other nodes' addresses fail")
        case kinds.HAIRPIN:
            return Place(
                PROXY, "service proxy", _EVERY, "{} of pods by a Service to themselves fail (hairpin)"
            )
        case kinds.HAIRPIN_ON:
            return Place(
                PROXY, "service proxy", (first,), "{} of pods by a Service to themselves fail (hairpin)"
            )
        case kinds.TO_ADDRESSES | kinds.PODS_TO_ADDRESSES:
            return Place(NETWORK, network, (first,), "{} from it to other nodes' addresses fail")
        case kinds.PROXY:
            return Place(PROXY, "service proxy", (first,), "{} to Services fail")
        case kinds.WAY_ON:
            return Place(PROXY, "service proxy", (second,), f"{{}} by {component.first} fail")
        case kinds.SERVICE_ON:
            return Place(PROXY, "service proxy", (second,), f"{{}} to Service {component.first} fail")
        case kinds.ENDPOINT_ON:
            return Place(
                PROXY, "service proxy", (second,), f"{{}} to endpoint {component.first} fail by Services"
            )
        case kinds.ENDPOINT:
            what = f"{{}} to endpoint {component.first} fail by Services, and directly they do not"
            return Place(PROXY, "service proxy", _EVERY, what)
        case kinds.SERVICE:
            return Place(PROXY, "service proxy", _EVERY, f"{{}} to Service {component.first} fail")
        case kinds.WAY:
            return Place(PROXY, "service proxy", _EVERY, f"{{}} by {component.first} fail")
        case kinds.ADDRESS:
            return Place(PROXY, "service proxy", _EVERY, f"{{}} to {component.first} fail")
    return Place(PROXY, "service proxy", _EVERY, "{} to Services fail")


def finding_of(
    rows: Sequence[Row],
    cover: Sequence[Explanation],
    own: Explanation,
    short: Callable[[str], str],
    probes: str = "",
) -> Finding:
    """What is said of the explanation of a path's losses, `own`; the rest of the cover may be the same elsewhere.

    `probes` is what the probes are called, where it is not by their packets.
    """
    component = own.candidate.component
    place = place_of(component, short)
    nodes = set(place.nodes)
    for other in cover:
        also = place_of(other.candidate.component, short)
        if other is not own and (also.layer, also.object, also.what) == (
            place.layer,
            place.object,
            place.what,
        ):
            nodes |= set(also.nodes)
    if component.kind in _OF_NODES and _large_alone(own):
        place = replace(place, layer=NETWORK, object="pod network")
    what = place.what.format(_probes(own, probes)) + _beside(own)
    if component.kind in _OF_PODS and (port := _unheard(rows, own)):
        what = f"no process listens on {port}"
        place, nodes = Place(WORKLOAD, "pods", (), ""), set()
    doubt = _doubt(own, place, short)
    if doubt:
        what += f"; not told apart from {doubt}"
    return Finding(
        place.layer, place.object, what, tuple(sorted(nodes)), tuple(_lines(rows, own)), _next(rows, own)
    )


def _large_alone(own: Explanation) -> bool:
    lost = [packets for packets, share in own.shares.items() if share]
    return all(packets.endswith(("bytes", "KiB", "MiB")) for packets in lost)


def _probes(own: Explanation, called: str) -> str:
    """``TCP probes``, ``30 % of UDP probes of 8000 bytes``: what is lost, and how much of it."""
    lost = {packets: share for packets, share in own.shares.items() if share}
    words = " and ".join(_packets(packets) for packets in sorted(lost))
    if len(lost) == len(own.shares) > 1:
        words = "probes"
    words = called or words
    share = max(lost.values())
    return words if share > _EVERYTHING else f"{max(1, round(100 * share))} % of {words}"


def _packets(packets: str) -> str:
    protocol, _, size = packets.partition(" ")
    return f"{protocol.upper()} probes" + (f" of {size}" if size else "")


def _unheard(rows: Sequence[Row], own: Explanation) -> str:
    """The port that nobody listens on, where every probe that got to the pod itself was refused; else empty.

    Of datagrams one refusal is enough where the others are silent: refusals are ICMP errors, which a kernel sends about
    once a second to a client (icmp(7), icmp_ratelimit).
    """
    direct = [rows[number] for number in own.candidate.lossy if rows[number].way == DIRECT]
    if not direct or any(row.answered for row in direct):
        return ""
    datagrams = all(row.packets.startswith("udp") for row in direct)
    if not (any if datagrams else all)(row.refused == row.lost for row in direct):
        return ""
    return f"port {direct[0].port} of pod {direct[0].routes[0].pod} ({direct[0].host})"


def _beside(own: Explanation) -> str:
    """What passes at the same place: packets of which nothing was lost there."""
    passing = [
        packets for packets, share in own.shares.items() if not share and own.candidate.answered[packets]
    ]
    if not passing:
        return ""
    return f", {' and '.join(_packets(packets) for packets in sorted(passing))} do not"


def _doubt(own: Explanation, place: Place, short: Callable[[str], str]) -> str:
    """Other places that explain the same, which no probe has told apart."""
    others = [*own.candidate.alike, *(rival.component for rival, _ in own.rivals)]
    words = []
    for other in others:
        also = place_of(other, short)
        named = also.object + (f" on {', '.join(also.nodes)}" if also.nodes else "")
        if (also.object, also.nodes) != (place.object, place.nodes) and named not in words:
            words.append(named)
    return ", ".join(words[:2])


def _lines(rows: Sequence[Row], own: Explanation) -> list[str]:
    """Evidence, the strongest first: the rows that fail by it, then some beside them that do not."""
    failing = sorted(
        (rows[number] for number in own.candidate.lossy if own.shares[rows[number].packets]),
        key=lambda row: -row.lost / row.sent,
    )
    lines = list(dict.fromkeys(row.text for row in failing if row.text))[:_FAILING]
    kind = failing[0].packets if failing else ""
    passing = [row.text for row in rows if not row.lost and row.packets == kind and row.text not in lines]
    return lines + list(dict.fromkeys(passing))[:_PASSING]


def _next(rows: Sequence[Row], own: Explanation) -> tuple[str, ...]:
    """Commands to type next, on the nodes at hand."""
    row = rows[next(iter(own.candidate.lossy))]
    component = own.candidate.component
    service = _namespaced(row.service)
    if component.kind in _OF_PROXIES:
        node = next(iter(component.nodes), row.translator) or "a node"
        return (
            f"nft list ruleset | grep {row.host}  # or iptables-save, ipvsadm -Ln; on {node}",
            f"conntrack -L -d {row.host}",
            *service,
            "kubectl -n kube-system get pods -o wide  # the service proxy's",
        )
    if component.kind == kinds.WORKLOAD:
        return (f"kubectl -n {row.service.partition('/')[0]} get pods -o wide", *service)
    if component.kind == kinds.POD:
        return (
            f"kubectl describe pod {component.first}", f"kubectl exec {component.first} -- ss -lntu", *service
        )  # fmt: skip
    there = " and ".join(dict.fromkeys(filter(None, (row.node, row.owner or row.routes[0].node))))
    size = ("ping -M do -s 1372 " + row.host,) if _large_alone(own) else ()
    forwarding = ("sysctl net.ipv4.ip_forward", "sysctl net.netfilter.nf_conntrack_count")
    return (
        *(forwarding if component.kind in _OF_NODES else ()),
        f"ip route get {row.host}  # on {row.node or 'the client'}",
        *size,
        f"tcpdump -ni any host {row.host}  # on {there}",
        "kubectl -n kube-system get pods -o wide  # the CNI's agents of these nodes",
    )


def _namespaced(service: str) -> tuple[str, ...]:
    namespace, _, name = service.partition("/")
    return (f"kubectl -n {namespace} describe service {name}",) if name else ()


_OF_NODES = frozenset({kinds.NODE, kinds.FORWARDING, kinds.WHOLE_NODE})
_OF_PODS = frozenset({kinds.POD, kinds.WORKLOAD, kinds.AT, kinds.EVERYTHING})
_OF_PROXIES = frozenset(
    {
        kinds.PROXY, kinds.PROXIES, kinds.SERVICE, kinds.SERVICE_ON, kinds.ENDPOINT, kinds.ENDPOINT_ON, kinds.WAY,
        kinds.WAY_ON, kinds.ADDRESS, kinds.HAIRPIN, kinds.HAIRPIN_ON,
    }
)  # fmt: skip
