"""The cluster's DNS: its domain, its Service and the pods behind it.

The pods' own /etc/resolv.conf says which they are; before there are pods, labels and ConfigMaps give a first idea.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

import yaml

from kubereach.kube.client import Api, ApiError, Object
from kubereach.kube.endpointslices import is_called_ready, slices_of
from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.settings import Settings

#: DNS Services in namespaces of their own, for who may not list Services everywhere
_ELSEWHERE = (("openshift-dns", "dns-default"),)


@dataclass(frozen=True)
class DnsReplica:
    """One endpoint of the cluster's DNS Service; `port` is the pod's own, `node` the name of its node."""

    pod: str
    address: str
    port: int
    node: str = ""


@dataclass(frozen=True)
class Dns:
    """The cluster's DNS Service. `address` is the cluster IP that pods have as their name server.

    Without a `name` no such Service is known, only what pods have; `problem` says why it, or its endpoints, are not.
    """

    namespace: str
    name: str
    address: str
    replicas: tuple[DnsReplica, ...]
    problem: str = ""
    #: its cluster IPs that pods have as their name servers, in their order
    nameservers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.address}" if self.name else self.address


@dataclass(frozen=True)
class Resolving:
    """What is known of the cluster's DNS. `domain` has no final dot; `notes` are for the report."""

    domain: str
    dns: Dns | None
    #: who says what the domain is; empty: nobody, it is the usual one
    source: str = ""
    notes: tuple[str, ...] = ()


def first_idea(api: Api, settings: Settings) -> Resolving:
    """Before there is a pod to be asked: what labels and ConfigMaps of many distributions say. Raises `ApiError`."""
    domain, source = _domain(api, settings)
    return Resolving(domain, _labelled(api), source)


def as_pods_have_it(
    api: Api, settings: Settings, idea: Resolving, files: Sequence[tuple[str, str]]
) -> Resolving:
    """What the /etc/resolv.conf of pods say: `files` are (namespace, text) of pods with dnsPolicy ClusterFirst.

    Where pods differ, most of them are right; the others are for checks to find. Raises `ApiError` if the API does not
    answer at all; what we may not read is a problem of `Dns`.
    """
    confs = [(namespace, ResolvConf.parse(text)) for namespace, text in files]
    domain, notes = idea.domain, []
    found = _most(_domain_of(namespace, conf) for namespace, conf in confs)
    if found and found != domain:
        if idea.source:
            notes.append(f"the search domain of pods is {found}, but {idea.source} says {domain}")
        # who sets it knows better
        domain = domain if settings.cluster_domain else found
    # a link-local name server is a cache on the node (NodeLocal DNSCache): no Service has its address
    servers = [tuple(s for s in conf.nameservers if not is_link_local(s)) for _, conf in confs]
    name_servers = _most(" ".join(some) for some in servers).split()
    dns = _serving(api, name_servers, idea.dns) if name_servers else idea.dns or _known_elsewhere(api)
    if dns and idea.dns and (dns.namespace, dns.name) != (idea.dns.namespace, idea.dns.name):
        notes.append(f"pods use the DNS Service {dns}, not {idea.dns}, which has the label k8s-app=kube-dns")
    if dns and dns.problem:
        notes.append(dns.problem)
    return Resolving(domain, dns, idea.source, tuple(notes))


def _most(words: Iterable[str]) -> str:
    """The word that is there most often, the empty one aside; the first in the alphabet of several."""
    counts = Counter(word for word in words if word)
    return min(counts, key=lambda word: (-counts[word], word), default="")


def _domain_of(namespace: str, conf: ResolvConf) -> str:
    """The cluster's domain by a pod's search list, which has NAMESPACE.svc.DOMAIN; empty if it does not."""
    prefix = f"{namespace}.svc."
    return next((name.removeprefix(prefix).lower() for name in conf.search if name.startswith(prefix)), "")


def is_link_local(address: str) -> bool:
    try:
        return ip_address(address).is_link_local
    except ValueError:
        return False


