"""What clients see through a Service, cell by cell, as recorded of kube-proxy's nftables and iptables modes.

The recording is recordings/dataplane.md, a table of a real Kubernetes; its words for clients and
outcomes are used here. It was made over IPv4. Over IPv6 kube-proxy has the same rules, so all of it is tried over
IPv6 as well, in a dual-stack lab.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from lab_access import PATIENCE, LabAccess, Object

from kubereach_lab.config import AddressPlan

RECORDING = Path(__file__).parent / "recordings/dataplane.md"
CLIENTS = ("pod", "podep", "srv", "node", "nodeep", "outside")
TCP_TIMEOUT, UDP_TIMEOUT = 4.0, 1.5
A, B, C = "kubereach-worker", "kubereach-worker2", "kubereach-control-plane"
NAMESPACE = "golden-dp"


@dataclass(frozen=True)
class Stack:
    """What the situations need of one IP family, besides a lab's own addresses."""

    #: a range that is no part of the cluster: of externalIPs, and of addresses set by hand
    abroad: str
    external: str
    external_empty: str
    by_hand_vip: str
    by_hand_proxy: str
    #: a cluster IP that no Service has
    nobody: str
    loopback: str
    #: a source range that no client is in
    elsewhere: str
    #: sysctl that rations refusals, its value, and the value for none
    ration: tuple[str, str, str]


STACKS = {
    "IPv4": Stack(
        "203.0.113.0/24",
        *("203.0.113.10", "203.0.113.11", "203.0.113.20", "203.0.113.21"),
        "10.96.200.200",
        "127.0.0.1",
        "192.0.2.0/24",
        ("ipv4/icmp_ratemask", "6168", "0"),
    ),
    "IPv6": Stack(
        "2001:db8:113::/64",
        *("2001:db8:113::10", "2001:db8:113::11", "2001:db8:113::20", "2001:db8:113::21"),
        "fd00:10:96::c8c8",
        "::1",
        "2001:db8:2::/64",
        ("ipv6/icmp/ratemask", "0-1,3-127", "127"),
    ),
}

#: a backend that answers with the address that it sees
ECHO = """\
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 8080))
def answer():
    while True:
        _, client = udp.recvfrom(2048)
        udp.sendto(client[0].encode(), client)
threading.Thread(target=answer, daemon=True).start()
tcp = socket.create_server(("", 8080), backlog=512)
while True:
    connection, client = tcp.accept()
    connection.sendall(client[0].encode())
    connection.close()
"""
#: the same over IPv6, and over IPv4 for its readiness
ECHO_6 = ECHO.replace("AF_INET", "AF_INET6").replace(
    '("", 8080), backlog', '("", 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog'
)
PORTS = [
    {"name": "tcp", "port": 80, "protocol": "TCP", "targetPort": 8080},
    {"name": "udp", "port": 80, "protocol": "UDP", "targetPort": 8080},
]


@dataclass(frozen=True)
class Row:
    """A situation of the recording, with what each client saw."""

    situation: str
    protocol: str
    cells: dict[str, str]


def recorded_rows(text: str, mode: str) -> list[Row]:
    """The rows of the big table that hold for a mode of kube-proxy."""
    rows, situation, protocol = [], "", ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 9:
            continue
        situation, protocol = cells[0] or situation, cells[1] or protocol
        if cells[2] in ("both", mode):
            rows.append(Row(situation, protocol, dict(zip(CLIENTS, cells[3:], strict=True))))
    return rows


