"""A DNS replica that alone gives a wrong answer is named with its node, and the service proxy is not blamed for it."""

from __future__ import annotations

import base64
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.rrset
import pytest

from kubereach.diagnosis import misled as misled_module
from kubereach.diagnosis.dns import walk
from kubereach.diagnosis.misled import misled
from kubereach.diagnosis.replicas import named
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.model.address import Address
from kubereach.model.finding import DNS, PROXY
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import OK, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe import Series, dns_message
from kubereach.probe.path import Path

NAME = "web.shop.svc.cluster.local."
RIGHT, STALE = "10.96.0.7", "10.96.0.3"
REPLICAS = (
    DnsReplica("coredns-a", "10.244.0.2", 53, "cluster-one"),
    DnsReplica("coredns-b", "10.244.1.2", 53, "cluster-two"),
)
SHORT = {"cluster-one": "one", "cluster-two": "two"}
SERVICE = "10.96.0.10"


def told(*addresses: str, name: str = NAME) -> Answer:
    reply = dns.message.make_response(dns.message.make_query(name, "A"))
    if addresses:
        reply.answer.append(dns.rrset.from_text(name, 30, "IN", "A", *addresses))
    return Answer(OK, detail=base64.b64encode(reply.to_wire()).decode())


class Bench:
    """Servers by address, and what they answer to everybody."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {host.replace("_", ".").lstrip("a"): answer for host, answer in answers.items()}
        self.asked: list[Series] = []

    def run(self, wanted: Any) -> list[SeriesResult]:
        self.asked += [series for _, series in wanted]
        return [
            SeriesResult(tuple(Probe(self.answers[series.host], 0.01) for _ in range(5)), 0.1)
            for _, series in wanted
        ]


def bench(a: str, b: str, service: Answer | None = None) -> Bench:
    made = Bench()
    made.answers = {"10.244.0.2": told(a), "10.244.1.2": told(b), SERVICE: service or told(RIGHT)}
    return made


def world(replicas: tuple[DnsReplica, ...] = REPLICAS) -> Any:
    cluster = SimpleNamespace(
        dns=SimpleNamespace(replicas=replicas, namespace="kube-system"),
        dns_address=SERVICE,
        dns_replicas=replicas,
        domain="cluster.local",
        search_list=lambda namespace: (
            f"{namespace}.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ),
    )
    return SimpleNamespace(cluster=cluster, namespace="shop", pods=[])


def path(miss: str = RECORDS, address: Address | None = None) -> Path:
    context = SimpleNamespace(settings=Settings())
    vantage: Any = SimpleNamespace(
        name="pod@one", kind="pod", node="cluster-one", context=context, namespace="shop"
    )
    made = Path(vantage, address or Address("dns", "dns", SERVICE, 53))
    made.series = Series("dns", more={"message": dns_message.query(NAME, "A")})
    made.judged = lambda answer: answer.outcome == OK and RIGHT in str(dns_message.read(answer.detail, "A"))
    made.fail(f"exactly {RIGHT}", STALE, miss=miss)
    return made


def test_one_that_is_wrong_alone_is_named_with_its_node() -> None:
    found = walk(world(), bench(RIGHT, STALE), path(), None, SHORT)  # type: ignore[arg-type]
    assert (found.layer, found.object, found.nodes) == (DNS, "DNS replica coredns-b", ("two",))
    assert found.what == "its answers differ from the API objects"
    assert any(
        line.startswith("replica coredns-b (10.244.1.2): 0 of 5 answers correct") for line in found.evidence
    )


def test_where_all_are_wrong_it_is_cluster_dns() -> None:
    found = walk(world(), bench(STALE, STALE), path(), None, SHORT)  # type: ignore[arg-type]
    assert (found.layer, found.object, found.nodes) == (DNS, "cluster DNS", ())


def test_one_that_has_caught_up_since_is_not_the_service_proxys_fault() -> None:
    """A wrong answer is nobody's but a server's."""
    found = walk(world(), bench(RIGHT, RIGHT), path(), None, SHORT)  # type: ignore[arg-type]
    assert (found.layer, found.object) == (DNS, "cluster DNS")
    assert "up to date by now" in found.what
    assert found.evidence[0] == f"pod@one got {STALE}, expected exactly {RIGHT}"
    assert found.evidence[1].startswith(f"the same query to {SERVICE} now: 5 of 5 answers correct")
    # asked itself, it is named
    itself = path(address=Address("dns", "dns", "10.244.1.2", 53))
    found = walk(world(), bench(RIGHT, RIGHT), itself, None, SHORT)  # type: ignore[arg-type]
    assert (found.object, found.nodes) == ("DNS replica coredns-b", ("two",))


def test_what_still_comes_wrong_through_the_service_alone_is_the_service_proxys() -> None:
    """It leads to somebody else."""
    found = walk(world(), bench(RIGHT, RIGHT, told(STALE)), path(), None, SHORT)  # type: ignore[arg-type]
    assert (found.layer, found.nodes) == (PROXY, ("one",))


def test_what_is_lost_on_the_way_to_replicas_that_are_right_is_the_service_proxys() -> None:
    found = walk(world(), bench(RIGHT, RIGHT), path(LOST), None, SHORT)  # type: ignore[arg-type]
    assert (found.layer, found.object) == (PROXY, "service proxy")


def test_replicas_are_named_where_some_are_wrong() -> None:
    assert named((), REPLICAS, SHORT) == ("cluster DNS", ())
    assert named(REPLICAS, REPLICAS, SHORT) == ("cluster DNS", ())
    assert named(REPLICAS[:1], REPLICAS, {}) == ("DNS replica coredns-a", ("cluster-one",))
    assert named([replace(REPLICAS[0], node="")], REPLICAS, SHORT) == ("DNS replica coredns-a", ())


# --- clients that are led astray


def subject(headless: bool = False, *pods: str) -> Any:
    spec = {"clusterIP": "None" if headless else RIGHT, "clusterIPs": ["None" if headless else RIGHT]}
    endpoints = [SimpleNamespace(address=ip, pod=f"member-{n}") for n, ip in enumerate(pods)]
    return SimpleNamespace(service={"spec": spec}, endpoints=endpoints)


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found of a path by `host`, where the API has `of`."""

    def examine(servers: Bench, of: Any, host: str = NAME, kind: str = "pod") -> Any:
        monkeypatch.setattr(misled_module, "subject_named", lambda *_: of)
        one = path(LOST, Address("headless", "http", host, 8080))
        one.vantage.kind = kind  # type: ignore[misc]
        one.series, one.judged = Series("http"), None
        return misled(world(), servers, one, None, SHORT)  # type: ignore[arg-type]

    return examine


