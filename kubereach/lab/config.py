"""What a lab is made of: sizes, ranges and names, in one place."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubereach.lab.faults import check_faults

#: the bridge that joins the nodes and the outside, as kind's Docker network does
UNDERLAY = ipaddress.IPv4Network("172.18.0.0/16")


@dataclass(frozen=True)
class LabConfig:
    """A lab's size and address plan.

    The plan is kind's (pods 10.244.0.0/16, Services 10.96.0.0/16, nodes 172.18.0.2 and up), so that what a user sees
    looks like what they know. Node *i* has the pod range 10.244.*i*.0/24.
    """

    #: number of nodes, 1 to 200; the first is the control plane and runs pods like the others
    nodes: int = 3
    #: the DNS domain of the cluster
    cluster_domain: str = "cluster.local"
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    #: first and last port of the node-port range, both included
    node_port_range: tuple[int, int] = (30000, 32767)
    #: the address of the Service kube-system/kube-dns
    dns_address: str = "10.96.0.10"
    #: load-balancer addresses are taken from here and announced to the outside; not of the underlay, so that what no
    #: node captures goes to the gateway as it would with a real one
    load_balancer_cidr: str = "172.19.255.0/24"
    #: where the outside is, and the nodes' default gateway
    outside_address: str = "172.18.0.1"
    #: port of the API server on the first node
    api_port: int = 6443
    #: what /version answers; its behaviour is what the lab imitates
    version: str = "v1.36.2"
    #: image (with or without its tag) -> the command of this machine that stands for its entry point; a container's
    #: args are appended to it, a container's own command replaces it
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: the defects that this lab has, by name
    faults: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 200:
            raise ValueError(f"a lab has 1 to 200 nodes, not {self.nodes}")
        check_faults(self.faults)

    @property
    def node_names(self) -> list[str]:
        """Names in the manner of kind: control-plane, worker, worker2, ..."""
        names = ["kubereach-control-plane", "kubereach-worker"]
        names += [f"kubereach-worker{i}" for i in range(2, self.nodes)]
        return names[: self.nodes]

    @property
    def node_addresses(self) -> list[str]:
        return [str(UNDERLAY[2 + i]) for i in range(self.nodes)]

    def pod_range(self, node: int) -> ipaddress.IPv4Network:
        """The pod range of node number `node` (from 0)."""
        return list(ipaddress.IPv4Network(self.pod_cidr).subnets(new_prefix=24))[node]

    @property
    def api_service_address(self) -> str:
        """The address of the Service default/kubernetes: the first of the range."""
        return str(ipaddress.IPv4Network(self.service_cidr)[1])

    @property
    def api_url(self) -> str:
        return f"https://{self.node_addresses[0]}:{self.api_port}"
