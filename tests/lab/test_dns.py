"""The cluster's DNS, query by query, against what CoreDNS answered in a real Kubernetes (recordings/dns)."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from lab_access import PATIENCE, LabAccess, Object

RECORDINGS = Path(__file__).parent / "recordings"
NAMESPACE = "golden-dns"
SCENARIOS = ("addresses", "srv", "ptr", "other-types", "transport")
IMAGE = {"image": "python:3.13-alpine", "command": ["sleep", "1000"]}


def recorded(scenario: str) -> Object:
    found: Object = json.loads((RECORDINGS / f"{scenario}.json").read_text())
    return found


@dataclass
class World:
    """The recorded objects in a lab, and how the recorded addresses are called here."""

    lab: LabAccess
    replicas: list[str]
    client: Object
    renamed: dict[str, str]

    def here(self, text: str) -> str:
        """A text of the recording with this lab's addresses: plain, with dashes, and reversed."""

        def replace(found: re.Match[str]) -> str:
            return self.renamed[found[0]]

        words = "|".join(map(re.escape, sorted(self.renamed, key=len, reverse=True)))
        return re.sub(rf"(?<![\d.-])({words})(?![\d-]|\.\d)", replace, text)


def spellings(address: str) -> list[str]:
    octets = address.split(".")
    return [address, "-".join(octets), ".".join(reversed(octets)) + ".in-addr.arpa"]


def runnable(obj: Object) -> Object:
    """The recorded object with a command in place of the recorded image's own."""
    obj = json.loads(json.dumps(obj))
    spec = obj["spec"]["template"]["spec"] if "template" in obj.get("spec", {}) else obj.get("spec", {})
    for container in spec.get("containers", []):
        container.pop("args", None)
        container.update(IMAGE)
    if obj["metadata"]["name"] == "big-1":
        obj["endpoints"] = [
            {"addresses": [f"10.250.0.{n}"], "conditions": {"ready": True}} for n in range(1, 61)
        ]
    obj["metadata"]["namespace"] = NAMESPACE
    return obj


@pytest.fixture(scope="module")
def world(lab: LabAccess) -> Iterator[World]:
    recording = recorded("addresses")
    cluster_addresses = recording["addresses"]["services"] | {"unreadycip": "10.96.18.23"}
    lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for obj in recording["setup"]:
        made = runnable(obj)
        if obj["kind"] == "Service" and obj["metadata"]["name"] in cluster_addresses:
            made["spec"]["clusterIP"] = cluster_addresses[obj["metadata"]["name"]]
        lab.create(made)
    pods = lab.wait(
        f"/api/v1/namespaces/{NAMESPACE}/pods",
        lambda pods: len(pods) == 10 and all(p["status"].get("phase") == "Running" for p in pods),
    )
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}
    theirs = recording["addresses"]["pods"]
    pairs = [(theirs[name], address) for name, address in addresses.items() if name in theirs]
    pairs += zip(
        [address for name, address in theirs.items() if name.startswith("a-")],
        [address for name, address in addresses.items() if name.startswith("a-")],
        strict=True,
    )
    renamed = dict(
        word for pair in pairs for word in zip(spellings(pair[0]), spellings(pair[1]), strict=True)
    )
    replicas = [
        pod["status"]["podIP"] for pod in lab.ready_pods("kube-system", 2, selector="k8s-app=kube-dns")
    ]
    client = next(pod for pod in pods if pod["metadata"]["name"] == "p2")
    world = World(lab, replicas, client, renamed)
    wait_for_the_replicas(world)
    yield world
    lab.delete(f"/api/v1/namespaces/{NAMESPACE}")


def wait_for_the_replicas(world: World) -> None:
    """Records reach a replica in order, so one that knows the last object knows all."""
    lab, slices = world.lab, f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"

    def settled(found: list[Object]) -> bool:
        ready = [
            e
            for s in found
            for e in s.get("endpoints") or []
            if (e.get("conditions") or {}).get("ready", True)
        ]
        # 3 pods behind 5 Services, 2 of the StatefulSet, 4 behind sub, 1 unready but published; 60 + 2 + 1 by hand
        return len(ready) == 5 * 3 + 2 + 4 + 1 + 63

    lab.wait(slices, settled)
    last = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "last", "namespace": NAMESPACE},
        "spec": {"ports": [{"port": 1}]},
    }
    lab.create(last)
    query = dns.message.make_query(f"last.{NAMESPACE}.svc.cluster.local.", "A")

    async def known(replica: str) -> None:
        answered = False
        while not answered:
            answered = bool((await ask(world, query, False, replica)).answer)

    async def all_known() -> None:
        await asyncio.wait_for(asyncio.gather(*map(known, world.replicas)), PATIENCE)

    asyncio.run(all_known())
    lab.delete(f"/api/v1/namespaces/{NAMESPACE}/services/last")


async def ask(
    world: World, query: dns.message.Message, tcp: bool, server: str = "10.96.0.10"
) -> dns.message.Message:
    """Send a query from a pod of the cluster; the answer keeps its wire form in `wire`."""
    return dns.message.from_wire(await ask_raw(world, query.to_wire(), tcp, server))


