"""A lab with IPv6 beside IPv4: addresses, the families of Services and what follows from them, packets over IPv6.

Sources: KEP-563 and https://kubernetes.io/docs/concepts/services-networking/dual-stack/. What a client sees through a
Service over IPv6 is in test_dataplane.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import httpx
import pytest
from lab_access import PATIENCE, LabAccess, Object, is_ready

BOTH = ["IPv4", "IPv6"]
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
A, B = "kubereach-worker", "kubereach-worker2"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
_numbers = count()
#: seconds without an answer that are a silence: where there is one, it comes within milliseconds
_SILENCE = 3

ECHO = """\
import socket, threading
def family(client):
    return client[0].removeprefix("::ffff:").encode()
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("", 8080))
def answer():
    while True:
        _, client = udp.recvfrom(2048)
        udp.sendto(socket.gethostname().encode() + b" " + family(client), client)
threading.Thread(target=answer, daemon=True).start()
tcp = socket.create_server(("", 8080), family=socket.AF_INET6, backlog=512, dualstack_ipv6=True)
while True:
    connection, client = tcp.accept()
    connection.sendall(socket.gethostname().encode() + b" " + family(client))
    connection.close()
"""


@pytest.fixture
def space(dual_lab: LabAccess) -> Iterator[str]:
    name = f"d{next(_numbers)}"
    dual_lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    dual_lab.delete(f"/api/v1/namespaces/{name}")


def service(name: str, **spec: Any) -> Object:
    ports = [{"name": p.lower(), "port": 80, "protocol": p, "targetPort": 8080} for p in ("TCP", "UDP")]
    spec = {"selector": {"app": "echo"}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def pod(name: str, node: str = A, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    container = {
        "name": "echo",
        "image": "python:3.13-alpine",
        "command": ["python3", "-u", "/echo/echo.py"],
        "volumeMounts": [{"name": "code", "mountPath": "/echo"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
        "env": [
            {"name": "PODS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": "echo"}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "code", "configMap": {"name": "echo"}}],
            **spec,
        },
    }


class Space:
    """A namespace of the dual-stack lab."""

    def __init__(self, lab: LabAccess, name: str) -> None:
        self.lab = lab
        self.name = name
        self.path = f"/api/v1/namespaces/{name}"

    def create(self, *objects: Object) -> Object:
        made: Object = {}
        for obj in objects:
            obj["metadata"]["namespace"] = self.name
            made = self.lab.create(obj)
        return made

    def pods(self, *pods: Object) -> dict[str, Object]:
        """Make echoing pods and wait until they are ready."""
        self.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "echo"}, "data": {"echo.py": ECHO}}
        )
        self.create(*pods)
        return {p["metadata"]["name"]: p for p in self.lab.ready_pods(self.name, len(pods))}

    def patch(self, name: str, spec: Object) -> Object:
        return self.lab.patch(f"{self.path}/services/{name}", {"spec": spec})

    def slices(self, name: str, families: set[str], addresses: int) -> list[Object]:
        """Wait until a Service's slices are of these families with so many addresses each."""

        def holds(slices: list[Object]) -> bool:
            found = {s["addressType"]: len(s["endpoints"]) for s in slices}
            return len(slices) == len(families) and found == dict.fromkeys(families, addresses)

        return self.lab.wait(
            SLICES.format(self.name), holds, labelSelector=f"kubernetes.io/service-name={name}"
        )

    def balanced(self, name: str, addresses: int) -> list[str]:
        """Wait until a Service has so many load-balancer addresses."""

        def ips(service: Object) -> list[str]:
            return [i["ip"] for i in service["status"]["loadBalancer"].get("ingress") or []]

        found = self.lab.wait(
            f"{self.path}/services",
            lambda s: len(ips(s[0])) == addresses,
            fieldSelector=f"metadata.name={name}",
        )
        return ips(found[0])

    def programmed(self, selector: Object) -> None:
        """Wait until every node has programmed what happened so far: each takes changes in their order.

        `selector` is of a pod that answers.
        """
        last = self.create(service("last", ipFamilies=["IPv6"], selector=selector))["spec"]["clusterIP"]

        async def reached(node: str) -> None:
            while True:
                try:
                    await asyncio.wait_for(ask(self.lab, node, last), 0.3)
                except (asyncio.TimeoutError, OSError):
                    continue
                return

        async def everywhere() -> None:
            await asyncio.gather(*(reached(node) for node in self.lab.config.node_names))

        asyncio.run(asyncio.wait_for(everywhere(), PATIENCE))


