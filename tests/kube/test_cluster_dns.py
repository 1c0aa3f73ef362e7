"""The cluster's domain and DNS Service, as pods have them: clusters of several distributions, as they answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kubereach.kube.client import ApiError
from kubereach.kube.cluster import Cluster
from kubereach.kube.cluster_dns import Resolving, as_pods_have_it, first_idea
from kubereach.model.errors import CannotMeasure, Unsupported
from kubereach.model.settings import Settings

EVERYWHERE = "/api/v1/services"
LABELLED = {"k8s-app": "kube-dns"}


def service(namespace, name, *addresses, labels=None):
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {}},
        "spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses)},
    }


@dataclass
class FakeApi:
    """Answers as an API server does, for a run that may list in `allowed` namespaces ("" for all of them)."""

    services: list = field(default_factory=list)
    configmaps: dict = field(default_factory=dict)
    allowed: tuple = ("", "kube-system")
    slices_allowed: bool = True
    asked: list = field(default_factory=list)

    def items(self, path, labelSelector="", fieldSelector=""):
        self.asked.append(path)
        namespace = path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in path else ""
        if "endpointslices" in path:
            if not self.slices_allowed:
                raise ApiError(403, "Forbidden", "endpointslices is forbidden", path)
            return [self._slice(path, labelSelector)]
        if namespace not in self.allowed and "" not in self.allowed:
            raise ApiError(403, "Forbidden", "services is forbidden", path)
        found = [s for s in self.services if namespace in ("", s["metadata"]["namespace"])]
        if labelSelector:
            found = [s for s in found if s["metadata"]["labels"] == LABELLED]
        if fieldSelector:
            found = [s for s in found if s["spec"]["clusterIP"] == fieldSelector.partition("=")[2]]
        return found

    def _slice(self, path, selector):
        name = selector.partition("=")[2]
        of = next(s for s in self.services if s["metadata"]["name"] == name)
        ipv6 = ":" in of["spec"]["clusterIP"]
        target = {"name": f"{name}-1", "kind": "Pod"}
        return {
            "addressType": "IPv6" if ipv6 else "IPv4",
            "ports": [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["fd00::5" if ipv6 else "10.0.0.5"], "targetRef": target, "nodeName": "one"}
            ],
        }

    def find(self, path):
        self.asked.append(path)
        *_, kind, name = path.split("/")
        if kind == "configmaps":
            return self.configmaps.get(name)
        namespace = path.split("/")[4]
        if namespace not in self.allowed and "" not in self.allowed:
            return None
        of = [
            s
            for s in self.services
            if (s["metadata"]["namespace"], s["metadata"]["name"]) == (namespace, name)
        ]
        return of[0] if of else None


def conf(server, domain="cluster.local", namespace="kubereach-a", more=""):
    return namespace, (
        f"search {namespace}.svc.{domain} svc.{domain} {domain}{more}\nnameserver {server}\noptions ndots:5\n"
    )


def learned(api, *files, settings=None):
    settings = settings or Settings()
    return as_pods_have_it(api, settings, first_idea(api, settings), files)


def cluster(found):
    made = Cluster("v1.36.2", "", (), "cluster.local", None, (), ("10.96.0.1", 443))
    return made.resolving(found)


def test_kubeadm():
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)])
    found = learned(api, *[conf("10.96.0.10")] * 3)
    assert (found.domain, str(found.dns), found.notes) == (
        "cluster.local",
        "kube-system/kube-dns 10.96.0.10",
        (),
    )
    assert [(r.pod, r.node, r.port) for r in found.dns.replicas] == [("kube-dns-1", "one", 5353)]
    assert EVERYWHERE not in api.asked, (
        "the labelled Service is the one that pods ask: there is nothing to look for"
    )


def test_openshift():
    """Neither the label nor the namespace, and no ConfigMap of kubeadm's; further search domains of the node's."""
    api = FakeApi([service("openshift-dns", "dns-default", "172.30.0.10")])
    found = learned(api, *[conf("172.30.0.10", more=" eu-west-1.compute.internal")] * 3)
    assert (found.domain, str(found.dns)) == ("cluster.local", "openshift-dns/dns-default 172.30.0.10")
    assert len(cluster(found).dns_replicas) == 1


def test_openshift_where_the_run_may_read_that_namespace_alone():
    services = [service("openshift-dns", "dns-default", "172.30.0.10")]
    api = FakeApi(services, allowed=("kube-system", "openshift-dns"))
    assert str(learned(api, conf("172.30.0.10")).dns) == "openshift-dns/dns-default 172.30.0.10"


def test_a_dns_service_that_the_run_may_not_see_is_unsupported_with_the_reason():
    api = FakeApi([service("dns-of-ours", "resolver", "10.43.0.53")], allowed=("kube-system",))
    found = cluster(learned(api, conf("10.43.0.53")))
    assert found.known_dns.address == "10.43.0.53", "it can be asked all the same"
    words = "no Service in kube-system has the cluster IP 10.43.0.53, which is the name server of pods"
    for of in ("dns_replicas", "nameservers"):
        with pytest.raises(Unsupported, match=words):
            getattr(found, of)
    assert found.describe()["dns notes"] == list(found.dns_notes)


def test_a_dns_service_whose_endpoints_the_run_may_not_see():
    api = FakeApi([service("openshift-dns", "dns-default", "172.30.0.10")], slices_allowed=False)
    found = cluster(learned(api, conf("172.30.0.10")))
    assert found.nameservers == ("172.30.0.10",)
    with pytest.raises(
        Unsupported,
        match="not allowed to list the EndpointSlices of the DNS Service openshift-dns/dns-default",
    ):
        _ = found.dns_replicas


def test_rke2_with_a_domain_of_its_own():
    """Its ConfigMaps have other names than kubeadm's: what pods search is all that tells the domain."""
    name = "rke2-coredns-rke2-coredns"
    api = FakeApi([service("kube-system", name, "10.43.0.10", labels=LABELLED)])
    found = learned(api, *[conf("10.43.0.10", "k8s.example")] * 2)
    assert (found.domain, found.dns.name, found.notes) == ("k8s.example", name, ())


