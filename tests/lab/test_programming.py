"""How the service proxies program changes: soon, no more than what changed, and without harm to what is open."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab_access import PATIENCE, LabAccess, Object

CLIENT_NODE, BACKEND_NODE = "kubereach-worker2", "kubereach-worker"
#: a backend that answers everything on a connection with its name
ECHO = """\
import socket, sys, threading
def talk(connection):
    while connection.recv(100):
        connection.sendall(sys.argv[1].encode())
    connection.close()
server = socket.create_server(("", 8080), backlog=512)
while True:
    threading.Thread(target=talk, args=server.accept()[:1], daemon=True).start()
"""


@dataclass(frozen=True)
class World:
    """Two backends a and b on one node, a client and a host-network pod on others."""

    lab: LabAccess
    namespace: str
    client: Object

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    def service(self, name: str, app: str = "echo", **spec: object) -> Object:
        ports = [{"port": 80, "targetPort": 8080}]
        metadata = {"name": name, "namespace": self.namespace}
        spec = {"selector": {"app": app}, "ports": ports, **spec}
        return self.lab.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    def label(self, pod: str, app: str) -> None:
        self.lab.patch(f"{self.path}/pods/{pod}", {"metadata": {"labels": {"app": app}}})

    def connect(self, address: str, timeout: float, node: str = "") -> socket.socket:
        """A connection from the client pod, or from a node."""
        (made,) = self.lab.sockets(node or self.client, 1)
        made.settimeout(timeout)
        try:
            made.connect((address, 80))
        except OSError:
            made.close()
            raise
        return made

    def answers(self, address: str) -> bool:
        """Whether a connection is answered at once: what is dropped is tried again soon."""
        try:
            with self.connect(address, 0.02) as made:
                return ask(made) != ""
        except OSError:
            return False

    def wait_until_answering(self, address: str, since: float) -> float:
        """Seconds from `since` until the address answers."""
        while not self.answers(address):
            assert time.monotonic() - since < PATIENCE, f"{address} was never programmed"
        return time.monotonic() - since

    def table(self) -> list[str]:
        """The Service rules of the client's node, a line each, with the kernel's handles: a rule keeps its own."""
        return self.lab.exec(self.namespace, "host", "nft", "-a", "list", "table", "ip", "kube-proxy").split(
            "\n"
        )


def ask(made: socket.socket) -> str:
    made.sendall(b"?")
    return made.recv(100).decode()


@pytest.fixture
def world(lab: LabAccess, space: str) -> Iterator[World]:
    def pod(name: str, node: str, **spec: object) -> None:
        container = {
            "name": "c",
            "image": "python:3.13-alpine",
            "command": ["python3", "-u", "/echo/echo.py", name],
            "volumeMounts": [{"name": "code", "mountPath": "/echo"}],
            "readinessProbe": {"tcpSocket": {"port": 8080}},
        }
        if spec.get("hostNetwork"):
            # no port of the node: the host pod of the test before may not have gone yet
            container = {"name": "c", "image": "python:3.13-alpine", "command": ["sleep", "1000"]}
        volumes = [{"name": "code", "configMap": {"name": "echo"}}]
        common = {"nodeName": node, "containers": [container], "volumes": volumes}
        spec = {**common, "terminationGracePeriodSeconds": 0, **spec}
        metadata = {"name": name, "namespace": space, "labels": {"app": "echo"} if len(name) == 1 else {}}
        lab.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    code = {"kind": "ConfigMap", "metadata": {"name": "echo", "namespace": space}, "data": {"echo.py": ECHO}}
    lab.create({"apiVersion": "v1", **code})
    pod("a", BACKEND_NODE)
    pod("b", BACKEND_NODE)
    pod("client", CLIENT_NODE)
    pod("host", CLIENT_NODE, hostNetwork=True)
    client = next(p for p in lab.ready_pods(space, 4) if p["metadata"]["name"] == "client")
    yield World(lab, space, client)


def test_changes_are_programmed_within_100_ms(world: World) -> None:
    """From the request to the answer of an endpoint on another node, most of them; the machine may be busy."""
    created, removed = [], []
    for number in range(12):
        begin = time.monotonic()
        address = world.service(f"s{number}")["spec"]["clusterIP"]
        created.append(world.wait_until_answering(address, begin))
        begin = time.monotonic()
        world.lab.delete(f"{world.path}/services/s{number}")
        while world.answers(address):
            assert time.monotonic() - begin < PATIENCE, "the deleted Service still answers"
        removed.append(time.monotonic() - begin)
    assert statistics.median(created) < 0.1, created
    assert statistics.median(removed) < 0.1, removed


def test_a_change_leaves_the_rules_of_other_services_alone(world: World) -> None:
    """All rules of others keep the handles that the kernel gave them, while one Service changes in every way."""
    for name in ("mine", "other"):
        address = world.service(name, type="NodePort", sessionAffinity="ClientIP")["spec"]["clusterIP"]
        world.wait_until_answering(address, time.monotonic())

    def others() -> list[str]:
        """The rules, sets and chains that are not the changing Service's."""
        found, name = [], ""
        for line in world.table():
            if line.startswith("\t") and not line.startswith("\t\t"):
                name = line
            if "# handle" in line and f"{world.namespace}/mine/" not in name:
                found.append(line)
        return found

    service = world.lab.get(f"{world.path}/services/mine")["spec"]
    before = others()
    assert any(f"{world.namespace}/other/" in line for line in before), "the other Service has no rules"
    path = f"{world.path}/services/mine"
    for change in (
        {"sessionAffinity": "None"},
        {"externalTrafficPolicy": "Local"},
        {
            "ports": [
                {"port": 80, "targetPort": 8080, "nodePort": service["ports"][0]["nodePort"]},
            ]
        },
        {"type": "ClusterIP"},
        {"selector": {"app": "nobody"}},
        {"selector": {"app": "echo"}},
    ):
        world.lab.patch(path, {"spec": change})
        marker = world.service(f"after-{time.monotonic_ns()}")  # programmed after the change, and then gone
        world.wait_until_answering(marker["spec"]["clusterIP"], time.monotonic())
        world.lab.delete(f"{world.path}/services/{marker['metadata']['name']}")
    world.lab.delete(path)
    marker = world.service("last")
    world.wait_until_answering(marker["spec"]["clusterIP"], time.monotonic())
    after = others()
    assert not [line for line in before if line not in after]