@pytest.fixture
def here(dual_lab: LabAccess, space: str) -> Space:
    return Space(dual_lab, space)


def of(family: str, addresses: list[str]) -> str:
    return next(a for a in addresses if (":" in a) == (family == "IPv6"))


async def ask(lab: LabAccess, place: str | Object, address: str, port: int = 80, *, udp: bool = False) -> str:
    """What the echo answers: its name and the address that it sees."""
    (made,) = lab.sockets(place, 1, udp=udp, ipv6=":" in address)
    loop = asyncio.get_running_loop()
    with made:
        made.setblocking(False)
        await asyncio.wait_for(loop.sock_connect(made, (address, port)), PATIENCE)
        if udp:
            await loop.sock_sendall(made, b"?")
        return (await asyncio.wait_for(loop.sock_recv(made, 200), PATIENCE)).decode()


# --- addresses


def test_nodes_have_addresses_and_ranges_of_both_families(dual_lab: LabAccess) -> None:
    node = next(n for n in dual_lab.get("/api/v1/nodes")["items"] if n["metadata"]["name"] == A)
    assert node["spec"]["podCIDRs"] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    assert node["spec"]["podCIDR"] == "10.244.1.0/24"
    assert [(a["type"], a["address"]) for a in node["status"]["addresses"]] == [
        ("InternalIP", "172.18.0.3"),
        ("InternalIP", "fc00:f853:ccd:e793::3"),
        ("Hostname", A),
    ]


def test_pods_have_addresses_of_both_families(here: Space) -> None:
    pods = here.pods(pod("own"), pod("set", subdomain="sub", hostname="h"), pod("host", hostNetwork=True))
    status = pods["own"]["status"]
    addresses = [ip["ip"] for ip in status["podIPs"]]
    assert status["podIP"] == addresses[0]
    for address, pods_of_the_node in zip(addresses, ("10.244.1.0/24", "fd00:10:244:1::/64"), strict=True):
        assert ipaddress.ip_address(address) in ipaddress.ip_network(pods_of_the_node)
    nodes = ["172.18.0.3", "fc00:f853:ccd:e793::3"]
    assert status["hostIP"] == nodes[0]
    assert [ip["ip"] for ip in status["hostIPs"]] == nodes
    assert [ip["ip"] for ip in pods["host"]["status"]["podIPs"]] == nodes

    def lines(name: str, word: str) -> list[str]:
        text = here.lab.exec(here.name, name, "cat", "/etc/hosts")
        return [line for line in text.splitlines() if line.split("\t")[-1] == word]

    assert lines("own", "own") == [f"{address}\town" for address in addresses]
    inside = [ip["ip"] for ip in pods["set"]["status"]["podIPs"]]
    assert lines("set", "h") == [f"{a}\th.sub.{here.name}.svc.cluster.local\th" for a in inside]
    assert lines("host", A) == [f"{address}\t{A}" for address in nodes]
    told = here.lab.exec(here.name, "own", "sh", "-c", "echo $PODS $HOSTS")
    assert told.split() == [",".join(addresses), ",".join(nodes)]


def test_pods_reach_each_other_untranslated_and_leave_masqueraded(here: Space) -> None:
    lab = here.lab
    pods = here.pods(pod("a"), pod("near"), pod("far", B))
    target, near, far = (
        [ip["ip"] for ip in pods[name]["status"]["podIPs"]][1] for name in ("a", "near", "far")
    )

    async def seen() -> list[str]:
        places: list[str | Object] = [pods["near"], pods["far"], pods["a"], A, B]
        return [(await ask(lab, place, target, 8080)).split()[1] for place in places]

    gateway = "fd00:10:244:1::1"
    assert asyncio.run(seen()) == [
        near,
        far,
        target,
        gateway,
        "fc00:f853:ccd:e793::4",
    ]
    (listener,) = lab.sockets("", 1, ipv6=True)
    (client,) = lab.sockets(pods["far"], 1, ipv6=True)
    with listener, client:
        listener.bind(("fc00:f853:ccd:e793::1", 0))
        listener.listen()
        listener.settimeout(PATIENCE)
        client.settimeout(PATIENCE)
        client.connect(listener.getsockname()[:2])
        connection, source = listener.accept()
        connection.close()
    assert source[0] == "fc00:f853:ccd:e793::4"


# --- the families of Services