def test_pods_are_right_where_configmaps_say_something_else():
    data = {"data": {"Corefile": ".:53 {\n  kubernetes old.example in-addr.arpa {\n  }\n}\n"}}
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)], {"coredns": data})
    found = learned(api, conf("10.96.0.10", "new.example"))
    assert found.domain == "new.example"
    assert found.notes == (
        "the search domain of pods is new.example, but the ConfigMap kube-system/coredns says old.example",
    )


def test_the_setting_is_kept_and_the_contradiction_noted():
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)])
    found = learned(api, conf("10.96.0.10"), settings=Settings(cluster_domain="k8s.example."))
    assert found.domain == "k8s.example"
    assert found.notes == (
        "the search domain of pods is cluster.local, but the setting cluster_domain says k8s.example",
    )


def test_pods_ask_another_service_than_the_one_with_the_label():
    services = [
        service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED),
        service("dns", "unbound", "10.96.0.53"),
    ]
    found = learned(FakeApi(services), conf("10.96.0.53"))
    assert str(found.dns) == "dns/unbound 10.96.0.53"
    (note,) = found.notes
    assert note.startswith(
        "pods use the DNS Service dns/unbound 10.96.0.53, not kube-system/kube-dns 10.96.0.10"
    )


def test_a_name_server_that_nobody_has_is_the_kubelets_mistake():
    """Then the checks say what pods should ask, and dns.resolv-conf fails."""
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)])
    assert cluster(learned(api, conf("10.96.0.99"))).nameservers == ("10.96.0.10",)


def test_a_cache_on_the_node_stands_for_the_cluster_s_dns():
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)])
    assert str(learned(api, conf("169.254.20.10")).dns) == "kube-system/kube-dns 10.96.0.10"
    without_label = FakeApi([service("openshift-dns", "dns-default", "172.30.0.10")])
    assert str(learned(without_label, conf("169.254.20.10")).dns) == "openshift-dns/dns-default 172.30.0.10"


def test_one_pod_of_three_that_is_set_up_otherwise_is_for_checks_to_find():
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", labels=LABELLED)])
    odd = ("kubereach-a", "nameserver 10.96.0.66\n")
    found = cluster(learned(api, conf("10.96.0.10"), odd, conf("10.96.0.10")))
    assert (found.domain, found.nameservers) == ("cluster.local", ("10.96.0.10",))


def test_two_name_servers_of_a_service_of_two_families():
    api = FakeApi([service("kube-system", "kube-dns", "10.96.0.10", "fd00::a", labels=LABELLED)])
    text = "search kubereach-a.svc.cluster.local\nnameserver fd00::a\nnameserver 10.96.0.10\n"
    found = cluster(learned(api, ("kubereach-a", text)))
    assert (found.dns_address, found.nameservers) == ("fd00::a", ("fd00::a", "10.96.0.10"))


def test_no_dns_service_at_all():
    found = cluster(learned(FakeApi(), conf("10.96.0.10")))
    with pytest.raises(CannotMeasure, match="cannot find the cluster's DNS Service"):
        _ = found.known_dns


def test_what_no_pod_could_tell_stays_as_it_was():
    idea = Resolving("k8s.example", None, "somebody")
    assert as_pods_have_it(FakeApi(), Settings(), idea, []) == idea