ROWS = {mode: recorded_rows(RECORDING.read_text(), mode) for mode in ("nftables", "iptables")}
#: the mode ipvs has not been recorded. By its sources (pkg/proxy/ipvs/proxier.go, ip_vs_leave() of Linux) it gives what
#: nftables does, but: what is for an address of kube-ipvs0 and no server's port is refused on the node itself, so that
#: its own programs are refused over UDP too; a Local policy without local endpoints refuses; what nobody has is let go
REFUSED, SILENT = dict.fromkeys(CLIENTS, "ECONNREFUSED"), dict.fromkeys(CLIENTS, "timeout")
IPVS: dict[str, dict[str, dict[str, str]]] = {
    "VIP, undeclared port": {"tcp": REFUSED, "udp": REFUSED},
    "VIP, its nodePort number": {"tcp": REFUSED, "udp": REFUSED},
    "load balancer address, undeclared port": {"tcp": REFUSED, "udp": REFUSED},
    "externalIP, undeclared port": {"tcp": REFUSED, "udp": REFUSED},
    "VIP of a deleted service": {"tcp": SILENT, "udp": SILENT},
    "VIP that nobody has": {"tcp": SILENT, "udp": SILENT},
    "ITP Local: VIP": {
        "tcp": {"pod": "ECONNREFUSED", "node": "ECONNREFUSED", "outside": "ECONNREFUSED"},
        "udp": {"pod": "ECONNREFUSED", "node": "EPERM", "outside": "ECONNREFUSED"},
    },
    "ETP Local: nodePort, node without endpoint": {
        "tcp": {
            "podep": "ECONNREFUSED",
            "srv": "ECONNREFUSED",
            "nodeep": "ECONNREFUSED",
            "outside": "ECONNREFUSED",
        },
        "udp": {
            "podep": "ECONNREFUSED",
            "srv": "ECONNREFUSED",
            "nodeep": "ECONNREFUSED",
            "outside": "ECONNREFUSED",
        },
    },
}
ROWS["ipvs"] = [
    replace(row, cells={**row.cells, **IPVS.get(row.situation, {}).get(row.protocol, {})})
    for row in ROWS["nftables"]
]


# --- what may differ, each with the recording's own reason


def without_lateness(outcome: str) -> str:
    """A refusal that comes after a retransmission is a refusal: the recorded cluster's rate limit made it late."""
    return re.sub(r" after \d+ s$", "", outcome)


def not_captured(outcome: str) -> str:
    """ "timeout or EHOSTUNREACH there says only 'not captured'": it is the default gateway's way of not answering."""
    return "not captured" if outcome in ("timeout", "EHOSTUNREACH") else outcome


def refusal_may_be_lost(row: Row, client: str) -> bool:
    """ "timeout on a 'no endpoints' or 'undeclared port' row [outside] may be a refusal that was not sent"."""
    words = ("no endpoints", "undeclared port", "only an unready endpoint")
    return client == "outside" and any(word in row.situation for word in words)


def leaves_the_node(mode: str, row: Row) -> bool:
    """Rows whose packets no rule captures, because the address is no host's and the port no Service's.

    "[nftables] rejects undeclared ports of used VIPs; iptables [...] goes wherever the routing of the node sends it".
    """
    uncaptured = ["load balancer address, undeclared port", "externalIP, undeclared port"]
    if mode == "ipvs":
        uncaptured.clear()
    if mode == "iptables":
        uncaptured += ["VIP, undeclared port", "VIP, its nodePort number"]
    if mode != "nftables":
        uncaptured += ["VIP of a deleted service", "VIP that nobody has"]
    return row.situation.startswith(tuple(uncaptured)) or "ipMode Proxy" in row.situation


def comes_back(mode: str, row: Row, client: str) -> bool:
    """ "[iptables, on the node] load balancer addresses [...] are not refused, [...] so the packet leaves the node".

    The recorded cluster's gateway had a way for load balancer addresses, to a node, which refused what came that late.
    The lab's gateway sends nothing back.
    """
    without = row.situation == "no endpoints: load balancer address"
    return without and mode == "iptables" and client in ("node", "nodeep")