@pytest.mark.parametrize(
    ("spec", "policy", "families"),
    [
        ({}, SINGLE, ["IPv4"]),
        ({"ipFamilyPolicy": SINGLE}, SINGLE, ["IPv4"]),
        ({"ipFamilies": ["IPv6"]}, SINGLE, ["IPv6"]),
        ({"ipFamilyPolicy": PREFER}, PREFER, BOTH),
        ({"ipFamilyPolicy": REQUIRE}, REQUIRE, BOTH),
        ({"ipFamilyPolicy": PREFER, "ipFamilies": ["IPv6"]}, PREFER, ["IPv6", "IPv4"]),
        ({"ipFamilyPolicy": REQUIRE, "ipFamilies": ["IPv6", "IPv4"]}, REQUIRE, ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00:10:96::1234"}, SINGLE, ["IPv6"]),
        ({"ipFamilyPolicy": PREFER, "clusterIP": "fd00:10:96::1235"}, PREFER, ["IPv6", "IPv4"]),
        (
            {
                "ipFamilyPolicy": PREFER,
                "clusterIP": "10.96.0.99",
                "clusterIPs": ["10.96.0.99", "fd00:10:96::99"],
            },
            PREFER,
            BOTH,
        ),
        ({"clusterIP": "None"}, SINGLE, ["IPv4"]),
        ({"clusterIP": "None", "selector": None}, REQUIRE, BOTH),
        ({"clusterIP": "None", "selector": None, "ipFamilyPolicy": SINGLE}, SINGLE, ["IPv4"]),
        ({"clusterIP": "None", "ipFamilyPolicy": PREFER}, PREFER, BOTH),
        ({"selector": None}, SINGLE, ["IPv4"]),
    ],
)
def test_a_services_families(here: Space, spec: Object, policy: str, families: list[str]) -> None:
    made = here.create(service("s", **spec))["spec"]
    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == (policy, families)
    assert made["clusterIP"] == made["clusterIPs"][0]
    if spec.get("clusterIP") == "None":
        assert made["clusterIPs"] == ["None"]
        return
    ranges = {"IPv4": "10.96.0.0/16", "IPv6": "fd00:10:96::/112"}
    for address, family in zip(made["clusterIPs"], families, strict=True):
        assert ipaddress.ip_address(address) in ipaddress.ip_network(ranges[family])
    for asked, got in zip(
        spec.get("clusterIPs") or [spec.get("clusterIP")], made["clusterIPs"], strict=False
    ):
        assert asked in (None, got)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (
            {"ipFamilies": BOTH},
            "spec.ipFamilyPolicy",
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        ),
        (
            {"clusterIP": "10.96.0.98", "clusterIPs": ["10.96.0.98", "fd00:10:96::98"]},
            "spec.ipFamilyPolicy",
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
        ),
        ({"ipFamilies": ["IPv4", "IPv4"]}, "spec.ipFamilies[1]", "Duplicate value"),
        ({"ipFamilies": ["IPv5"]}, "spec.ipFamilies[0]", 'supported values: "IPv4", "IPv6"'),
        (
            {"ipFamilyPolicy": "Both"},
            "spec.ipFamilyPolicy",
            '"PreferDualStack", "RequireDualStack", "SingleStack"',
        ),
        (
            {"clusterIP": "10.96.0.98", "clusterIPs": ["10.96.0.98", "10.96.0.97"]},
            "spec.clusterIPs",
            "may specify no more than one IP for each IP family",
        ),
        (
            {"clusterIP": "fd00:10:96::98", "ipFamilies": ["IPv4"]},
            "spec.clusterIPs[0]",
            "expected an IPv4 value as indicated by `ipFamilies[0]`",
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None", "fd00:10:96::98"]},
            "spec.clusterIPs",
            "'None' must be the first and only value",
        ),
        (
            {"clusterIP": "fd00:10:97::1"},
            "spec.clusterIPs",
            "the provided network does not match the current range",
        ),
        ({"clusterIP": "fd00:10:96::"}, "spec.clusterIPs", "is not in the valid range"),
    ],
)
def test_what_is_refused(here: Space, spec: Object, field: str, message: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        here.create(service("s", **spec))
    assert caught.value.response.status_code == 422
    causes = caught.value.response.json()["details"]["causes"]
    assert any(c["field"] == field and message in c["message"] for c in causes), causes


def test_a_service_becomes_dual_and_single_again(here: Space) -> None:
    here.pods(pod("e"))
    first = here.create(service("s", type="LoadBalancer"))["spec"]
    here.slices("s", {"IPv4"}, 1)
    assert len(here.balanced("s", 1)) == 1
    both = here.patch("s", {"ipFamilyPolicy": PREFER})["spec"]
    assert both["ipFamilies"] == BOTH
    assert both["clusterIPs"][0] == first["clusterIP"]
    assert both["ports"] == first["ports"], "node ports are the same in both families"
    slices = {s["addressType"]: s for s in here.slices("s", {"IPv4", "IPv6"}, 1)}
    labels = [s["metadata"]["labels"] for s in slices.values()]
    assert labels[0] == labels[1]
    assert all(re.fullmatch(r"s-[a-z0-9]{5}", s["metadata"]["name"]) for s in slices.values())
    old, new = here.balanced("s", 2)
    assert "." in old
    assert new.startswith("fd00:172:19:255::")
    endpoints = here.lab.get(f"{here.path}/endpoints/s")
    assert [len(s["addresses"]) for s in endpoints["subsets"]] == [1], "Endpoints are of the primary family"
    assert "." in endpoints["subsets"][0]["addresses"][0]["ip"]

    # what is said once more changes nothing, and the primary family is for good
    again = here.lab.request("PUT", f"{here.path}/services/s", here.lab.get(f"{here.path}/services/s"))
    assert again["spec"] == both
    for change in (
        {"ipFamilies": ["IPv6", "IPv4"]},
        {"clusterIP": both["clusterIPs"][1], "clusterIPs": both["clusterIPs"][::-1]},
        {"clusterIPs": both["clusterIPs"][:1]},
    ):
        with pytest.raises(
            httpx.HTTPStatusError, match=r"may not change once set|must be set to 'SingleStack'"
        ):
            here.patch("s", change)

    single = here.patch("s", {"ipFamilyPolicy": SINGLE})["spec"]
    assert (single["ipFamilies"], single["clusterIPs"]) == (["IPv4"], [first["clusterIP"]])
    here.slices("s", {"IPv4"}, 1)
    assert here.balanced("s", 1) == [old]
    # the address that was given up is free
    free = both["clusterIPs"][1]
    assert here.create(service("t", clusterIP=free))["spec"]["clusterIPs"] == [free]


def test_preferring_two_is_not_upgraded_by_the_way(here: Space) -> None:
    """Only a change of the policy gives a Service its second address, as when a cluster became dual-stack."""
    here.create(service("s"))
    spec = here.patch("s", {"ipFamilyPolicy": REQUIRE})["spec"]
    assert len(spec["clusterIPs"]) == 2
    spec = here.patch("s", {"ipFamilyPolicy": PREFER, "sessionAffinity": "ClientIP"})["spec"]
    assert len(spec["clusterIPs"]) == 2


def test_a_headless_service_may_change_its_families(here: Space) -> None:
    here.pods(pod("e"))
    here.create(service("h", clusterIP="None"))
    here.slices("h", {"IPv4"}, 1)
    spec = here.patch("h", {"ipFamilies": ["IPv6"]})["spec"]
    assert (spec["ipFamilies"], spec["clusterIPs"]) == (["IPv6"], ["None"])
    (part,) = here.slices("h", {"IPv6"}, 1)
    assert part["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert ":" in part["endpoints"][0]["addresses"][0]


def test_hand_written_slices_serve_their_family(here: Space) -> None:
    pods = here.pods(pod("four"), pod("six"))
    spec = here.create(service("s", selector=None, ipFamilyPolicy=REQUIRE))["spec"]
    for name, family in (("four", "IPv4"), ("six", "IPv6")):
        address = of(family, [ip["ip"] for ip in pods[name]["status"]["podIPs"]])
        labels = {"kubernetes.io/service-name": "s"}
        here.create(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"s-{name}", "labels": labels},
                "addressType": family,
                "endpoints": [{"addresses": [address]}],
                "ports": [{"name": "tcp", "port": 8080, "protocol": "TCP"}],
            }
        )
    here.programmed({"app": "echo"})

    async def names() -> list[str]:
        return [(await ask(here.lab, B, address)).split()[0] for address in spec["clusterIPs"]]

    assert asyncio.run(names()) == ["four", "six"]


