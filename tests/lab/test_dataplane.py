"""What clients see through a Service, cell by cell, against the recording of kube-proxy's nftables mode.

The recording is recordings/dataplane.md, a table of a real Kubernetes; its words for clients and
outcomes are used here.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab_access import PATIENCE, LabAccess, Object

RECORDING = Path(__file__).parent / "recordings/dataplane.md"
CLIENTS = ("pod", "podep", "srv", "node", "nodeep", "outside")
TCP_TIMEOUT, UDP_TIMEOUT = 4.0, 1.5
A, B, C = "kubereach-worker", "kubereach-worker2", "kubereach-control-plane"
NAMESPACE = "golden-dp"
EXTERNAL, EXTERNAL_EMPTY = "203.0.113.10", "203.0.113.11"
BY_HAND_VIP, BY_HAND_PROXY = "203.0.113.20", "203.0.113.21"
NOBODY = "10.96.200.200"

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


ROWS = recorded_rows(RECORDING.read_text(), "nftables")


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


def leaves_the_node(row: Row) -> bool:
    """Rows whose packets no rule captures, because the address is no host's and the port no Service's."""
    return row.situation.startswith(
        ("load balancer address, undeclared port", "externalIP, undeclared port")
    ) or ("ipMode Proxy" in row.situation)


def same(row: Row, client: str, recorded: str, seen: str) -> bool:
    recorded, seen = without_lateness(recorded), without_lateness(seen)
    if leaves_the_node(row):
        return not_captured(recorded) == not_captured(seen)
    if recorded == "timeout" and refusal_may_be_lost(row, client):
        return seen in ("timeout", "ECONNREFUSED")
    return recorded == seen


# --- the situations


@dataclass
class World:
    """The recorded cluster's objects, in a lab."""

    lab: LabAccess
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
        return self.lab.config.node_addresses[self.lab.config.node_names.index(name)]

    def own_addresses(self, client: str) -> set[str]:
        config = self.lab.config
        if client in self.pods:
            return {self.pods[client]["status"]["podIP"]}
        return {"outside": {config.outside_address}, "node": {self.node(B)}, "nodeep": {self.node(A)}}[client]

    def name_of_source(self, client: str, source: str, recorded: str) -> str:
        """The recording's word for an address that the endpoint saw: the recorded one if that fits."""
        config = self.lab.config
        gateway = str(config.pod_range(config.node_names.index(A))[1])
        words = {
            "own": self.own_addresses(client),
            "A": {self.node(A)},
            "B": {self.node(B)},
            "gwA": {gateway},
        }
        words["A, B or C"] = set(config.node_addresses)
        fitting = [word for word, addresses in words.items() if source in addresses]
        for word in fitting:
            if recorded == f"ok ({word})":
                return recorded
        return f"ok ({fitting[0] if fitting else source})"

    def target(self, situation: str) -> tuple[str, int]:
        """Address and port of a situation."""

        def ip(name: str) -> str:
            return str(self.services[name]["spec"]["clusterIP"])

        def node_port(name: str, protocol: str = "TCP") -> int:
            ports = self.services[name]["spec"]["ports"]
            return next(int(p["nodePort"]) for p in ports if p["protocol"] == protocol)

        def balancer(name: str) -> str:
            return str(self.services[name]["status"]["loadBalancer"]["ingress"][0]["ip"])

        on_a, on_b = self.node(A), self.node(B)
        targets = {
            "VIP": (ip("s"), 80),
            "nodePort, node with the endpoint": (on_a, node_port("s")),
            "nodePort, node without endpoint": (on_b, node_port("s")),
            "nodePort on 127.0.0.1": ("127.0.0.1", node_port("s")),
            "load balancer address": (balancer("s"), 80),
            "externalIP": (EXTERNAL, 80),
            "VIP, undeclared port": (ip("s"), 81),
            "VIP, its nodePort number": (ip("s"), node_port("s")),
            "node address, service port": (on_b, 80),
            "node address, port that no service has": (on_b, 12345),
            "load balancer address, undeclared port": (balancer("s"), 81),
            "externalIP, undeclared port": (EXTERNAL, 81),
            "no endpoints: VIP": (ip("empty"), 80),
            "no endpoints: nodePort": (on_b, node_port("empty")),
            "no endpoints: load balancer address": (balancer("empty"), 80),
            "no endpoints: externalIP": (EXTERNAL_EMPTY, 80),
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
            "load balancer address, ipMode VIP, set by hand": (BY_HAND_VIP, 80),
            "load balancer address, ipMode Proxy, set by hand": (BY_HAND_PROXY, 80),
            "VIP of a deleted service": (ip("deleted"), 80),
            "VIP that nobody has": (NOBODY, 80),
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
SERVICES = [
    service("s", SRV, "LoadBalancer", externalIPs=[EXTERNAL]),
    service("empty", NONE, "LoadBalancer", externalIPs=[EXTERNAL_EMPTY]),
    service("unready", {"app": "unready"}, "NodePort"),
    service("deaf", SRV, "ClusterIP"),
    service("l", SRV, "LoadBalancer", externalTrafficPolicy="Local"),
    service("emptyl", NONE, "LoadBalancer", externalTrafficPolicy="Local"),
    service("itp", SRV, internalTrafficPolicy="Local"),
    service("ranges", SRV, "LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24"]),
    service("vip", SRV, "LoadBalancer", **BY_HAND),
    service("proxy", SRV, "LoadBalancer", **BY_HAND),
    service("deleted", SRV),
]
for made in SERVICES:
    if made["spec"]["type"] != "ClusterIP":
        number = 30800 + SERVICES.index(made)
        for port in made["spec"]["ports"]:
            port["nodePort"] = number
    if made["metadata"]["name"] == "deaf":
        made["spec"]["ports"] = [{**PORTS[0], "targetPort": 9}]


