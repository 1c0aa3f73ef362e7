"""From a fault to rules of nftables: a table of its own on each node that has it.

Hooks and priorities: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks. The service proxy translates
at -100, connection tracking begins at -200.
"""

from __future__ import annotations

from kubereach.selftest.lab_facts import Facts
from kubereach.selftest.random_fault import (
    BALANCED,
    CLUSTER_IPS,
    DELAY,
    DNS_SERVICE,
    DROP,
    DUPLICATE,
    EGRESS,
    ENDPOINT,
    FALSE_ANSWER,
    FORWARDING,
    INGRESS,
    LOST_SOURCE,
    NODE_PORTS,
    OWN_NODE,
    PAIR,
    PROCESSES,
    RATE,
    REFUSE,
    REPLICA,
    RESET,
    SERVICE,
    THROTTLE,
    WRONG_DESTINATION,
    Match,
    Place,
    RandomFault,
)

#: the table of a fault
TABLE = "ip fault"
REMOVED = f"delete table {TABLE}\n"
#: the link of a node to the others
_UNDERLAY = "eth0"
#: places whose rules need what a run makes
_OF_THE_WORLD = frozenset({BALANCED, SERVICE, ENDPOINT})
#: where the false name server listens, at its node's address
FALSE_DNS_PORT = 5399
#: what is not for a node's own pods has to come back the same way: the service proxy's own mark says so
_MASQUERADED = "meta mark set meta mark or 0x4000"
#: half of what clients have by default (ip_local_port_range)
_UPPER_HALF = "46884-65535"

# Chains, by what they are for.
_FILTER = {
    "before-pods": "type filter hook prerouting priority -150",
    "before-node": "type filter hook output priority -150",
    "forward": "type filter hook forward priority 20",
    "output": "type filter hook output priority 20",
}
_TRANSLATE = {
    "before-pods": "type nat hook prerouting priority -101",
    "before-node": "type nat hook output priority -101",
}
_LEAVE = "type nat hook postrouting priority 99"


def needs_world(fault: RandomFault) -> bool:
    """Whether its rules need addresses of pods or Services that a run makes."""
    return fault.place.kind in _OF_THE_WORLD or fault.action == WRONG_DESTINATION


def scripts(fault: RandomFault, facts: Facts) -> dict[str, str]:
    """What `nft -f` is to read in the namespace of each node, by the node's name; all of it or nothing applies.

    A way that takes longer needs none (`slow_way`).
    """
    made: dict[str, list[str]] = {}
    if fault.action == DELAY:
        return {}
    for number, where, packets in _ways(fault.place, facts):
        if fault.action == LOST_SOURCE and where == "before-node":
            continue  # all leave by the same hook
        words = f"{packets} {matching(fault.match, fault.action)}".strip()
        made.setdefault(facts.nodes[number].name, []).append(_chain(fault, facts, number, where, words))
    return {node: _table(chains) for node, chains in made.items()}


def _table(chains: list[str]) -> str:
    numbered = [text.replace("chain ", f"chain way-{index}-", 1) for index, text in enumerate(chains)]
    return f"table {TABLE} {{\n{''.join(numbered)}}}\n"