def test_an_external_name_gives_up_both_addresses(here: Space) -> None:
    spec = here.create(service("s", ipFamilyPolicy=PREFER))["spec"]
    gone = {"type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": None}
    here.patch("s", gone)
    for number, address in enumerate(spec["clusterIPs"]):
        assert here.create(service(f"t{number}", clusterIP=address))["spec"]["clusterIP"] == address


def test_the_official_client_reads_a_dual_stack_service(here: Space) -> None:
    here.create(service("s", ipFamilyPolicy=REQUIRE))
    read = here.lab.core.read_namespaced_service("s", here.name).spec
    assert read is not None
    assert read.cluster_ips is not None
    assert (read.ip_family_policy, read.ip_families) == (REQUIRE, BOTH)
    assert [":" in address for address in read.cluster_ips] == [False, True]


# --- DNS


def test_dns_has_records_of_both_families(here: Space) -> None:
    lab = here.lab
    workload = pod("db-0", labels={"app": "db"}, hostname="db-0", subdomain="db")
    client = here.pods(workload, pod("e"))["e"]
    vip = here.create(service("s", ipFamilyPolicy=PREFER))["spec"]["clusterIPs"]
    only = here.create(service("six", ipFamilies=["IPv6"]))["spec"]["clusterIP"]
    here.create(service("four"))
    here.create(service("db", clusterIP="None", ipFamilyPolicy=REQUIRE, selector={"app": "db"}))
    here.create(service("head", clusterIP="None", ipFamilyPolicy=REQUIRE))
    for name in ("db", "head"):
        here.slices(name, {"IPv4", "IPv6"}, 1)
    set_4, set_6 = (ip["ip"] for ip in lab.get(f"{here.path}/pods/db-0")["status"]["podIPs"])
    pod_4, pod_6 = (ip["ip"] for ip in client["status"]["podIPs"])

    def query(name: str, kind: str) -> tuple[str, set[str]]:
        (made,) = lab.sockets(client, 1, udp=True)
        with made:
            made.settimeout(PATIENCE)
            made.sendto(dns.message.make_query(name, kind).to_wire(), ("10.96.0.10", 53))
            answer = dns.message.from_wire(made.recv(4096))
        found = {str(r) for s in answer.answer for r in s if s.rdtype == dns.rdatatype.from_text(kind)}
        return dns.rcode.to_text(answer.rcode()), found

    zone = f"{here.name}.svc.cluster.local"
    dashed = pod_6.replace(":", "-")
    expected = {
        (f"s.{zone}", "A"): {vip[0]},
        (f"s.{zone}", "AAAA"): {vip[1]},
        (f"six.{zone}", "A"): set(),
        (f"six.{zone}", "AAAA"): {only},
        (f"four.{zone}", "AAAA"): set(),
        (f"head.{zone}", "A"): {pod_4},
        (f"head.{zone}", "AAAA"): {pod_6},
        (f"{dashed}.head.{zone}", "AAAA"): {pod_6},
        (f"db-0.db.{zone}", "A"): {set_4},
        (f"db-0.db.{zone}", "AAAA"): {set_6},
        (f"{dashed}.{here.name}.pod.cluster.local", "AAAA"): {pod_6},
        (f"{dashed}.{here.name}.pod.cluster.local", "A"): set(),
        (f"_tcp._tcp.s.{zone}", "SRV"): {f"0 100 80 s.{zone}."},
        (ipaddress.ip_address(vip[1]).reverse_pointer, "PTR"): {f"s.{zone}."},
        (ipaddress.ip_address(set_6).reverse_pointer, "PTR"): {f"db-0.db.{zone}."},
    }
    # records come with the change of the Service, over a stream of their own
    assert {key: query(*key) for key in expected} == {
        key: ("NOERROR", data) for key, data in expected.items()
    }