def test_open_connections_outlive_changes_of_their_service(world: World) -> None:
    """Endpoints come and go, ports and policies change: what is connected stays connected to the same endpoint."""
    address = world.service("s", type="NodePort")["spec"]["clusterIP"]
    world.wait_until_answering(address, time.monotonic())
    connections = [world.connect(address, PATIENCE) for _ in range(10)]
    try:
        names = [ask(made) for made in connections]
        path = f"{world.path}/services/s"
        for number in range(8):
            world.label("b", "other" if number % 2 == 0 else "echo")
            policy = ("Local", "Cluster")[number % 2]
            world.lab.patch(path, {"spec": {"externalTrafficPolicy": policy}})
            world.service(f"another{number}")
            assert [ask(made) for made in connections] == names
    finally:
        for made in connections:
            made.close()


def test_affinity_takes_another_timeout(world: World) -> None:
    """A changed timeout is a change like others: the kernel's sets cannot change theirs."""
    spec = {"sessionAffinity": "ClientIP"}
    path = f"{world.path}/services/s"
    address = world.service("s", **spec)["spec"]["clusterIP"]
    world.wait_until_answering(address, time.monotonic())
    world.lab.patch(path, {"spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 77}}}})
    deadline = time.monotonic() + PATIENCE
    while not any("timeout 1m17s" in line for line in world.table()):
        assert time.monotonic() < deadline, "the new timeout was not programmed"
    assert world.answers(address)


def test_a_burst_of_services_is_programmed(world: World) -> None:
    """More rules at once than one transaction of an ordinary user's nft takes."""

    async def create_all() -> list[Object]:
        calls = (asyncio.to_thread(world.service, f"s{n}", sessionAffinity="ClientIP") for n in range(100))
        return list(await asyncio.gather(*calls))

    # All at once, as their first endpoint comes: without one they have hardly any rules.
    world.label("a", "other")
    world.label("b", "other")
    addresses = [service["spec"]["clusterIP"] for service in asyncio.run(create_all())]
    world.label("a", "echo")
    world.label("b", "echo")
    begin = time.monotonic()
    for address in addresses:
        world.wait_until_answering(address, begin)


def served_by(world: World, address: str, node: str = "") -> str:
    """Who answers at an address, "" for nobody."""
    try:
        with world.connect(address, 0.5, node) as made:
            return ask(made)
    except OSError:
        return ""


def wait_until_served_by(world: World, address: str, name: str, node: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := served_by(world, address, node)) != name:
        assert time.monotonic() < deadline, f"{address} is served by {seen or 'nobody'}, not {name}"


@pytest.mark.parametrize("by", ["externalIPs", "loadBalancer", "both"])
def test_two_services_may_ask_for_one_address(world: World, by: str) -> None:
    """The first has it, the second goes without until it is free; nothing else is held up by that."""
    shared = "203.0.113.77"

    def ask_for_it(name: str) -> str:
        """Make a Service for the shared address and one endpoint; returns its cluster IP."""
        world.label(name, name)
        if by == "externalIPs" or (by == "both" and name == "a"):
            return str(world.service(name, name, externalIPs=[shared])["spec"]["clusterIP"])
        # the lab's own load balancer gives each its own address: this one comes from somebody else's
        made = world.service(name, name, type="LoadBalancer", loadBalancerClass="example.com/none")
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": shared}]}}}
        world.lab.patch(f"{world.path}/services/{name}/status", ingress)
        return str(made["spec"]["clusterIP"])

    first = ask_for_it("a")
    wait_until_served_by(world, shared, "a")
    second = ask_for_it("b")
    wait_until_served_by(world, second, "b")
    assert [served_by(world, shared) for _ in range(5)] == ["a"] * 5
    # what comes after them is programmed too
    wait_until_served_by(world, world.service("later", "b")["spec"]["clusterIP"], "b")
    world.lab.delete(f"{world.path}/services/a")
    wait_until_served_by(world, shared, "b")
    assert served_by(world, first) == ""
    world.lab.delete(f"{world.path}/services/b")
    wait_until_served_by(world, shared, "")


def test_services_that_ask_for_one_address_at_once(world: World) -> None:
    """In one burst, and when both get their endpoints back: the same one on every node, and all else works."""
    shared = "203.0.113.78"
    for pod in ("a", "b"):
        world.label(pod, pod)

    async def create_all() -> list[Object]:
        given = [("first", "a"), ("second", "b"), ("third", "b")]
        calls = (asyncio.to_thread(world.service, n, app, externalIPs=[shared]) for n, app in given)
        return list(await asyncio.gather(*calls))

    def wait_until_all_is_programmed() -> None:
        """Every node takes changes in their order: when the last is there, all are."""
        last = world.service(f"last-{time.monotonic_ns()}", "last")["spec"]["clusterIP"]
        for node in world.lab.config.node_names:
            wait_until_served_by(world, last, "client", node)

    world.label("client", "last")
    asyncio.run(create_all())
    for apps in (("a", "b"), ("nobody", "nobody"), ("a", "b")):
        for pod, app in zip(("a", "b"), apps, strict=True):
            world.label(pod, app)
        wait_until_all_is_programmed()
        holders = {served_by(world, shared, node) for node in world.lab.config.node_names}
        assert len(holders) == 1
        assert ("" in holders) == (apps[0] == "nobody")