def _serving(api: Api, name_servers: Sequence[str], labelled: Dns | None) -> Dns | None:
    """The Service that has the first of the name servers that pods ask among its cluster IPs.

    One that nobody has is a mistake of the kubelet's: then the Service with the label is what pods should ask.
    """
    server = name_servers[0]
    if labelled and list(name_servers) == [labelled.address]:
        return labelled
    try:
        # the selector spares large clusters most of it; what does not know it gives all
        services: Sequence[Object] = api.items("/api/v1/services", fieldSelector=f"spec.clusterIP={server}")
        if not any(server in _addresses(one) for one in services):
            services = api.items("/api/v1/services")  # the second address of a Service of both families
    except ApiError as error:
        if error.status != 403:
            raise
        services = [*api.items("/api/v1/namespaces/kube-system/services"), *_by_name(api)]
        may_list = False
    else:
        may_list = True
    for service in services:
        if server in _addresses(service):
            own = tuple(one for one in name_servers if one in _addresses(service))
            return replace(_with_endpoints(api, service, server), nameservers=own)
    if may_list:
        return labelled
    why = (
        f"no Service in kube-system has the cluster IP {server}, which is the name server of "
        "pods, and the run is not allowed to list Services in other namespaces"
    )
    return Dns("", "", server, (), why, (server,))


def _by_name(api: Api) -> list[Object]:
    """The DNS Services with well-known names outside of kube-system that are there, and ours to see."""
    found = [api.find(f"/api/v1/namespaces/{namespace}/services/{name}") for namespace, name in _ELSEWHERE]
    return [service for service in found if service is not None]


def _known_elsewhere(api: Api) -> Dns | None:
    """A DNS Service by its name, where pods ask a cache on their node and none has the label."""
    for service in _by_name(api):
        return _with_endpoints(api, service, str(service["spec"]["clusterIP"]))
    return None


def _addresses(service: Object) -> tuple[str, ...]:
    spec = service["spec"]
    return tuple(spec.get("clusterIPs") or [spec.get("clusterIP", "")])


def _labelled(api: Api) -> Dns | None:
    """The Service in kube-system with the label k8s-app=kube-dns, which kubeadm and many others give it."""
    services = api.items("/api/v1/namespaces/kube-system/services", labelSelector="k8s-app=kube-dns")
    if not services:
        return None
    service = min(services, key=lambda s: (s["metadata"]["name"] != "kube-dns", s["metadata"]["name"]))
    return _with_endpoints(api, service, str(service["spec"]["clusterIP"]))


def _with_endpoints(api: Api, service: Object, address: str) -> Dns:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    try:
        slices = slices_of(api, namespace, name)
    except ApiError as error:
        if error.status != 403:
            raise
        why = f"the run is not allowed to list the EndpointSlices of the DNS Service {namespace}/{name}"
        return Dns(namespace, name, address, (), why, (address,))
    family = "IPv6" if ":" in address else "IPv4"
    found = [r for part in slices if part.get("addressType", family) == family for r in _replicas(part)]
    found.sort(key=lambda replica: (replica.pod, replica.address))
    return Dns(namespace, name, address, tuple(found), nameservers=(address,))


def _replicas(part: Mapping[str, object]) -> list[DnsReplica]:
    ports = [p["port"] for p in part.get("ports") or [] if p.get("protocol") == "UDP"]  # type: ignore[attr-defined]
    found = []
    for endpoint in part.get("endpoints") or []:  # type: ignore[attr-defined]
        if ports and is_called_ready(endpoint):
            pod = (endpoint.get("targetRef") or {}).get("name", "")
            node = endpoint.get("nodeName") or ""
            found += [DnsReplica(pod, address, ports[0], node) for address in endpoint["addresses"]]
    return found


def _domain(api: Api, settings: Settings) -> tuple[str, str]:
    """The domain, and who says so: the setting, else CoreDNS' kubernetes plugin, else kubeadm, else nobody."""
    if settings.cluster_domain:
        return settings.cluster_domain.strip("."), "the setting cluster_domain"
    corefile = api.find("/api/v1/namespaces/kube-system/configmaps/coredns")
    text = str(((corefile or {}).get("data") or {}).get("Corefile", ""))
    match = re.search(r"^\s*kubernetes\s+(\S+)", text, re.MULTILINE)
    if match and match[1] != "{":
        return match[1].strip("."), "the ConfigMap kube-system/coredns"
    kubeadm = api.find("/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
    data = yaml.safe_load(((kubeadm or {}).get("data") or {}).get("ClusterConfiguration", "")) or {}
    noted = str((data.get("networking") or {}).get("dnsDomain") or "")
    return noted or "cluster.local", "the ConfigMap kube-system/kubeadm-config" if noted else ""