# --- packets through Services


def test_each_family_has_its_own_source_ranges_and_external_addresses(here: Space) -> None:
    """A range of one family says nothing of the other: that stays open."""
    lab = here.lab
    client = here.pods(pod("e"), pod("client", B, {"app": "client"}))["client"]
    ranges = {
        "only4": ["192.0.2.0/24"],
        "only6": ["2001:db8::/64"],
        "open": ["10.244.0.0/16", "fd00:10:244::/56"],
    }
    external = {"only4": "203.0.113.51", "only6": "2001:db8:1::51", "open": "2001:db8:1::52"}
    for name, allowed in ranges.items():
        here.create(
            service(
                name,
                type="LoadBalancer",
                ipFamilyPolicy=REQUIRE,
                loadBalancerSourceRanges=allowed,
                externalIPs=[external[name]],
            )
        )
        here.slices(name, {"IPv4", "IPv6"}, 1)

    async def answers(address: str, patience: float) -> bool:
        try:
            return (await asyncio.wait_for(ask(lab, client, address), patience)).startswith("e ")
        except asyncio.TimeoutError:
            return False

    async def all_of(addresses: dict[str, str]) -> dict[str, bool]:
        patience = {name: PATIENCE if expected[name] else _SILENCE for name in addresses}
        found = await asyncio.gather(*(answers(addresses[name], patience[name]) for name in addresses))
        return dict(zip(addresses, found, strict=True))

    addresses = {f"{name} {family}": of(family, here.balanced(name, 2)) for name in ranges for family in BOTH}
    addresses |= external
    here.programmed({"app": "echo"})
    expected = dict.fromkeys(addresses, True) | {"only4 IPv4": False, "only6 IPv6": False}
    assert asyncio.run(all_of(addresses)) == expected


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_affinity_keeps_an_ipv6_client_at_one_endpoint(here: Space, udp: bool) -> None:
    lab = here.lab
    client = here.pods(*(pod(f"e{i}", (A, B)[i % 2]) for i in range(4)), pod("c", B, {"app": "c"}))["c"]
    made = here.create(service("s", ipFamilies=["IPv6"], sessionAffinity="ClientIP"))["spec"]["clusterIP"]
    loose = here.create(service("loose", ipFamilies=["IPv6"]))["spec"]["clusterIP"]
    for name in ("s", "loose"):
        here.slices(name, {"IPv6"}, 4)
    here.programmed({"app": "c"})

    async def names(address: str) -> set[str]:
        return {(await ask(lab, client, address, udp=udp)).split()[0] for _ in range(20)}

    assert len(asyncio.run(names(made))) == 1
    assert len(asyncio.run(names(loose))) > 1  # all at one of 4: once in 10^11