def same(mode: str, row: Row, client: str, recorded: str, seen: str) -> bool:
    recorded, seen = without_lateness(recorded), without_lateness(seen)
    if leaves_the_node(mode, row):
        return not_captured(recorded) == not_captured(seen)
    if comes_back(mode, row, client):
        return seen == "timeout"
    if recorded == "timeout" and refusal_may_be_lost(row, client):
        return seen in ("timeout", "ECONNREFUSED")
    return recorded == seen


# --- the situations


@dataclass
class World:
    """The recorded cluster's objects, in a lab."""

    lab: LabAccess
    plan: AddressPlan
    pods: dict[str, Object] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str | Object]:
        """Where each client is."""
        return {
            **{name: self.pods[name] for name in ("pod", "podep", "srv")},
            "node": B,
            "nodeep": A,
            "outside": "",
        }

    def node(self, name: str) -> str:
        return self.plan.node_address(self.lab.config.node_names.index(name))

    @property
    def mode(self) -> str:
        return self.lab.config.proxy_mode

    @property
    def stack(self) -> Stack:
        return STACKS[self.plan.family]

    def sockets(self, place: str | Object, count: int, *, udp: bool = False) -> list[socket.socket]:
        return self.lab.sockets(place, count, udp=udp, ipv6=self.plan.version == 6)

    def own_addresses(self, client: str) -> set[str]:
        if client in self.pods:
            return set(self.plan.own(ip["ip"] for ip in self.pods[client]["status"]["podIPs"]))
        return {"outside": {self.plan.outside}, "node": {self.node(B)}, "nodeep": {self.node(A)}}[client]

    def name_of_source(self, client: str, source: str, recorded: str) -> str:
        """The recording's word for an address that the endpoint saw: the recorded one if that fits."""
        names = self.lab.config.node_names
        gateway = str(self.plan.pod_range(names.index(A))[1])
        words = {
            "own": self.own_addresses(client),
            "A": {self.node(A)},
            "B": {self.node(B)},
            "gwA": {gateway},
        }
        # A load balancer that chose A gives what A's node port gives: the address that A has towards its pods.
        words["A, B or C"] = {self.node(name) for name in names} | {gateway}
        fitting = [word for word, addresses in words.items() if source in addresses]
        for word in fitting:
            if recorded == f"ok ({word})":
                return recorded
        return f"ok ({fitting[0] if fitting else source})"

    def target(self, situation: str) -> tuple[str, int]:
        """Address and port of a situation."""

        def ip(name: str) -> str:
            return self.plan.own(self.services[name]["spec"]["clusterIPs"])[0]

        def node_port(name: str, protocol: str = "TCP") -> int:
            ports = self.services[name]["spec"]["ports"]
            return next(int(p["nodePort"]) for p in ports if p["protocol"] == protocol)

        def balancer(name: str) -> str:
            return self.plan.own(i["ip"] for i in self.services[name]["status"]["loadBalancer"]["ingress"])[0]

        stack = self.stack
        on_a, on_b = self.node(A), self.node(B)
        targets = {
            "VIP": (ip("s"), 80),
            "nodePort, node with the endpoint": (on_a, node_port("s")),
            "nodePort, node without endpoint": (on_b, node_port("s")),
            "nodePort on 127.0.0.1": (stack.loopback, node_port("s")),
            "load balancer address": (balancer("s"), 80),
            "externalIP": (stack.external, 80),
            "VIP, undeclared port": (ip("s"), 81),
            "VIP, its nodePort number": (ip("s"), node_port("s")),
            "node address, service port": (on_b, 80),
            "node address, port that no service has": (on_b, 12345),
            "load balancer address, undeclared port": (balancer("s"), 81),
            "externalIP, undeclared port": (stack.external, 81),
            "no endpoints: VIP": (ip("empty"), 80),
            "no endpoints: nodePort": (on_b, node_port("empty")),
            "no endpoints: load balancer address": (balancer("empty"), 80),
            "no endpoints: externalIP": (stack.external_empty, 80),
            "only an unready endpoint: VIP": (ip("unready"), 80),
            "only an unready endpoint: nodePort": (on_b, node_port("unready")),
            "targetPort that nothing listens on: VIP": (ip("deaf"), 80),
            "ETP Local: VIP": (ip("l"), 80),
            "ETP Local: nodePort, node with endpoint": (on_a, node_port("l")),
            "ETP Local: nodePort, node without endpoint": (on_b, node_port("l")),
            "ETP Local: load balancer address": (balancer("l"), 80),
            "ETP Local, no endpoints at all: VIP": (ip("emptyl"), 80),
            "ETP Local, no endpoints at all: nodePort": (on_b, node_port("emptyl")),
            "ETP Local, no endpoints at all: load balancer address": (balancer("emptyl"), 80),
            "ITP Local: VIP": (ip("itp"), 80),
            "source ranges exclude the client: VIP": (ip("ranges"), 80),
            "source ranges exclude the client: load balancer address": (balancer("ranges"), 80),
            "source ranges exclude the client: nodePort, node with endpoint": (on_a, node_port("ranges")),
            "load balancer address, ipMode VIP, set by hand": (stack.by_hand_vip, 80),
            "load balancer address, ipMode Proxy, set by hand": (stack.by_hand_proxy, 80),
            "VIP of a deleted service": (ip("deleted"), 80),
            "VIP that nobody has": (stack.nobody, 80),
        }
        return targets[situation]


