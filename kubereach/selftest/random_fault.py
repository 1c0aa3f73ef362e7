"""A fault that nobody has foreseen: drawn from a seed, put into a running lab from outside.

It is a place, the packets there that it concerns, and what becomes of them. One seed and number always give one fault.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

#: nodes of the lab that it is put into
NODES = 3
#: replicas of the lab's cluster DNS
REPLICAS = 2
EVERY = tuple(range(NODES))

# Places: from pods of one node to pods of another; what all pods of a node get from other nodes, send there, or both;
# what a node's own processes send to pods of others.
PAIR, INGRESS, EGRESS, FORWARDING, PROCESSES = "pair", "ingress", "egress", "forwarding", "processes"
# Before the service proxy translates: all cluster IPs, node ports at one node's address, load-balancer addresses, the
# cluster IP of one Service.
CLUSTER_IPS, NODE_PORTS, BALANCED, SERVICE = "cluster-ips", "node-ports", "balanced", "service"
# One endpoint; one DNS replica; the DNS Service; a node's own address for its own pods.
ENDPOINT, REPLICA, DNS_SERVICE, OWN_NODE = "endpoint", "replica", "dns-service", "own-node"

# What becomes of a packet.
DROP, REFUSE, RESET, THROTTLE = "drop", "refuse", "reset", "throttle"
DELAY, DUPLICATE = "delay", "duplicate"
WRONG_DESTINATION, LOST_SOURCE, FALSE_ANSWER = "wrong destination", "lost source", "false answer"

#: places that packets pass with the pods' own addresses
NETWORK_PLACES = frozenset({PAIR, INGRESS, EGRESS, FORWARDING, PROCESSES})
#: actions that leave every probe answered: a run that notes the place has seen them too
MILD = frozenset({DELAY, DUPLICATE})

#: how often each place is drawn, and the actions that make sense there
_PLACES: dict[str, tuple[int, tuple[tuple[str, int], ...]]] = {
    PAIR: (5, ((DROP, 6), (REFUSE, 1), (RESET, 1), (LOST_SOURCE, 1), (THROTTLE, 1), (DELAY, 1), (DUPLICATE, 1))),
    INGRESS: (2, ((DROP, 6), (REFUSE, 1), (RESET, 1), (THROTTLE, 1), (DELAY, 1))),
    EGRESS: (2, ((DROP, 6), (REFUSE, 1), (RESET, 1), (LOST_SOURCE, 1), (THROTTLE, 1), (DELAY, 1))),
    FORWARDING: (2, ((DROP, 6), (RESET, 1), (THROTTLE, 1))),
    PROCESSES: (2, ((DROP, 4), (REFUSE, 1), (RESET, 1), (THROTTLE, 1))),
    CLUSTER_IPS: (4, ((DROP, 4), (REFUSE, 1), (RESET, 1), (LOST_SOURCE, 1), (THROTTLE, 1))),
    NODE_PORTS: (2, ((DROP, 4), (REFUSE, 1), (RESET, 1), (WRONG_DESTINATION, 1))),
    BALANCED: (2, ((DROP, 4), (REFUSE, 1), (RESET, 1), (WRONG_DESTINATION, 1))),
    SERVICE: (4, ((DROP, 3), (REFUSE, 1), (RESET, 1), (LOST_SOURCE, 1), (WRONG_DESTINATION, 2), (THROTTLE, 1))),
    ENDPOINT: (3, ((DROP, 5), (REFUSE, 1), (RESET, 1), (THROTTLE, 1))),
    REPLICA: (2, ((DROP, 4), (REFUSE, 1))),
    DNS_SERVICE: (3, ((DROP, 4), (REFUSE, 1), (FALSE_ANSWER, 2))),
    OWN_NODE: (1, ((DROP, 3), (REFUSE, 1), (RESET, 1))),
}  # fmt: skip
#: Services of manifests/services that have a cluster IP and endpoints on every node, and their ports by protocol
SERVICES = {"clusterip": "tcp", "multiport": "", "nodeport": "", "loadbalancer": "tcp"}
#: ports of the backends, and their protocols
_POD_PORTS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((8080,), "tcp"),
    ((8081,), "tcp"),
    ((8080, 8081), "tcp"),
    ((8082,), "udp"),
)
#: ports of Services' cluster IPs
_SERVICE_PORTS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((80,), "tcp"),
    ((8000, 8001), "tcp"),
    ((8002,), "udp"),
)
#: packets of DNS are small
_SIZES, _DNS_SIZES = (1000, 1300, 1400), (400, 512)
_SHARES = (3, 10, 30, 50)
#: packets a second that a throttled way lets through
RATE = 40
#: seconds that a slow way takes longer
DELAY_SECONDS = 0.2


@dataclass(frozen=True)
class Window:
    """When the fault is there, seconds since it was put in: from `begin`, for `length`; every `period` if not 0."""

    begin: int
    length: int
    period: int = 0

    def __str__(self) -> str:
        if self.period:
            return f"for {self.length} s of every {self.period} s"
        return f"from second {self.begin} to {self.begin + self.length}"


@dataclass(frozen=True)
class Match:
    """The packets that it concerns; all of them by default."""

    protocol: str = ""
    #: bytes; longer packets only
    above: int = 0
    ports: tuple[int, ...] = ()
    #: from the upper half of the ports that clients have
    upper_half: bool = False
    #: of connection tracking: `new` or `established`
    state: str = ""
    #: per cent
    share: int = 100
    #: packets with any DSCP mark
    marked: bool = False
    window: Window | None = None

    def __str__(self) -> str:
        words = [
            f"{self.share} % of" if self.share < 100 else "",
            self.state,
            self.protocol.upper(),
            "packets",
            f"to port {' and '.join(map(str, self.ports))}" if self.ports else "",
            "from the upper half of source ports" if self.upper_half else "",
            f"over {self.above} bytes" if self.above else "",
            "with a DSCP mark" if self.marked else "",
            str(self.window or ""),
        ]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Place:
    """Where: `nodes` are numbers of those whose rules have it, all of them where it is everywhere."""

    kind: str
    nodes: tuple[int, ...]
    #: of a pair: the node that packets go to
    to: int = 0
    service: str = ""
    #: of an endpoint or a replica: its packets are concerned that go to it, not those that come from it
    toward: bool = True
    #: which DNS replica, by name
    replica: int = 0

    @property
    def everywhere(self) -> bool:
        return len(self.nodes) == NODES


@dataclass(frozen=True)
class RandomFault:
    """The fault that `seed` and `number` give."""

    seed: int
    number: int
    place: Place
    match: Match = field(default_factory=Match)
    action: str = DROP

    @property
    def in_words(self) -> str:
        """``drop: TCP packets, pods of node 0 to pods of node 2``."""
        return f"{self.action}: {self.match}, {_where(self.place)}"


def draw(seed: int, number: int) -> RandomFault:
    """The same for the same arguments, on every machine and in every version of Python."""
    chance = random.Random(f"{seed}/{number}")
    kinds = list(_PLACES)
    kind = chance.choices(kinds, [_PLACES[one][0] for one in kinds])[0]
    actions, weights = zip(*_PLACES[kind][1], strict=True)
    place = _place(kind, chance)
    action = chance.choices(actions, weights)[0]
    return RandomFault(seed, number, place, _match(place, action, chance), action)


def _place(kind: str, chance: random.Random) -> Place:
    nodes: tuple[int, ...] = (chance.randrange(NODES),)
    if kind == PAIR:
        first, second = chance.sample(EVERY, 2)
        return Place(kind, (first,), to=second)
    if kind in (CLUSTER_IPS, BALANCED, SERVICE, DNS_SERVICE) and chance.random() < 0.35:
        nodes = EVERY
    service = chance.choice(sorted(SERVICES)) if kind == SERVICE else ""
    if kind == REPLICA:
        nodes = ()  # that of its pod
    replica = chance.randrange(REPLICAS)
    return Place(kind, nodes, service=service, toward=chance.random() < 0.5, replica=replica)


def _match(place: Place, action: str, chance: random.Random) -> Match:
    """Restrictions that make sense together, none to two of them."""
    given: dict[str, object] = {}
    if action in (RESET, WRONG_DESTINATION):
        given["protocol"] = "tcp"
    elif action == FALSE_ANSWER:
        given["protocol"] = "udp"
    possible = _possible(place, action)
    for name in chance.sample(possible, min(len(possible), chance.choices((0, 1, 2), (3, 5, 2))[0])):
        _restrict(given, name, place, chance)
    if "marked" in given:  # rare enough by itself
        return Match(marked=True)
    return Match(**given)  # type: ignore[arg-type]


def _possible(place: Place, action: str) -> list[str]:
    """The restrictions that some packet of a run can meet there."""
    if action in (DELAY, FALSE_ANSWER):
        return []
    if action in (THROTTLE, DUPLICATE):
        return ["protocol"]
    # one Service is asked now and then: a fault that is not there all the time need not be met
    always = ["share", *(["window"] if place.kind != SERVICE else [])]
    if action in (WRONG_DESTINATION, LOST_SOURCE):
        return [*always, "upper_half"]
    found = always
    backends = place.kind in (*NETWORK_PLACES, ENDPOINT)
    answers = place.kind in (ENDPOINT, REPLICA) and not place.toward
    if not answers:  # these come from a server's port, and are never the first of a connection
        found += ["upper_half", *(["ports"] if backends or place.service == "multiport" else [])]
        found += ["state"] if action != REFUSE else []
    if action != RESET:
        found.append("protocol")
    if action == DROP and (backends or answers or place.kind == CLUSTER_IPS):
        found.append("above")
    if action == DROP and place.kind in NETWORK_PLACES:
        found.append("marked")
    return found


def _restrict(given: dict[str, object], name: str, place: Place, chance: random.Random) -> None:
    dns = place.kind in (REPLICA, DNS_SERVICE)
    if name == "protocol":
        # one of the two that the place has, and that no other restriction speaks against
        found = "udp" if dns else SERVICES.get(place.service, "") or chance.choice(("tcp", "udp"))
        given.setdefault(name, found)
    elif name == "above":
        given[name] = chance.choice(_DNS_SIZES if dns else _SIZES)
    elif name == "ports":
        ports = _POD_PORTS if place.kind in (*NETWORK_PLACES, ENDPOINT) else _SERVICE_PORTS
        if place.service:
            ports = _SERVICE_PORTS[1:]
        fitting = [one for one in ports if one[1] == given.get("protocol", one[1])]
        given[name], given["protocol"] = chance.choice(fitting)
    elif name == "state":
        given[name] = chance.choice(("new", "established"))
        if given[name] == "established":
            given.setdefault("protocol", "tcp")
            given[name] = "new" if given["protocol"] == "udp" else "established"
    elif name == "share":
        given[name] = chance.choice(_SHARES)
    elif name == "window":
        begin = chance.choice((2, 8, 15))
        again, once = Window(0, chance.choice((3, 4, 5)), 10), Window(begin, 20)
        busy = place.kind in (*NETWORK_PLACES, CLUSTER_IPS, DNS_SERVICE, ENDPOINT)
        given[name] = chance.choice((again, once)) if busy else again
    else:
        given[name] = True


def _where(place: Place) -> str:
    node = f"node {place.nodes[0]}" if place.nodes else ""
    on = "on every node" if place.everywhere else f"on {node}"
    way = "to" if place.toward else "from"
    return {
        PAIR: f"pods of {node} to pods of node {place.to}",
        INGRESS: f"other nodes to pods of {node}",
        EGRESS: f"pods of {node} to other nodes",
        FORWARDING: f"between pods of {node} and other nodes",
        PROCESSES: f"processes of {node} to pods of other nodes",
        CLUSTER_IPS: f"to cluster IPs {on}",
        NODE_PORTS: f"to node ports of {node}",
        BALANCED: f"to load-balancer addresses {on}",
        SERVICE: f"to the cluster IP of Service {place.service} {on}",
        ENDPOINT: f"{way} the backend of {node}",
        REPLICA: f"{way} DNS replica {place.replica}",
        DNS_SERVICE: f"to the DNS Service {on}",
        OWN_NODE: f"pods of {node} to its own address",
    }[place.kind]
