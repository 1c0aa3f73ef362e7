"""Facts about the cluster: what checks may rely on, found out before anything is applied."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, replace

from kubereach.kube import capabilities, cluster_dns, ranges
from kubereach.kube.capabilities import Capabilities
from kubereach.kube.client import Api, ApiError, Object
from kubereach.kube.cluster_dns import Dns, DnsReplica, Resolving
from kubereach.kube.nodes import ZONE, LeftOut, choose, in_words
from kubereach.model.address import Address
from kubereach.model.check import DUAL_STACK, SAME_NODE, SAME_ZONE
from kubereach.model.dns_names import search_list
from kubereach.model.errors import CannotMeasure, Unsupported
from kubereach.model.features import FeatureState
from kubereach.model.ip import first_of
from kubereach.model.settings import Settings
from kubereach.model.versions import of_server, untested

#: the remedy where the DNS Service is in a namespace that the run may not read
LIST_MORE = "Allow the run to list Services and EndpointSlices in all namespaces."


@dataclass(frozen=True)
class Node:
    """A node; `address` is its InternalIP of the cluster's first IP family, if it has one, else its first InternalIP.

    `short` is its name without what all nodes' names begin with.
    """

    name: str
    address: str
    addresses: tuple[str, ...] = ()
    short: str = ""
    ready: bool = True
    #: the ranges that its pods' addresses are of, where the cluster tells
    pod_ranges: tuple[str, ...] = ()
    #: the zone that its label names; empty if there is none
    zone: str = ""

    def __str__(self) -> str:
        return self.name

    def address_of(self, version: int) -> str:
        """Its first InternalIP of an IP version (4 or 6). Raises `CannotMeasure` when it has none."""
        found = first_of(self.addresses or (self.address,), version)
        if (":" in found) != (version == 6):
            raise CannotMeasure(f"the node {self} has no IPv{version} address")
        return found


@dataclass(frozen=True)
class Cluster:
    """What was found. `domain` has no final dot; `service_cidrs` is empty when the cluster does not tell."""

    version: str
    host: str
    nodes: tuple[Node, ...]
    domain: str
    dns: Dns | None
    service_cidrs: tuple[str, ...]
    #: address and port of the Service default/kubernetes
    kubernetes: tuple[str, int]
    #: the authority that pods verify the API server's certificate with, as PEM
    ca: str = field(default="", repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities)
    #: nodes that take no part in the run
    left_out: tuple[LeftOut, ...] = ()
    #: addresses and pod ranges of nodes that take no part
    further: tuple[str, ...] = ()
    #: who says what the domain is, see `Resolving`
    domain_source: str = ""
    #: first and last node port; None where the cluster does not tell
    node_port_range: tuple[int, int] | None = None
    #: what was unexpected about its DNS
    dns_notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, object]:
        """For reports: plain values, no secrets."""
        return {
            "version": self.version,
            **({"version note": note} if (note := untested(self.version)) else {}),
            "api server": self.host,
            "nodes": [node.name for node in self.nodes],
            "node addresses": [node.address for node in self.nodes],
            **({"nodes left out": in_words(self.left_out)} if self.left_out else {}),
            "domain": self.domain,
            "dns": str(self.dns) if self.dns else "not found",
            **({"dns notes": list(self.dns_notes)} if self.dns_notes else {}),
            "dns replicas": len(self.dns.replicas) if self.dns else 0,
            "node ports": "-".join(map(str, self.node_port_range)) if self.node_port_range else "unknown",
            "service range": ", ".join(self.service_cidrs) or "unknown",
        }

    @property
    def ip_version(self) -> int:
        """The IP version (4 or 6) of its first IP family: that of the Service default/kubernetes."""
        return 6 if ":" in self.kubernetes[0] else 4

    @property
    def findings(self) -> dict[str, FeatureState]:
        """The features that these facts decide."""
        zones = [node.zone for node in self.nodes]
        return {
            DUAL_STACK: self.capabilities.dual_stack_finding(),
            SAME_NODE: self.capabilities.same_node_finding(),
            SAME_ZONE: self.capabilities.same_zone_finding(zones),
        }

    @property
    def dns_replicas(self) -> tuple[DnsReplica, ...]:
        """The endpoints of the DNS Service.

        Raises `CannotMeasure` when there are none, `Unsupported` when we may not see them.
        """
        dns = self.known_dns
        if not dns.replicas and dns.problem:
            raise Unsupported(dns.problem, LIST_MORE)
        if not dns.replicas:
            raise CannotMeasure(
                f"the DNS Service {dns} has no endpoints", "Check the pods of the cluster's DNS server."
            )
        return dns.replicas

    @property
    def known_dns(self) -> Dns:
        """The DNS Service, or what pods have as their name server. Raises `CannotMeasure` when neither is known."""
        if self.dns is None:
            raise CannotMeasure(
                "cannot find the cluster's DNS Service",
                "Neither the name server in the pods' /etc/resolv.conf is the cluster IP of a Service, "
                "nor has a Service in kube-system the label k8s-app=kube-dns.",
            )
        return self.dns

    @property
    def nameservers(self) -> tuple[str, ...]:
        """What pods must have as name servers. Raises `Unsupported` when the Service behind theirs is not known."""
        dns = self.known_dns
        if not dns.name:
            raise Unsupported(dns.problem, LIST_MORE)
        return dns.nameservers or (dns.address,)

    def resolving(self, found: Resolving) -> Cluster:
        """The same cluster, with what is now known of its DNS."""
        return replace(self, domain=found.domain, dns=found.dns, dns_notes=found.notes)

    @property
    def dns_address(self) -> str:
        """The DNS Service's cluster IP; empty when it was not found."""
        return self.dns.address if self.dns else ""

    @property
    def api_addresses(self) -> list[Address]:
        """The Service default/kubernetes, once for each name that its certificate must be for.

        All of them by cluster IP, so that a broken DNS does not pass for a broken certificate.
        """
        ip, port = self.kubernetes
        called = (ip, "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{self.domain}")
        return [Address("api-server", "tls", ip, port, note=f"as {n}", server_name=n) for n in called]

    def in_service_range(self, address: str) -> bool | None:
        """Whether the address is of a service range; None where no range of its IP family is known."""
        ip = ipaddress.ip_address(address)
        ranges = [ipaddress.ip_network(cidr) for cidr in self.service_cidrs]
        own = [network for network in ranges if network.version == ip.version]
        return any(ip in network for network in own) if own else None

    def owns(self, address: str) -> bool:
        """Whether an address is a node's or of a pod range, as far as the cluster tells."""
        ip = ipaddress.ip_address(address)
        if any(ip in ipaddress.ip_network(one) for one in self.further):
            return True
        return any(
            address in node.addresses or any(ip in ipaddress.ip_network(r) for r in node.pod_ranges)
            for node in self.nodes
        )

    def search_list(self, namespace: str) -> tuple[str, ...]:
        """The search list that dnsPolicy ClusterFirst gives to pods of a namespace."""
        return search_list(namespace, self.domain)

    def pod_name(self, address: str, namespace: str) -> str:
        """The name that spells a pod's address, with the final dot."""
        return f"{address.replace('.', '-').replace(':', '-')}.{namespace}.pod.{self.domain}."

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