def pod(name: str, node: str, labels: dict[str, str], *, ready: bool = True) -> Object:
    container: Object = {
        "name": "echo",
        "image": "python:3.13-alpine",
        "command": ["python3", "-u", "/echo/echo.py"],
        "volumeMounts": [{"name": "code", "mountPath": "/echo"}],
        "readinessProbe": {"tcpSocket": {"port": 8080 if ready else 9}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "code", "configMap": {"name": "echo"}}],
        },
    }


def service(name: str, selector: dict[str, str], kind: str = "ClusterIP", **spec: object) -> Object:
    # One node port for both protocols, as the recorded Services had: the table knows one number.
    ports = [dict(port) for port in PORTS]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": kind, "selector": selector, "ports": ports, **spec},
    }


SRV, NONE = {"app": "srv"}, {"app": "nobody"}
BY_HAND = {"loadBalancerClass": "example.com/none"}


def all_services(family: str) -> list[Object]:
    stack = STACKS[family]
    external, external_empty = [stack.external], [stack.external_empty]
    ranges = [stack.elsewhere]
    made = [
        service("s", SRV, "LoadBalancer", externalIPs=external),
        service("empty", NONE, "LoadBalancer", externalIPs=external_empty),
        service("unready", {"app": "unready"}, "NodePort"),
        service("deaf", SRV, "ClusterIP"),
        service("l", SRV, "LoadBalancer", externalTrafficPolicy="Local"),
        service("emptyl", NONE, "LoadBalancer", externalTrafficPolicy="Local"),
        service("itp", SRV, internalTrafficPolicy="Local"),
        service("ranges", SRV, "LoadBalancer", loadBalancerSourceRanges=ranges),
        service("vip", SRV, "LoadBalancer", **BY_HAND),
        service("proxy", SRV, "LoadBalancer", **BY_HAND),
        service("deleted", SRV),
    ]
    for number, one in enumerate(made):
        spec = one["spec"]
        if family == "IPv6":
            spec["ipFamilyPolicy"] = "RequireDualStack"
        if spec["type"] != "ClusterIP":
            for port in spec["ports"]:
                port["nodePort"] = 30010 + number
        if one["metadata"]["name"] == "deaf":
            spec["ports"] = [{**PORTS[0], "targetPort": 9}]
    return made


