"""Load-balancer addresses of our own, overlays of providers, and why an address is not given."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import pytest

from kubereach.model.check import LOADBALANCER
from kubereach.model.errors import CannotMeasure, NotConforming, Unsupported, UsageError
from kubereach.model.settings import Settings
from kubereach.run.options import validated
from kubereach.world.load_balancer_own import OWN_CLASS, SelfBalancer
from kubereach.world.load_balancer_pending import diagnose
from kubereach.world.provider_overlay import ASKED, read
from kubereach.world.service_load_balancer import ServiceLoadBalancer
from kubereach.world.service_object import ServiceObject
from kubereach.world.source_ranges import ranges_of
from tests.conformance.conftest import ROOT


class FakeApi:
    """An API that has just these collections, and notes patches."""

    def __init__(self, **collections):
        self.collections = collections
        self.patched = []

    def find(self, path):
        found = self.collections.get(path.rpartition("/")[2])
        return None if found is None else {"items": found}

    def patch(self, path, change):
        self.patched.append((path, change))
        return change


def pod(name, image="", phase="Running"):
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"image": image}]},
        "status": {"phase": phase},
    }


def service(families=("IPv4",), **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "ours", "name": "web"},
        "spec": {"type": "LoadBalancer", "ipFamilies": list(families), **spec},
        "status": {},
    }


# --- an address that does not come


def pending(*others):
    """What is told of a Service without an address, an event or a finalizer, beside these other Services."""
    api = SimpleNamespace(find=lambda _, **__: {"items": []})
    watch_cache = SimpleNamespace(
        all=lambda _: [service(), *others], get=lambda *_: None, wait=lambda done, _: done()
    )
    connection = SimpleNamespace(
        api=api, watch_cache=watch_cache, context=SimpleNamespace(settings=Settings())
    )
    asking = ServiceObject(watch_cache, service())
    ServiceLoadBalancer(connection, SelfBalancer(Settings()), asking, None).address()


def served(**spec):
    other = service(**spec)
    other["metadata"]["name"] = "other"
    return {**other, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}


def test_where_no_service_gets_an_address_the_feature_is_absent():
    with pytest.raises(Unsupported) as error:
        pending(served(loadBalancerClass=OWN_CLASS))
    assert error.value.feature == LOADBALANCER


def test_where_others_got_one_it_is_there_and_has_failed():
    with pytest.raises(NotConforming) as error:
        pending(served())
    assert error.value.failures[0].evidence[0] == "other got an address, so a controller exists"


# --- addresses of our own


def test_without_the_option_nothing_is_claimed():
    api, balancer = FakeApi(), SelfBalancer(Settings())
    assert balancer.claimed(service()) == service()
    balancer.serve(api, service(loadBalancerClass=OWN_CLASS))
    assert not api.patched


def test_each_load_balancer_service_gets_our_class_and_an_address_of_its_own():
    api, balancer = FakeApi(), SelfBalancer(Settings(self_load_balancer=True))
    claimed = balancer.claimed(service(("IPv4", "IPv6")))
    assert claimed["spec"]["loadBalancerClass"] == OWN_CLASS
    balancer.serve(api, claimed)
    balancer.serve(api, claimed)
    given = [change["status"]["loadBalancer"]["ingress"] for _, change in api.patched]
    for ingress in given:
        first, second = (ipaddress.ip_address(address["ip"]) for address in ingress)
        assert first in ipaddress.ip_network("198.51.100.0/24")
        assert second in ipaddress.ip_network("2001:db8:51::/112")
    assert len({address["ip"] for ingress in given for address in ingress}) == 4
    assert api.patched[0][0] == "/api/v1/namespaces/ours/services/web/status"


def test_two_runs_seldom_begin_with_the_same_address():
    """What the run before has left in connection tracking leads to nobody: 198.51.100.0/24 has 254 addresses."""
    first = set()
    for _ in range(20):
        api = FakeApi()
        SelfBalancer(Settings()).assign(api, service())
        first.add(api.patched[0][1]["status"]["loadBalancer"]["ingress"][0]["ip"])
    assert len(first) > 10


def test_a_range_of_one_address_is_used_again_and_again():
    api, balancer = FakeApi(), SelfBalancer(Settings(self_load_balancer_range=("192.0.2.7/32",)))
    for _ in range(3):
        balancer.assign(api, service())
    given = {change["status"]["loadBalancer"]["ingress"][0]["ip"] for _, change in api.patched}
    assert given == {"192.0.2.7"}


@pytest.mark.parametrize("spec", [{"type": "NodePort"}, {"loadBalancerClass": "example.com/other"}])
def test_other_services_are_left_alone(spec):
    balancer = SelfBalancer(Settings(self_load_balancer=True))
    assert balancer.claimed(service(**spec)) == service(**spec)


def test_a_family_without_a_range_cannot_be_measured():
    balancer = SelfBalancer(Settings(self_load_balancer_range=("192.0.2.0/28",)))
    with pytest.raises(CannotMeasure, match="no IPv6 range"):
        balancer.assign(FakeApi(), service(("IPv6",)))


def test_a_malformed_range_is_wrong_usage():
    with pytest.raises(UsageError, match="self_load_balancer_range"):
        SelfBalancer(Settings(self_load_balancer_range=("198.51.100.0/40",)))


def test_ranges_of_clients():
    clients = [SimpleNamespace(address="10.0.0.2"), SimpleNamespace(address="fd00::2")]
    assert ranges_of(clients) == ["10.0.0.2/32", "fd00::2/128"]
    assert ranges_of([]) == ["192.0.2.0/24", "2001:db8:2::/64"]


# --- why an address is not given


@pytest.mark.parametrize(
    ("collections", "line", "remedy"),
    [
        ({"pods": [], "nodes": []}, "no known load balancer controller", "Install one"),
        (
            {"pods": [], "nodes": [{"spec": {"providerID": "kind://docker/kind/kind-worker"}}]},
            "the kind cluster has no load balancer controller",
            "Start cloud-provider-kind",
        ),
        (
            {"pods": [pod("controller-x", "quay.io/metallb/controller:v0.15")], "ipaddresspools": []},
            "MetalLB is installed: 1 of 1 pods running, 0 address pools",
            "It has no address pool",
        ),
        (
            {"pods": [pod("metallb-controller", phase="Pending")], "ipaddresspools": [{}]},
            "MetalLB is installed: 0 of 1 pods running, 1 address pools",
            "Its pods are not running",
        ),
        (
            {"pods": [pod("svclb-web-5kx2p")]},
            "klipper-lb (ServiceLB) is installed: 1 of 1",
            "the Service's ports",
        ),
        ({"pods": [pod("kube-vip-ds-1")]}, "kube-vip is installed", "ConfigMap kubevip"),
        (
            {"pods": [pod("cilium-operator-1")], "ciliumloadbalancerippools": [{}]},
            "Cilium is installed: 1 of 1 pods running, 1 address pools",
            "CiliumLoadBalancerIPPool",
        ),
        (
            {"pods": [pod("cilium-operator-1")], "ciliumloadbalancerippools": []},
            "no known load balancer controller",
            "Install one",
        ),
        (
            {"pods": [pod("aws-cloud-controller-manager-x")]},
            "cloud controller manager is installed",
            "its log",
        ),
    ],
)
def test_who_should_have_given_an_address(collections, line, remedy):
    found = diagnose(FakeApi(**collections))
    assert line in "\n".join(found.lines)
    assert remedy in found.remedy


# --- overlays


def world_with(manifests=ROOT / "manifests", **settings):
    return world_in(manifests, Settings(**settings))


def world_in(folder, settings):
    context = SimpleNamespace(settings=settings)
    return SimpleNamespace(manifests=SimpleNamespace(folder=folder), context=context)


def test_every_overlay_can_be_read():
    overlays = sorted(file.stem for file in (ROOT / "manifests/overlays").glob("*.yaml"))
    assert {"aws-nlb", "aws-clb", "gcp", "azure", "metallb"} <= set(overlays)
    for provider in overlays:
        cases = read(world_with(lb_provider=provider))
        assert len({case.name for case in cases}) == len(cases)
        assert all(case.spec["type"] == "LoadBalancer" for case in cases)
        assert all(case.wanted or case.missing for case in cases if case.outcome == ASKED)


def test_values_are_filled_in_and_missing_ones_are_named():
    world = world_with(lb_provider="aws-nlb", lb_values=("certificate=arn:aws:acm:1:certificate/2",))
    cases = {case.name: case for case in read(world)}
    assert cases["ssl-cert"].missing == ("hostname",)
    annotations = cases["ssl-cert"].annotations
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    assert annotations[f"{prefix}ssl-cert"] == "arn:aws:acm:1:certificate/2"
    assert cases["internal"].annotations[f"{prefix}scheme"] == "internal"
    assert not cases["internal"].missing


def test_a_value_arrives_as_it_was_given(tmp_path):
    """From the command line to the annotation, whatever separates values, or means something to YAML, is in it."""
    value = "a;b,c\nd: 'e' \"f\" #g {h} = i "
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays/acme.yaml").write_text(
        "- name: one\n  outcome: answers\n  annotations: {a: '{{ some_value }}', b: '<{{ other }}>'}\n"
        "  spec: {ports: [{port: 80, name: '{{ other }}'}]}\n"
    )
    given = {"kubereach_lb_value": [f"some-value={value}", "other=2"], "kubereach_lb_provider": "acme"}
    settings = validated(given.get).settings()
    assert settings.lb_values == (f"some-value={value}", "other=2")
    world = world_in(tmp_path, settings)
    (case,) = read(world)
    assert case.annotations == {"a": value, "b": "<2>"}
    assert case.spec["ports"] == [{"port": 80, "name": "2"}]
    assert not case.missing


def test_settings_that_are_lists_are_read_from_assignments():
    given = ["lb_values=a=1;2", "lb_values=b=3,4", "namespaces=one, two", "image_architectures=amd64,arm64"]
    settings = Settings().overridden(given)
    assert settings.lb_values == ("a=1;2", "b=3,4")
    assert settings.namespaces == ("one", "two")
    assert settings.image_architectures == ("amd64", "arm64")
    described = {name: value for name, value, _ in settings.described()}
    assert described["lb_values"] == "a,b"
    assert described["namespaces"] == "one,two"
    assert described["outside_via"] is None


def test_an_unknown_provider_is_wrong_usage():
    with pytest.raises(UsageError, match="unknown provider"):
        read(world_with(lb_provider="acme"))


def test_a_malformed_value_is_wrong_usage():
    with pytest.raises(UsageError, match="NAME=VALUE"):
        read(world_with(lb_provider="gcp", lb_values=("address",)))


def test_a_malformed_overlay_is_wrong_usage(tmp_path):
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays/acme.yaml").write_text("- name: one\n  outcome: miracle\n")
    with pytest.raises(UsageError, match="without name or outcome"):
        read(world_with(tmp_path, lb_provider="acme"))
