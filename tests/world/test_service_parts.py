"""The parts of a Service's handle: who must answer as pods are now, what its spec says, and its workload's pods."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kubereach.expect.where import addresses_of, servers_of
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.address import Address
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Bus, Changed
from kubereach.model.settings import Settings
from kubereach.probe.context import RunContext
from kubereach.world.service import Service
from kubereach.world.service_endpoints import Endpoints

PORTS = [
    {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080},
    {"name": "datagram", "port": 81, "protocol": "UDP"},
]


def pod(name, node="one", uid="", ready=True, app="web", ips=("10.0.0.1",)):
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", "uid": uid or name, "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


class Connection:
    """An API server that deletes pods at once, and whose controller then makes `later`."""

    def __init__(self, *objects, later=()):
        self.events = []
        bus = Bus()
        bus.subscribe(self.events.append)
        self.context = RunContext(Settings(world_deadline=1), bus, "")
        self.watch_cache = WatchCache(None, "")
        for obj in objects:
            self.watch_cache._note("ADDED", obj)
        self.api, self.later = self, list(later)

    def delete(self, path, **options):
        self.watch_cache._note("DELETED", self.watch_cache.get("Pod", "a", path.rpartition("/")[2]))
        if self.later:
            self.watch_cache._note("ADDED", self.later.pop(0))

    def changed(self, action, kind, namespace, name):
        self.context.bus.emit(Changed(action, f"{kind} {namespace}/{name}"))

    def readiness(self):
        return SimpleNamespace(wait=lambda done, _: done())


def service(connection, **spec):
    created = {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "a", "uid": "1"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ports": PORTS, **spec},
    }
    return Service(connection, SimpleNamespace(balancer=None), None, created, 0.0)


def test_endpoints_are_the_names_of_pods_at_one_moment():
    pods = [pod("a"), pod("b", "two", ips=("10.0.0.2", "fd00::2"))]
    found = Endpoints.of(pods, 4, frozenset())
    assert found == {"a", "b"}
    assert found - {"a"} == {"b"}
    assert found.addresses == {"10.0.0.1", "10.0.0.2"}
    assert found.ips_of == {"a": ("10.0.0.1",), "b": ("10.0.0.2", "fd00::2")}
    assert found.by_node == {"one": {"a"}, "two": {"b"}}
    assert found.ports_at(PORTS[0]) == (("a", 8080), ("b", 8080))
    assert Endpoints.of(pods[1:], 6, frozenset()).address_of == {"b": "fd00::2"}
    assert Endpoints.of([], 4, frozenset({"192.0.2.1"})).addresses == {"192.0.2.1"}


def test_what_was_taken_down_before_a_change_stays_what_it_was():
    connection = Connection(pod("a"), pod("b"))
    made = service(connection)
    before = made.endpoints
    connection.watch_cache._note("MODIFIED", pod("b", ready=False))
    assert (before, made.endpoints) == ({"a", "b"}, {"a"})


def test_an_address_knows_where_its_port_leads():
    vip = service(Connection(pod("a"))).vip("http")
    assert (vip.url, vip.targets) == ("http://10.96.0.7:80", (("a", 8080),))
    with pytest.raises(CannotMeasure, match="no port metrics"):
        service(Connection()).vip("metrics")
    with pytest.raises(NotConforming, match="a node port"):
        service(Connection()).node_port("datagram")


def test_pods_are_replaced_one_and_all():
    connection = Connection(pod("a"), pod("b"), later=[pod("c"), pod("d")])
    made = service(connection)
    assert made.workload.replace("a") == {"b", "c"}
    assert [(event.action, event.object) for event in connection.events] == [("delete", "Pod a/a")]
    assert made.settled > 0
    connection.later.append(pod("e"))
    assert made.workload.replace() == {"d", "e"}


def test_a_pod_of_a_stateful_set_comes_back_under_its_name():
    back = pod("member-0", uid="second", app="member")
    connection = Connection(pod("member-0", uid="first", app="member"), later=[back])
    assert service(connection, selector={"app": "member"}).workload.replace("member-0") == {"member-0"}


def test_pods_that_are_not_replaced_are_no_pass():
    with pytest.raises(CannotMeasure, match="no replacement of deleted pods of web within 1 s"):
        service(Connection(pod("a"))).workload.replace()


def test_a_service_stands_for_its_cluster_ip_and_first_port():
    made, other = service(Connection()), Address("pod", "http", "10.0.0.9", 80)
    assert [one.host for one in addresses_of([made, other])] == ["10.96.0.7", "10.0.0.9"]
    assert addresses_of(other) == [other]


def test_dns_servers_settle_with_what_they_serve():
    replicas = [DnsReplica("dns-1", "10.0.0.53", 53), DnsReplica("dns-2", "10.0.0.54", 53)]
    found = servers_of(replicas, 7.0, 5.0)
    assert [(one.host, one.settled, one.note) for one in found] == [
        ("10.0.0.53", 7.0, "dns-1"),
        ("10.0.0.54", 7.0, "dns-2"),
    ]
    assert servers_of(replicas[0], 3.0, 5.0)[0].settled == 5.0
