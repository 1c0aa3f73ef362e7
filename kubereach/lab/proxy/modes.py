"""What clients see differently from mode to mode of kube-proxy. The rules are nftables' in all of them.

Sources: KEP-3866, pkg/proxy/iptables/proxier.go of Kubernetes, and what was recorded of a cluster in each mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubereach.lab.config import AddressPlan


@dataclass(frozen=True)
class Mode:
    """Matches and rules of one family that are a mode's own."""

    #: what a packet to a node port must match besides the port
    at_node: str
    #: rules for what goes to the service range, but to no port that a Service declares
    undeclared: str
    #: what a node's own packet must match for the lack of endpoints to be told
    told_on_node: str


def mode_of(name: str, plan: AddressPlan) -> Mode:
    """The mode of this name in a family."""
    if name == "iptables":
        # Node ports are served at whatever address is the node's, 127.0.0.1 too (localhostNodePorts) but never ::1.
        # Nothing is said of undeclared ports: packets go where the node's routes send them. And the rules that refuse
        # at load-balancer addresses and external IPs are for what comes in, not for what the node itself sends.
        not_loopback = "ip6 daddr != ::1 " if plan.version == 6 else ""
        return Mode(f"{not_loopback}fib daddr type local", "", f"{plan.nft} daddr {plan.services}")
    return Mode(
        f"{plan.nft} daddr @nodeport-ips",
        f"""
            {plan.nft} daddr @cluster-ips reject comment "a port that the Service does not declare"
            {plan.nft} daddr {plan.services} drop comment "an address that no Service has"
        """,
        "",
    )