#: the labs of the modes, and whether each has IPv4 alone or both families
LABS = {
    ("nftables", "IPv4"): "lab",
    ("nftables", "IPv6"): "dual_lab",
    ("iptables", "IPv4"): "iptables_lab",
    ("iptables", "IPv6"): "iptables_lab",
    ("ipvs", "IPv4"): "ipvs_lab",
    ("ipvs", "IPv6"): "ipvs_lab",
}


_ALWAYS = [("nftables", "IPv4"), ("nftables", "IPv6"), ("iptables", "IPv4")]
_NIGHTLY = pytest.mark.skipif(not os.environ.get("KUBEREACH_WHOLE_RUNS"), reason="10 s: make nightly has it")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, marks=[] if case in _ALWAYS else [_NIGHTLY], id="-".join(case)) for case in LABS
    ],
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    _, family = request.param
    lab: LabAccess = request.getfixturevalue(LABS[request.param])
    world = World(lab, next(plan for plan in lab.config.plans if plan.family == family))
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    lab.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "echo", "namespace": NAMESPACE},
            "data": {"echo.py": ECHO if family == "IPv4" else ECHO_6},
        }
    )
    for obj in all_services(family):
        lab.create(obj)
    lab.create(pod("srv", A, SRV))
    lab.create(pod("podep", A, {"app": "podep"}))
    lab.create(pod("pod", B, {"app": "pod"}))
    lab.create(pod("unready", A, {"app": "unready"}, ready=False))
    here, stack = f"/api/v1/namespaces/{NAMESPACE}", world.stack
    for name, address, mode in (("vip", stack.by_hand_vip, "VIP"), ("proxy", stack.by_hand_proxy, "Proxy")):
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": mode}]}}}
        lab.patch(f"{here}/services/{name}/status", ingress)
    pods = lab.wait(
        f"{here}/pods",
        lambda pods: (
            sum(p["status"].get("phase") == "Running" for p in pods) == 4
            and sum(
                c["type"] == "Ready" and c["status"] == "True"
                for p in pods
                for c in p["status"]["conditions"]
            )
            == 3
        ),
    )
    world.pods = {p["metadata"]["name"]: p for p in pods}
    services = lab.wait(
        f"{here}/services",
        lambda services: all(
            s["spec"]["type"] != "LoadBalancer" or s["status"]["loadBalancer"].get("ingress")
            for s in services
        ),
    )
    world.services = {s["metadata"]["name"]: s for s in services}
    lab.delete(f"{here}/services/deleted")
    wait_until_programmed(world)
    # VIPs and externalIPs reach the outside through node B: the test's own doing, as in the recording.
    for destination in (str(world.plan.services), stack.abroad):
        lab.route(destination, world.node(B))
    yield world
    for destination in (str(world.plan.services), stack.abroad):
        lab.route(destination, "")
    lab.delete(here)
    lab.wait("/api/v1/namespaces", lambda found: NAMESPACE not in {ns["metadata"]["name"] for ns in found})


def wait_until_programmed(world: World) -> None:
    """Wait until every node has programmed what happened so far: each takes changes in their order."""
    last = world.lab.create(service("last", SRV, ipFamilies=[world.plan.family]))["spec"]["clusterIP"]
    deadline = time.monotonic() + PATIENCE
    for place in world.places.values():
        while place:  # the outside has no route yet, and no rules of its own
            (made,) = world.sockets(place, 1)
            if is_address(asyncio.run(attempt(made, False, (last, 80)))):
                break
            assert time.monotonic() < deadline, "a new Service was not programmed"


# --- the attempts


def is_address(outcome: str) -> bool:
    """Whether an attempt came to the endpoint, which tells the address that it saw."""
    return bool(re.fullmatch(r"[\d.]+|[\da-f:]+", outcome))