def _ways(place: Place, facts: Facts) -> list[tuple[int, str, str]]:
    """The number of the node, the kind of chain, and what packets of the place look like there."""
    number = place.nodes[0] if place.nodes else 0
    node, kind = facts.nodes[number], place.kind
    pods = f"{{ {', '.join(one.pods for one in facts.nodes)} }}"
    into = (number, "forward", f'iifname "{_UNDERLAY}" ip daddr {node.pods}')
    out_of = (number, "forward", f'oifname "{_UNDERLAY}" ip saddr {node.pods}')
    if kind == PAIR:
        return [(number, "forward", f"ip saddr {node.pods} ip daddr {facts.nodes[place.to].pods}")]
    if kind in (INGRESS, EGRESS, FORWARDING):
        return [*([into] if kind != EGRESS else []), *([out_of] if kind != INGRESS else [])]
    if kind == PROCESSES:
        return [(number, "output", f'oifname "{_UNDERLAY}" ip daddr {pods}')]
    if kind == OWN_NODE:
        mine = f'iifname != "{_UNDERLAY}" ip saddr {node.pods} ip daddr {node.address} ct direction original'
        return [(number, "before-pods", mine)]
    if kind in (ENDPOINT, REPLICA):
        pod = facts.replicas[place.replica] if kind == REPLICA else facts.backends[number]
        return [(pod.node, "forward", f"ip {'daddr' if place.toward else 'saddr'} {pod.address}")]
    packets = {
        CLUSTER_IPS: lambda: f"ip daddr {{ {', '.join(facts.services)} }}",
        NODE_PORTS: lambda: _node_ports(node.address),
        BALANCED: lambda: f"ip daddr {{ {', '.join(sorted(set(facts.balanced)))} }}",
        SERVICE: lambda: f"ip daddr {facts.cluster_ips[place.service]}",
        DNS_SERVICE: lambda: f"ip daddr {facts.dns_service}",
    }[kind]()
    return [(one, where, packets) for one in place.nodes for where in ("before-pods", "before-node")]


def _node_ports(address: str) -> str:
    """What goes to node ports there: not the replies to what left with that address and any port (masquerade)."""
    return f"ip daddr {address} meta l4proto {{ tcp, udp }} th dport 30000-32767 ct direction original"


def matching(match: Match, action: str) -> str:
    """The packets that a fault concerns, in nftables' words."""
    protocol = match.protocol or "{ tcp, udp }"
    ports = f"{{ {', '.join(map(str, match.ports))} }}"
    words = [
        f"meta l4proto {protocol}" if match.protocol or match.ports or match.upper_half else "",
        f"th dport {ports}" if match.ports else "",
        f"th sport {_UPPER_HALF}" if match.upper_half else "",
        f"meta length > {match.above}" if match.above else "",
        f"ct state {match.state}" if match.state else "",
        "ip dscp != cs0" if match.marked else "",
        f"numgen random mod 100 < {match.share}" if match.share < 100 else "",
        f"limit rate over {RATE}/second burst {RATE} packets" if action == THROTTLE else "",
    ]
    return " ".join(filter(None, words))


def _chain(fault: RandomFault, facts: Facts, number: int, where: str, words: str) -> str:
    node, action = facts.nodes[number], fault.action
    hook = _FILTER[where]
    verdict = {
        DROP: "drop",
        THROTTLE: "drop",
        REFUSE: "reject with icmp port-unreachable",
        RESET: "reject with tcp reset",
    }.get(action, "")
    if action in (WRONG_DESTINATION, FALSE_ANSWER):
        hook = _TRANSLATE[where]
        there = f"{facts.lonely.address}:8080" if facts.lonely else ""
        verdict = f"dnat to {node.address + f':{FALSE_DNS_PORT}' if action == FALSE_ANSWER else there}"
        if fault.place.kind in (NODE_PORTS, BALANCED):
            verdict = f"{_MASQUERADED} {verdict}"
    elif action == LOST_SOURCE:
        hook, words = _LEAVE, _as_it_leaves(words, fault.place, facts)
        verdict = f"snat to {node.address}"
    elif action == DUPLICATE:
        verdict = f'dup to {facts.nodes[fault.place.to].address} device "{_UNDERLAY}"'
    return f"  chain {where} {{\n    {hook}; policy accept;\n    {words} {verdict}\n  }}\n"


def _as_it_leaves(words: str, place: Place, facts: Facts) -> str:
    """The same packets when they have been translated, where their source can be changed."""
    if place.kind in (CLUSTER_IPS, SERVICE):
        return words.replace("ip daddr", "ct original ip daddr", 1)
    if place.kind == EGRESS:  # what leaves the pod network has its node's address anyway
        return f"{words} ip daddr {{ {', '.join(one.pods for one in facts.nodes)} }}"
    return words