def test_a_udp_flow_over_ipv6_leaves_a_removed_endpoint(here: Space) -> None:
    lab = here.lab
    client = here.pods(pod("a"), pod("b", B, {"app": "b"}), pod("c", B, {"app": "c"}))["c"]
    address = here.create(service("s", ipFamilies=["IPv6"]))["spec"]["clusterIP"]
    here.slices("s", {"IPv6"}, 1)
    here.programmed({"app": "c"})
    (made,) = lab.sockets(client, 1, udp=True, ipv6=True)
    with made:
        made.settimeout(1)
        made.connect((address, 80))

        def name() -> str:
            made.sendall(b"?")
            try:
                return made.recv(200).decode().split()[0]
            except TimeoutError:  # the flow ended between question and answer
                return ""

        assert name() == "a"
        here.patch("s", {"selector": {"app": "b"}})
        deadline = time.monotonic() + PATIENCE
        while name() != "b":
            assert time.monotonic() < deadline, "the flow still goes to the endpoint that was removed"


def test_a_load_balancer_address_that_no_node_serves_is_silent(dual_lab: LabAccess) -> None:
    """From the outside and from a node, whose gateway the outside is: nobody says that there is no way."""

    async def outcome(place: str, address: str, udp: bool) -> str:
        try:
            return await asyncio.wait_for(ask(dual_lab, place, address, udp=udp), 1)
        except asyncio.TimeoutError:
            return "timeout"

    async def everything() -> list[str]:
        cases = [
            (place, address, udp)
            for place in ("", A)
            for address in ("172.19.255.250", "fd00:172:19:255::fa")
            for udp in (False, True)
        ]
        return await asyncio.gather(*(outcome(*case) for case in cases))

    assert asyncio.run(everything()) == ["timeout"] * 8


# --- the lab of one stack


def test_a_lab_of_one_stack_has_nothing_of_the_other(lab: LabAccess) -> None:
    name = "one-stack"
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    command = {"name": "c", "image": "x", "command": ["sleep", "1000"]}
    spec = {"hostNetwork": True, "nodeName": A, "containers": [command], "terminationGracePeriodSeconds": 0}
    lab.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": name}, "spec": spec}
    )
    lab.pod(name, "p", is_ready)
    tables = lab.exec(name, "p", "nft", "list", "tables").splitlines()
    assert sorted(tables) == ["table ip kube-proxy", "table ip kubereach-pod-network"]
    addresses = lab.exec(name, "p", "ip", "-6", "-o", "addr", "show", "scope", "global")
    assert addresses == ""
    lab.delete(f"/api/v1/namespaces/{name}")