async def attempt(made: socket.socket, udp: bool, target: tuple[str, int]) -> str:
    """One attempt: the address that the endpoint saw, or what went wrong, with the seconds that it took."""
    loop = asyncio.get_running_loop()
    made.setblocking(False)
    begin = loop.time()

    async def talk() -> str:
        await loop.sock_connect(made, target)
        if udp:
            await loop.sock_sendall(made, b"?")
        return (await loop.sock_recv(made, 100)).decode()

    try:
        return await asyncio.wait_for(talk(), UDP_TIMEOUT if udp else TCP_TIMEOUT)
    except asyncio.TimeoutError:
        return "timeout"
    except OSError as error:
        late = loop.time() - begin
        word = errno.errorcode[error.errno or 0]
        return f"{word} after {late:.0f} s" if late > 0.5 else word
    finally:
        made.close()


async def attempt_all(world: World, rows: list[Row]) -> dict[tuple[int, str], str]:
    cells = [(number, client) for number in range(len(rows)) for client in CLIENTS]
    work = []
    for protocol in ("tcp", "udp"):
        for client in CLIENTS:
            mine = [cell for cell in cells if cell[1] == client and rows[cell[0]].protocol == protocol]
            sockets = world.sockets(world.places[client], len(mine), udp=protocol == "udp")
            work += list(zip(mine, sockets, strict=True))

    async def one(cell: tuple[int, str], made: socket.socket) -> tuple[tuple[int, str], str]:
        row = rows[cell[0]]
        return cell, await attempt(made, row.protocol == "udp", world.target(row.situation))

    return dict(await asyncio.gather(*(one(cell, made) for cell, made in work)))


def namespaces(world: World) -> list[str | Object]:
    nodes: list[str | Object] = list(world.lab.config.node_names)
    return [*nodes, *world.pods.values(), ""]


def test_the_recording_is_read_whole() -> None:
    for rows in ROWS.values():
        assert len(rows) == 67
        assert {row.protocol for row in rows} == {"tcp", "udp"}


def test_every_cell_is_as_recorded(world: World) -> None:
    rows = ROWS[world.mode]
    ration, some, none = world.stack.ration
    for place in namespaces(world):
        # The recorded clients tried one thing at a time; ours try all at once, so refusals must not be rationed.
        world.lab.sysctl(place, ration, none)
    try:
        seen = asyncio.run(attempt_all(world, rows))
    finally:
        for place in namespaces(world):
            world.lab.sysctl(place, ration, some)
    differences = []
    for (number, client), outcome in seen.items():
        row = rows[number]
        recorded = row.cells[client]
        if is_address(outcome):
            outcome = world.name_of_source(client, outcome, recorded)
        if not same(world.mode, row, client, recorded, outcome):
            differences.append(f"{row.situation} / {row.protocol} / {client}: {outcome}, recorded {recorded}")
    assert not differences, "\n".join(differences)


def test_refusals_are_rationed_as_recorded(world: World) -> None:
    """ "Refusals are rate-limited": a burst of 6 to one client, then about one a second; a node's own are not."""

    async def burst(client: str, udp: bool) -> Counter[str]:
        sockets = world.sockets(world.places[client], 20, udp=udp)
        target = world.target("no endpoints: VIP")
        return Counter(await asyncio.gather(*(attempt(made, udp, target) for made in sockets)))

    async def all_bursts() -> list[Counter[str]]:
        # Two pods, on two nodes: each has a ration of its own.
        cases = [("pod", False), ("podep", True), ("node", False), ("nodeep", True)]
        return list(await asyncio.gather(*(burst(client, udp) for client, udp in cases)))

    pod_tcp, pod_udp, node_tcp, node_udp = asyncio.run(all_bursts())
    assert 6 <= pod_udp["ECONNREFUSED"] <= 7
    assert pod_udp["ECONNREFUSED"] + pod_udp["timeout"] == 20
    assert node_udp == {"EPERM": 20}
    if world.plan.version == 6:
        # The kernel's own: connect() over IPv6 heeds a refusal that comes back within the very call only when it
        # comes for the second time, to the SYN sent again. And some kernels allow ten a second, not one.
        assert pod_tcp["ECONNREFUSED"] <= 7, pod_tcp
        assert {without_lateness(outcome) for outcome in node_tcp} == {"ECONNREFUSED"}, node_tcp
        return
    assert pod_tcp["ECONNREFUSED"] == 6
    assert pod_tcp["timeout"] >= 9, pod_tcp
    assert 1 <= sum(n for outcome, n in pod_tcp.items() if " after " in outcome) <= 5, pod_tcp
    assert node_tcp == {"ECONNREFUSED": 20}


