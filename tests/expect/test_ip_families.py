"""Record types and addresses follow the first IP family of the cluster and of each Service."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect import resolver
from kubereach.expect.reach import series_for
from kubereach.kube.cluster import Cluster, Node
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure
from kubereach.model.events import Bus
from kubereach.model.outcome import OK, Answer, Probe, SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe.context import RunContext
from kubereach.probe.path import Path
from kubereach.world.service import Service

BOTH = Node("one", "fd00::2", ("10.0.0.2", "fd00::2"))


class FakeBoard:
    def __init__(self, *pods):
        self.pods = list(pods)

    def get(self, *_):
        return None

    def all(self, *_):
        return self.pods


class FakeConnection:
    """A connection as far as a Service asks it for addresses."""

    def __init__(self, api="fd00:10:96::1", *pods):
        self.cluster = Cluster("v1.36.2", "", (BOTH,), "cluster.local", None, (), (api, 443))
        self.context = RunContext(Settings(), Bus(), "", ip_version=self.cluster.ip_version)
        self.watch_cache = FakeBoard(*pods)


def service(world, **spec):
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]
    meta = {"name": "web", "namespace": "a", "uid": "1"}
    created = {"metadata": meta, "spec": {"ports": ports, **spec}}
    return Service(world, SimpleNamespace(balancer=None), None, created, 0.0)


def pod(*addresses):
    return {
        "metadata": {"name": "web-1", "namespace": "a", "labels": {"app": "web"}},
        "spec": {"nodeName": "one", "containers": []},
        "status": {
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_a_service_of_ipv6_is_reached_over_ipv6():
    world = FakeConnection()
    found = service(world, clusterIP="fd00:10:96::7", clusterIPs=["fd00:10:96::7"])
    assert (found.rdtype, found.on(BOTH).host, found.addresses.on_localhost().host) == (
        "AAAA",
        "fd00::2",
        "::1",
    )
    by_name = found.by_name(found.fqdn)
    assert by_name.family == 6
    assert series_for(Path(_Vantage(world.context), by_name)).more == {"family": 6}


def test_a_service_of_ipv4_in_a_cluster_that_begins_with_ipv6():
    world = FakeConnection("fd00:10:96::1", pod("fd00:1::5", "10.1.0.5"))
    found = service(world, clusterIP="None", ipFamilies=["IPv4"], selector={"app": "web"})
    assert (found.rdtype, found.on(BOTH).host) == ("A", "10.0.0.2")
    assert (found.endpoints.addresses, found.endpoints.address_of) == ({"10.1.0.5"}, {"web-1": "10.1.0.5"})


def test_an_external_name_is_resolved_in_the_clusters_first_family():
    external = {"type": "ExternalName", "externalName": "web.b"}
    assert service(FakeConnection(), **external).by_name("web").family == 6
    assert service(FakeConnection("10.96.0.1"), **external).by_name("web").family == 4


def test_a_node_without_an_address_of_the_family_cannot_be_asked():
    found = service(FakeConnection(), clusterIPs=["fd00:10:96::7"])
    with pytest.raises(CannotMeasure, match="the node two has no IPv6 address"):
        found.on(Node("two", "10.0.0.3", ("10.0.0.3",)))


class _Vantage:
    def __init__(self, context):
        self.context, self.name, self.resends_after = context, "pod@one", 5.0

    def open(self):
        pass


@pytest.mark.parametrize(("version", "rdtype"), [(4, "A"), (6, "AAAA")])
def test_a_name_that_must_not_resolve_is_asked_for_in_the_clusters_first_family(monkeypatch, version, rdtype):
    asked, questions = [], []

    def controlled(pairs):
        asked.extend(series.more["family"] for _, series in pairs)
        return [SeriesResult((Probe(Answer(OK), 0.0),), 0.0) for _ in pairs]

    def held(seen, series, _, length, __, question):
        asked.append(series(seen[0], length).more["family"])
        questions.append(question.rdtype)

    monkeypatch.setattr(resolver, "run_each", controlled)
    monkeypatch.setattr(resolver, "hold", held)
    monkeypatch.setattr(resolver, "settle", lambda _: None)
    vantage = _Vantage(RunContext(Settings(), Bus(), "", ip_version=version))
    resolver.not_to_know([vantage], "nobody", control="somebody")
    assert (set(asked), questions) == ({version}, [rdtype])


def test_a_literal_ipv6_address_is_no_name():
    assert str(Address("clusterip", "http", "fd00::1", 80, family=6)) == "clusterip http://[fd00::1]:80"
    assert str(Address("clusterip", "http", "10.0.0.1", 80, family=6)) == "clusterip http://10.0.0.1:80"
    named = Address("clusterip", "http", "web", 80, family=6)
    assert (str(named), named.url) == ("clusterip http://web:80 over IPv6", "http://web:80")
