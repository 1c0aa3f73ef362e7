"""A cause says which queries fail alone, by what, where, how late, and what is answered beside them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.rrset
import pytest

from kubereach.diagnosis.dns import walk
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.model.address import Address
from kubereach.model.finding import DNS, NETWORK, NODE, PROXY, Finding
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import NODATA, OK, SERVFAIL, TIMEOUT, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe import Series, dns_message
from kubereach.probe.path import Path

NAME, ADDRESS, SERVICE = "web.shop.svc.cluster.local.", "10.96.0.7", "10.96.0.10"
REPLICAS = (
    DnsReplica("coredns-a", "10.244.0.2", 53, "cluster-one"),
    DnsReplica("coredns-b", "10.244.1.2", 53, "cluster-two"),
)
SHORT = {"cluster-one": "one", "cluster-two": "two", "cluster-three": "three"}
SILENT = Answer(TIMEOUT)


@dataclass
class Asked:
    """One series: from which node, of whom, and what."""

    node: str
    host: str
    transport: str
    rdtype: str
    edns: bool
    pair: bool
    timeout: float

    @property
    def large(self) -> bool:
        return self.edns and self.rdtype == "A"


def healthy(asked: Asked) -> Answer:
    reply = dns.message.make_response(dns.message.make_query(NAME, asked.rdtype))
    if asked.rdtype == "A":
        reply.answer.append(dns.rrset.from_text(NAME, 30, "IN", "A", ADDRESS))
    detail = base64.b64encode(reply.to_wire()).decode()
    return Answer(
        OK if reply.answer or asked.pair else NODATA, detail=f"{detail} {detail}" if asked.pair else detail
    )


class Bench:
    """Servers that answer what `script` says, healthily where that is None, after `seconds`."""

    def __init__(self, script: Callable[[Asked], Answer | None], seconds: float = 0.01) -> None:
        self._script, self._seconds = script, seconds

    def run(self, wanted: Any) -> list[SeriesResult]:
        return [self._one(vantage, series) for vantage, series in wanted]

    def _one(self, vantage: Any, series: Series) -> SeriesResult:
        said = dns_message.asked(str(series.more["message"]))
        transport, pair = str(series.more.get("transport", "udp")), "beside" in series.more
        asked = Asked(
            SHORT[vantage.node], series.host, transport, said.rdtype, said.payload > 0, pair, series.timeout
        )
        answer = self._script(asked) or healthy(asked)
        return SeriesResult(tuple(Probe(answer, self._seconds) for _ in range(min(series.count, 5))), 0.1)


def vantage(node: str) -> Any:
    context = SimpleNamespace(settings=Settings())
    return SimpleNamespace(
        pod="client",
        name=f"pod@{SHORT[node]}",
        kind="pod",
        node=node,
        context=context,
        namespace="shop",
    )


def world() -> Any:
    found = SimpleNamespace(replicas=REPLICAS, namespace="kube-system")
    cluster = SimpleNamespace(dns=found, dns_address=SERVICE, dns_replicas=REPLICAS, domain="cluster.local")
    return SimpleNamespace(cluster=cluster, pods=[vantage(node) for node in SHORT])


def found_of(
    script: Callable[[Asked], Answer | None], node: str = "cluster-three", miss: str = LOST, got: str = "4 timed out",
    seconds: float = 0.01, rdtype: str = "A", payload: int = 0, **more: object,
) -> Finding:  # fmt: skip
    path = Path(vantage(node), Address("dns", "dns", SERVICE, 53))
    path.series = Series(
        "dns", SERVICE, 53, more={"message": dns_message.query(NAME, rdtype, payload), **more}
    )
    path.judged = lambda answer: answer.outcome == (OK if rdtype == "A" else NODATA)
    path.wanted = frozenset({ADDRESS})
    path.fail("an answer", got, miss=miss)
    return walk(world(), Bench(script, seconds), path, None, SHORT)  # type: ignore[arg-type]


def when(answer: Answer, wrong: Callable[[Asked], bool]) -> Callable[[Asked], Answer | None]:
    return lambda asked: answer if wrong(asked) else None


# --- which queries


def test_tcp_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.transport == "tcp"), transport="tcp")
    assert (found.layer, found.object, found.nodes) == (DNS, "cluster DNS", ())
    assert found.what == "it does not answer queries over TCP from any node; queries over UDP are answered"
    assert "replica coredns-a, queries over UDP: 5 of 5 probes answered" in found.evidence


def test_udp_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.transport == "udp"))
    assert found.what == "it does not answer queries over UDP from any node; queries over TCP are answered"


def test_one_record_type_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.rdtype == "AAAA"), rdtype="AAAA")
    assert found.what == "it does not answer AAAA queries from any node; A queries are answered"
    found = found_of(when(Answer(SERVFAIL), lambda q: q.rdtype == "AAAA"), rdtype="AAAA", miss=RECORDS)
    assert (found.layer, found.object) == (DNS, "cluster DNS")
    assert found.what == "it does not answer AAAA queries (5 SERVFAIL); A queries are answered"


def test_large_answers_alone_are_lost_by_the_network() -> None:
    found = found_of(when(SILENT, lambda q: q.large), payload=1232)
    assert (found.layer, found.object, found.nodes) == (NETWORK, "pod network", ())
    assert found.what == (
        "UDP answers of DNS over 512 bytes are lost on their way to every node; queries with smaller answers are "
        "answered"
    )


def test_edns_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.edns), payload=1232)
    assert found.layer == DNS
    assert (
        found.what == "it does not answer queries with EDNS from any node; queries without EDNS are answered"
    )


def test_where_nothing_is_answered_nothing_is_said_to_be() -> None:
    found = found_of(lambda _: SILENT)
    assert (found.layer, found.what) == (DNS, "it does not answer queries from any node")


def test_one_replica_over_tcp_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.transport == "tcp" and q.host == "10.244.1.2"), transport="tcp")
    assert (found.object, found.nodes) == ("DNS replica coredns-b", ("two",))
    assert "queries over UDP are answered" in found.what


def test_the_service_alone_over_tcp() -> None:
    found = found_of(when(SILENT, lambda q: q.transport == "tcp" and q.host == SERVICE), transport="tcp")
    assert (found.layer, found.nodes) == (PROXY, ("three",))
    assert found.what == (
        f"queries over TCP to the DNS Service {SERVICE} fail, while each of its 2 replicas answers correctly; queries "
        "over UDP are answered"
    )


# --- where


def test_on_one_node_alone() -> None:
    found = found_of(when(SILENT, lambda q: q.large and q.node == "three"), payload=1232)
    assert (found.layer, found.nodes) == (NETWORK, ("three",))
    assert found.what.startswith("DNS queries over UDP with answers over 512 bytes")
    assert found.what.endswith("; queries with smaller answers are answered")


def test_a_right_answer_without_records_is_an_answer_to_a_network() -> None:
    """The other nodes get NODATA, as they must: they do not fail."""
    found = found_of(when(SILENT, lambda q: q.node == "three"), rdtype="AAAA")
    assert (found.layer, found.nodes) == (NETWORK, ("three",))


def test_wrong_answers_on_one_node_alone_are_that_nodes() -> None:
    script = when(Answer(SERVFAIL), lambda q: q.node == "three" and q.rdtype == "AAAA")
    found = found_of(script, rdtype="AAAA", miss=RECORDS, got="4 SERVFAIL")
    assert (found.layer, found.object, found.nodes) == (NODE, "node", ("three",))
    assert found.what == (
        "DNS AAAA queries of its pods are answered wrongly (4 SERVFAIL), and rightly on one, two; A queries are "
        "answered"
    )


def test_a_replica_that_has_just_caught_up_is_no_nodes_fault() -> None:
    seen: set[str] = set()

    def script(query: Asked) -> Answer | None:
        # wrong to the first query of two nodes, and right ever since
        if query.host != "10.244.1.2" or query.node == "two" or query.node in seen:
            return None
        seen.add(query.node)
        return Answer(SERVFAIL)

    found = found_of(script, miss=RECORDS)
    assert (found.layer, seen) == (DNS, {"one", "three"})


# --- how late


def test_a_replica_that_answers_late_is_said_to_do_so() -> None:
    found = found_of(when(SILENT, lambda q: q.host == "10.244.0.2" and q.timeout < 3), seconds=3.01)
    assert (found.layer, found.object, found.nodes) == (DNS, "DNS replica coredns-a", ("one",))
    assert found.what == "it answers queries only after about 3 s"
    assert found.evidence[-1] == "asked without the time-out of 2 s: 2 of 2 probes answered"


# --- two at once


def pair(script: Callable[[Asked], Answer | None], **more: Any) -> Finding:
    return found_of(script, beside=dns_message.query(NAME, "AAAA"), **more)


def test_one_of_two_on_one_node() -> None:
    found = pair(when(SILENT, lambda q: q.pair and q.node == "three"))
    assert (found.layer, found.object, found.nodes) == (NODE, "node", ("three",))
    assert (
        found.what == "of two queries that leave one port at once, one is lost; each on its own is answered"
    )
    assert "pod@one, pairs of queries: 5 of 5 probes answered" in found.evidence


def test_one_of_two_that_is_not_lost_again_was_lost_where_it_was() -> None:
    assert pair(lambda _: None, node="cluster-two").nodes == ("two",)


def test_one_of_two_by_every_server() -> None:
    found = pair(when(SILENT, lambda q: q.pair))
    assert (found.layer, found.object, found.nodes) == (DNS, "cluster DNS", ())


@pytest.mark.parametrize(("rdtype", "other"), [("A", "AAAA"), ("AAAA", "A")])
def test_one_of_two_that_fails_on_its_own_is_examined_on_its_own(rdtype: str, other: str) -> None:
    found = pair(when(SILENT, lambda q: q.pair or q.rdtype == rdtype))
    assert found.what == f"it does not answer {rdtype} queries from any node; {other} queries are answered"