# --- health checks of load balancers


def recorded_health_checks(text: str, mode: str) -> dict[str, tuple[int, dict[str, str], Object]]:
    """Status, headers and body of the recorded health checks, by the situation's words."""
    section = text.split(f"## healthCheckNodePort ({mode}):")[1].split("\n## ")[0]
    found = re.findall(r"^- (.*): (\d+), headers (\{.*?\}), body `(.*)`$", section, re.MULTILINE)
    return {
        words: (int(status), json.loads(headers.replace("'", '"')), json.loads(body))
        for words, status, headers, body in found
    }


def http_get(world: World, node: str, port: int, path: str) -> tuple[int, dict[str, str], Object]:
    """Status, headers in small letters, and body of what a node answers to the outside."""
    (made,) = world.sockets("", 1)
    made.settimeout(TCP_TIMEOUT)
    made.connect((world.node(node), port))
    connection = http.client.HTTPConnection("node")
    connection.sock = made
    connection.request("GET", path)
    answer = connection.getresponse()
    headers = {name.lower(): value.split(";")[0] for name, value in answer.getheaders()}
    body: Object = json.loads(answer.read())
    connection.close()
    return answer.status, headers, body


def test_health_checks_are_as_recorded(world: World) -> None:
    mode = "nftables" if world.mode == "ipvs" else world.mode  # as in the other modes, which are alike
    recorded = recorded_health_checks(RECORDING.read_text(), mode)
    cases = {
        "node with endpoint": ("l", A),
        "node without endpoint": ("l", B),
        "service without endpoints": ("emptyl", A),
    }
    assert set(recorded) == set(cases)
    for words, (name, node) in cases.items():
        status, headers, body = recorded[words]
        port = world.services[name]["spec"]["healthCheckNodePort"]
        seen = http_get(world, node, port, "/")
        assert (seen[0], seen[2]) == (status, body), words
        assert {key: seen[1].get(key) for key in headers} == headers, words


def test_the_service_proxy_tells_that_it_is_healthy(world: World) -> None:
    status, _, body = http_get(world, B, 10256, "/healthz")
    assert status == 200
    assert set(body) == {"lastUpdated", "currentTime", "nodeEligible", "healthy", "status"}
    assert (body["nodeEligible"], body["healthy"]) == (True, True)
    assert body["status"].keys() == {plan.family for plan in world.lab.config.plans}
    assert all(status["healthy"] is True for status in body["status"].values())


def test_a_health_check_goes_with_its_service(world: World) -> None:
    made = world.lab.create(service("passing", SRV, "LoadBalancer", externalTrafficPolicy="Local"))
    path = f"/api/v1/namespaces/{NAMESPACE}/services/passing"
    port = made["spec"]["healthCheckNodePort"]

    def answer() -> str:
        try:
            return str(http_get(world, A, port, "/"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    def wait_until(wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := answer()).startswith(wanted):
            events = world.lab.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
            told = [e["message"] for e in events if e["involvedObject"]["name"] == "passing"]
            assert time.monotonic() < deadline, f"port {port}: {found}, not {wanted}; {told}"
            time.sleep(0.05)

    wait_until("(200, ")
    world.lab.patch(path, {"spec": {"externalTrafficPolicy": "Cluster"}})
    wait_until("ConnectionRefusedError")
    world.lab.delete(path)