@pytest.fixture(scope="module")
def world(lab: LabAccess) -> Iterator[World]:
    world = World(lab)
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    lab.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "echo", "namespace": NAMESPACE},
            "data": {"echo.py": ECHO},
        }
    )
    for obj in SERVICES:
        lab.create(obj)
    lab.create(pod("srv", A, SRV))
    lab.create(pod("podep", A, {"app": "podep"}))
    lab.create(pod("pod", B, {"app": "pod"}))
    lab.create(pod("unready", A, {"app": "unready"}, ready=False))
    here = f"/api/v1/namespaces/{NAMESPACE}"
    for name, address, mode in (("vip", BY_HAND_VIP, "VIP"), ("proxy", BY_HAND_PROXY, "Proxy")):
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
    lab.route("10.96.0.0/16", world.node(B))
    lab.route("203.0.113.0/24", world.node(B))
    yield world
    lab.route("10.96.0.0/16", "")
    lab.route("203.0.113.0/24", "")
    lab.delete(here)


def wait_until_programmed(world: World) -> None:
    """Wait until every node has programmed what happened so far: each takes changes in their order."""
    last = world.lab.create(service("last", SRV))["spec"]["clusterIP"]
    deadline = time.monotonic() + PATIENCE
    for place in world.places.values():
        while place:  # the outside has no route yet, and no rules of its own
            (made,) = world.lab.sockets(place, 1)
            if re.fullmatch(r"[\d.]+", asyncio.run(attempt(made, False, (last, 80)))):
                break
            assert time.monotonic() < deadline, "a new Service was not programmed"


# --- the attempts


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
            sockets = world.lab.sockets(world.places[client], len(mine), udp=protocol == "udp")
            work += list(zip(mine, sockets, strict=True))

    async def one(cell: tuple[int, str], made: socket.socket) -> tuple[tuple[int, str], str]:
        row = rows[cell[0]]
        return cell, await attempt(made, row.protocol == "udp", world.target(row.situation))

    return dict(await asyncio.gather(*(one(cell, made) for cell, made in work)))


def namespaces(world: World) -> list[str | Object]:
    nodes: list[str | Object] = list(world.lab.config.node_names)
    return [*nodes, *world.pods.values(), ""]


def test_the_recording_is_read_whole() -> None:
    assert len(ROWS) == 67
    assert {row.protocol for row in ROWS} == {"tcp", "udp"}


def test_every_cell_is_as_recorded(world: World) -> None:
    for place in namespaces(world):
        # The recorded clients tried one thing at a time; ours try all at once, so refusals must not be rationed.
        world.lab.sysctl(place, "ipv4/icmp_ratemask", "0")
    try:
        seen = asyncio.run(attempt_all(world, ROWS))
    finally:
        for place in namespaces(world):
            world.lab.sysctl(place, "ipv4/icmp_ratemask", "6168")
    differences = []
    for (number, client), outcome in seen.items():
        row = ROWS[number]
        recorded = row.cells[client]
        if re.fullmatch(r"[\d.]+", outcome):
            outcome = world.name_of_source(client, outcome, recorded)
        if not same(row, client, recorded, outcome):
            differences.append(f"{row.situation} / {row.protocol} / {client}: {outcome}, recorded {recorded}")
    assert not differences, "\n".join(differences)


def test_refusals_are_rationed_as_recorded(world: World) -> None:
    """ "Refusals are rate-limited": a burst of 6 to one client, then about one a second; a node's own are not."""

    async def burst(client: str, udp: bool) -> Counter[str]:
        sockets = world.lab.sockets(world.places[client], 20, udp=udp)
        target = world.target("no endpoints: VIP")
        return Counter(await asyncio.gather(*(attempt(made, udp, target) for made in sockets)))

    async def all_bursts() -> list[Counter[str]]:
        # Two pods, on two nodes: each has a ration of its own.
        cases = [("pod", False), ("podep", True), ("node", False), ("nodeep", True)]
        return list(await asyncio.gather(*(burst(client, udp) for client, udp in cases)))

    pod_tcp, pod_udp, node_tcp, node_udp = asyncio.run(all_bursts())
    assert pod_tcp["ECONNREFUSED"] == 6
    assert pod_tcp["timeout"] >= 9, pod_tcp
    assert 1 <= sum(n for outcome, n in pod_tcp.items() if " after " in outcome) <= 5, pod_tcp
    assert 6 <= pod_udp["ECONNREFUSED"] <= 7
    assert pod_udp["ECONNREFUSED"] + pod_udp["timeout"] == 20
    assert node_tcp == {"ECONNREFUSED": 20}
    assert node_udp == {"EPERM": 20}


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
    (made,) = world.lab.sockets("", 1)
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
    recorded = recorded_health_checks(RECORDING.read_text(), "nftables")
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
    assert body["status"].keys() == {"IPv4"}
    assert body["status"]["IPv4"]["healthy"] is True


def test_a_health_check_goes_with_its_service(world: World) -> None:
    made = world.lab.create(service("passing", SRV, "LoadBalancer", externalTrafficPolicy="Local"))
    path = f"/api/v1/namespaces/{NAMESPACE}/services/passing"
    port = made["spec"]["healthCheckNodePort"]

    def answers() -> bool:
        try:
            return http_get(world, A, port, "/")[0] == 200
        except OSError:
            return False

    def wait_until(wanted: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        while answers() != wanted:
            assert time.monotonic() < deadline, f"the health check answers: {not wanted}"

    wait_until(True)
    world.lab.patch(path, {"spec": {"externalTrafficPolicy": "Cluster"}})
    wait_until(False)
    world.lab.delete(path)