def test_a_client_that_one_replica_leads_astray(by_name: Any) -> None:
    found = by_name(bench(STALE, RIGHT), subject())
    assert (found.layer, found.object, found.nodes) == (DNS, "DNS replica coredns-a", ("one",))
    assert "clients connect to wrong addresses" in found.what
    # a headless Service's pods, and one of them by its own name
    found = by_name(bench(RIGHT, STALE), subject(True, RIGHT))
    assert found.object == "DNS replica coredns-b"
    found = by_name(bench(RIGHT, STALE), subject(True, RIGHT, STALE), f"member-0.{NAME}")
    assert found.object == "DNS replica coredns-b"


def test_replicas_that_say_what_the_api_says_lead_nobody_astray(by_name: Any) -> None:
    assert by_name(bench(RIGHT, RIGHT), subject()) is None
    assert by_name(bench(RIGHT, RIGHT), subject(True, RIGHT)) is None
    silent = bench(RIGHT, RIGHT)
    silent.answers["10.244.1.2"] = Answer(TIMEOUT)
    assert by_name(silent, subject()) is None


def test_all_replicas_against_the_pods_are_no_proof(by_name: Any) -> None:
    """Who is ready may have changed a moment ago; a cluster IP has not."""
    assert by_name(bench(STALE, STALE), subject(True, RIGHT)) is None
    assert by_name(bench(STALE, STALE), subject()).object == "cluster DNS"


def test_where_nothing_is_known_of_a_name_nobody_is_asked(by_name: Any) -> None:
    for host, of, kind in ((RIGHT, subject(), "pod"), (NAME, None, "pod"), (NAME, subject(), "outside")):
        servers = bench(STALE, RIGHT)
        assert by_name(servers, of, host, kind) is None
        assert not servers.asked
