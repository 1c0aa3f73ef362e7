"""What a lab is made of: sizes, ranges and names, in one place."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kubereach_lab import versions
from kubereach_lab.faults import HEALTHY, Faults

#: modes of kube-proxy that the lab can play
PROXY_MODES = ("nftables", "iptables", "ipvs")
#: IP families that a lab can have as its only or its first one
IP_FAMILIES = ("ipv4", "ipv6")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: the bridge that joins the nodes and the outside, as kind's Docker network does
UNDERLAY = ipaddress.IPv4Network("172.18.0.0/16")
UNDERLAY6 = ipaddress.IPv6Network("fc00:f853:ccd:e793::/64")
#: length of the prefix of a node's pod range, by IP version (the controller manager's --node-cidr-mask-size)
_NODE_PREFIX = {4: 24, 6: 64}


@dataclass(frozen=True)
class AddressPlan:
    """The ranges of one IP family, with what the family is called where."""

    underlay: Network
    #: where the outside is, and the nodes' default gateway
    outside: str
    pods: Network
    services: Network
    load_balancers: Network

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.underlay.version

    @property
    def family(self) -> str:
        """The family in the API (ipFamilies, addressType): IPv4 or IPv6."""
        return f"IPv{self.version}"

    @property
    def nft(self) -> str:
        """The family in nftables: ip or ip6."""
        return "ip" if self.version == 4 else "ip6"

    def own(self, addresses: Iterable[str]) -> list[str]:
        """Those of these addresses, or ranges, that are of this family."""
        return [address for address in addresses if (":" in address) == (self.version == 6)]

    def node_address(self, node: int) -> str:
        """The address of node number `node` (from 0) on the underlay."""
        return str(self.underlay[2 + node])

    def pod_range(self, node: int) -> Network:
        """The pod range of node number `node` (from 0)."""
        length = _NODE_PREFIX[self.version]
        first = self.pods[node << (self.pods.max_prefixlen - length)]
        return ipaddress.ip_network(f"{first}/{length}")


@dataclass(frozen=True)
class LabConfig:
    """A lab's size and address plan.

    The plan is kind's (pods 10.244.0.0/16, Services 10.96.0.0/16, nodes 172.18.0.2 and up), so that what a user sees
    looks like what they know. Node *i* has the pod range 10.244.*i*.0/24. With `dual_stack` everything has an
    address of the other IP family as well, of the ranges that kind has for ``ipFamily: dual``; `ip_family` is the
    primary one.
    """

    #: number of nodes, 1 to 200; the first is the control plane and runs pods like the others
    nodes: int = 3
    #: the DNS domain of the cluster
    cluster_domain: str = "cluster.local"
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    #: first and last port of the node-port range, both included
    node_port_range: tuple[int, int] = (30000, 32767)
    #: load-balancer addresses are taken from here and announced to the outside; not of the underlay, so that what no
    #: node captures goes to the gateway as it would with a real one
    load_balancer_cidr: str = "172.19.255.0/24"
    #: where the outside is, and the nodes' default gateway
    outside_address: str = "172.18.0.1"
    #: the cluster's IP family, with `dual_stack` the first of two: one of `IP_FAMILIES`
    ip_family: str = "ipv4"
    dual_stack: bool = False
    service_cidr6: str = "fd00:10:96::/112"
    pod_cidr6: str = "fd00:10:244::/56"
    load_balancer_cidr6: str = "fd00:172:19:255::/120"
    outside_address6: str = "fc00:f853:ccd:e793::1"
    #: port of the API server on the first node
    api_port: int = 6443
    #: what kube-proxy's mode is on every node: what clients see differs, see kubereach_lab/proxy/modes.py
    proxy_mode: str = "nftables"
    #: what /version answers; its behaviour is what the lab imitates, see kubereach_lab/versions.py
    version: str = versions.DEFAULT
    #: the zones that nodes are in, in turn: three nodes are in a, b and a; none: nodes have no zone
    zones: Sequence[str] = ("a", "b")
    #: image (with or without its tag) -> the command of this machine that stands for its entry point; a container's
    #: args are appended to it, a container's own command replaces it
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: the defects that this lab has
    faults: Faults = HEALTHY

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 200:
            raise ValueError(f"{self.nodes} nodes: a lab has 1 to 200")
        if self.proxy_mode not in PROXY_MODES:
            raise ValueError(
                f"unknown proxy mode {self.proxy_mode}: the lab simulates {', '.join(PROXY_MODES)}"
            )
        if self.ip_family not in IP_FAMILIES:
            raise ValueError(f"unknown IP family {self.ip_family}: choose one of {', '.join(IP_FAMILIES)}")
        versions.named(self.version)

    @property
    def minor(self) -> int:
        """The minor version of Kubernetes, to be compared with those of `kubereach_lab.versions`."""
        return versions.minor_of(self.version)

    @property
    def node_names(self) -> list[str]:
        """Names in the manner of kind: control-plane, worker, worker2, ..."""
        names = ["kubereach-control-plane", "kubereach-worker"]
        names += [f"kubereach-worker{i}" for i in range(2, self.nodes)]
        return names[: self.nodes]

    def zone(self, node: int) -> str:
        """The zone of node number `node` (from 0); "" if it has none."""
        return self.zones[node % len(self.zones)] if self.zones else ""

    @cached_property
    def plans(self) -> tuple[AddressPlan, ...]:
        """The address plan of each IP family that the cluster has, the primary one first."""
        network = ipaddress.ip_network
        ipv4 = AddressPlan(
            UNDERLAY,
            self.outside_address,
            network(self.pod_cidr),
            network(self.service_cidr),
            network(self.load_balancer_cidr),
        )
        ipv6 = AddressPlan(
            UNDERLAY6,
            self.outside_address6,
            network(self.pod_cidr6),
            network(self.service_cidr6),
            network(self.load_balancer_cidr6),
        )
        ordered = (ipv6, ipv4) if self.ip_family == "ipv6" else (ipv4, ipv6)
        return ordered if self.dual_stack else ordered[:1]

    @property
    def has_ipv6(self) -> bool:
        """Whether one of its IP families is IPv6."""
        return self.dual_stack or self.ip_family == "ipv6"

    @property
    def node_addresses(self) -> list[str]:
        """The nodes' addresses of the primary family."""
        return [self.plans[0].node_address(i) for i in range(self.nodes)]

    def pod_range(self, node: int) -> Network:
        """The pod range of the primary family of node number `node` (from 0)."""
        return self.plans[0].pod_range(node)

    @property
    def api_service_address(self) -> str:
        """The address of the Service default/kubernetes: the first of the range."""
        return str(self.plans[0].services[1])

    @property
    def dns_address(self) -> str:
        """The address of the Service kube-system/kube-dns: the tenth of the range, as kubeadm has it."""
        return str(self.plans[0].services[10])

    @property
    def api_url(self) -> str:
        return f"https://{self.api_host}"

    @property
    def api_host(self) -> str:
        """Address and port of the API server on the first node; an IPv6 address in brackets."""
        address = self.node_addresses[0]
        return f"[{address}]:{self.api_port}" if ":" in address else f"{address}:{self.api_port}"