def inspect(api: Api, settings: Settings) -> Cluster:
    """Ask the API for the facts, all at the same time. Raises `CannotMeasure` with a remedy."""
    version = of_server(api.get("/version"))  # alone and first: can we get in at all?
    # where we may create Services: what is only tried there is never made
    tries = (*settings.namespaces, "default")[0]
    try:
        with api.threads(8) as pool:
            nodes = pool.submit(api.items, "/api/v1/nodes")
            resolving = pool.submit(cluster_dns.first_idea, api, settings)
            cidrs = pool.submit(ranges.services, api, tries)
            node_ports = pool.submit(ranges.node_ports, api, tries)
            offered = pool.submit(capabilities.ask, api, tries)
            kubernetes = pool.submit(api.get, "/api/v1/namespaces/default/services/kubernetes")
        spec = kubernetes.result()["spec"]
        usable, left_out = choose(nodes.result(), settings)
        found = tuple(_nodes(usable, 6 if ":" in str(spec["clusterIP"]) else 4))
        others = [item for item in nodes.result() if item not in usable]
        facts = Cluster(
            version,
            api.host,
            found,
            resolving.result().domain,
            resolving.result().dns,
            cidrs.result(),
            (str(spec["clusterIP"]), int(spec["ports"][0]["port"])),
            _authority(api),
            offered.result(),
            tuple(left_out),
            tuple(part for item in others for part in _addresses(item)),
            resolving.result().source,
            node_ports.result(),
        )
    except ApiError as error:
        raise CannotMeasure(
            f"not allowed to read cluster information: {error}",
            # what a very old server does not serve is no matter of rights
            (untested(version) if error.status == 404 else "")
            or "Ask an administrator to run: kubereach rbac [--user NAME] | kubectl apply -f -",
        ) from error
    if not found:
        why = "; ".join(in_words(left_out))
        raise CannotMeasure(
            f"no node of the cluster can run kubereach's pods: {why}" if why else "the cluster has no nodes",
            "See `kubectl get nodes`.",
        )
    return facts


def _addresses(item: Object) -> list[str]:
    addresses = (item.get("status") or {}).get("addresses") or ()
    return [a["address"] for a in addresses if a["type"] == "InternalIP"] + list(
        (item.get("spec") or {}).get("podCIDRs") or ()
    )


def _authority(api: Api) -> str:
    """What every pod is given as ca.crt, else the kubeconfig's."""
    found = api.find("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt") or {}
    return str(found.get("data", {}).get("ca.crt", "")) or api.ca


def _nodes(usable: list[Object], version: int) -> list[Node]:
    names = [item["metadata"]["name"] for item in usable]
    common = os.path.commonprefix(names)  # noqa: RUF071 - names, not paths
    cut = common.rfind("-") + 1 if len(names) > 1 else 0
    result = []
    for item in usable:
        name = item["metadata"]["name"]
        inside = [a["address"] for a in item["status"].get("addresses") or () if a["type"] == "InternalIP"]
        ranges = item["spec"].get("podCIDRs") or ()
        zone = (item["metadata"].get("labels") or {}).get(ZONE, "")
        result.append(
            Node(
                name,
                first_of(inside, version),
                tuple(inside),
                name[cut:],
                pod_ranges=tuple(ranges),
                zone=zone,
            )
        )
    return result