async def ask_raw(world: World, wire: bytes, tcp: bool, server: str = "10.96.0.10") -> bytes:
    loop = asyncio.get_running_loop()
    (made,) = world.lab.sockets(world.client, 1, udp=not tcp)
    with made:
        made.setblocking(False)
        await loop.sock_connect(made, (server, 53))
        if not tcp:
            await loop.sock_sendall(made, wire)
            return await asyncio.wait_for(loop.sock_recv(made, 65535), PATIENCE)
        await loop.sock_sendall(made, len(wire).to_bytes(2, "big") + wire)
        made.setblocking(True)
        return await asyncio.to_thread(read_message, made)


def read_message(made: socket.socket) -> bytes:
    made.settimeout(PATIENCE)
    with made.makefile("rb") as stream:
        return stream.read(int.from_bytes(stream.read(2), "big"))


def build(world: World, query: Object) -> dns.message.Message:
    """The recorded query as a message."""
    name, kind = world.here(query["name"]), query["type"]
    made = dns.message.make_query(name, kind, query["class"])
    made.flags = dns.flags.RD if query["rd"] else 0
    if query.get("cd"):
        made.flags |= dns.flags.CD
    if query.get("ad"):
        made.flags |= dns.flags.AD
    if "opcode" in query:
        made.set_opcode(dns.opcode.from_text(query["opcode"]))
    edns = query["edns"]
    if edns:
        made.use_edns(edns["version"], dns.flags.DO if edns["do"] else 0, edns["payload"])
    return made


def records(section: list[Any]) -> set[tuple[str, int, str, str, str]]:
    return {
        (
            rrset.name.to_text(),
            rrset.ttl,
            dns.rdataclass.to_text(rrset.rdclass),
            dns.rdatatype.to_text(rrset.rdtype),
            without_serial(rdata.to_text()),
        )
        for rrset in section
        for rdata in rrset
    }


def recorded_records(world: World, section: list[Object]) -> set[tuple[str, int, str, str, str]]:
    return {
        (
            world.here(r["name"]),
            r["ttl"],
            r["class"],
            r["type"],
            without_serial(world.here(r["data"])),
        )
        for r in section
    }


def without_serial(data: str) -> str:
    """SOA serials are the time of the server's start."""
    return re.sub(r"(hostmaster\S+) \d+ ", r"\1 SERIAL ", data)


def normal_additional(found: Any) -> Any:
    """Compression may lend a name the spelling of the question, and decides how many records fit into an answer."""
    if isinstance(found, int):
        return found > 0
    return {(name.lower(), *rest) for name, *rest in found}


def differences(world: World, expected: Object, wire: bytes) -> list[str]:
    message = dns.message.from_wire(wire)
    seen: dict[str, Any] = {
        "rcode": dns.rcode.to_text(message.rcode()),
        "flags": dns.flags.to_text(message.flags),
        "edns": {"version": message.edns, "payload": int(message.payload), "options": len(message.options)}
        if message.edns >= 0
        else None,
        "question": [f"{q.name} {dns.rdatatype.to_text(q.rdtype)}" for q in message.question],
    }
    wanted = {key: expected[key] for key in ("rcode", "flags", "edns")}
    wanted["question"] = [world.here(word) for word in expected["question"]]
    for section in ("answer", "authority", "additional"):
        if section == "answer" and message.opcode() != dns.opcode.QUERY:
            # CoreDNS caches answers to queries only, and its cache is what gives them a TTL of 30 s.
            for rrset in message.answer:
                rrset.ttl = expected["answer"][0]["ttl"]
        ours = records(getattr(message, section))
        if "TC" in expected["flags"] or f"{section}_count" in expected:
            # Which of many are in a truncated answer is chance; and of more than 12 the recording keeps three.
            seen[section] = sum(len(rrset) for rrset in getattr(message, section))
            wanted[section] = expected.get(f"{section}_count", len(expected[section]))
        else:
            seen[section] = ours
            wanted[section] = recorded_records(world, expected[section])
        if section == "additional":
            seen[section], wanted[section] = (
                normal_additional(seen[section]),
                normal_additional(wanted[section]),
            )
    return [f"  {key}: {seen[key]}, recorded {wanted[key]}" for key in wanted if seen[key] != wanted[key]]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_answer_is_as_recorded(world: World, scenario: str) -> None:
    queries = recorded(scenario)["queries"]

    async def all_answers() -> list[bytes]:
        return await asyncio.gather(
            *(
                ask_raw(world, build(world, q["query"]).to_wire(), q["query"]["proto"] == "tcp")
                for q in queries
            )
        )

    found = []
    for query, wire in zip(queries, asyncio.run(all_answers()), strict=True):
        wrong = differences(world, query["response"], wire)
        if wrong:
            asked = query["query"]
            found.append(
                f"{asked['name']} {asked['type']} {asked['proto']} {asked['edns']}\n" + "\n".join(wrong)
            )
    assert not found, "\n".join(found)
