"""What clients see differently from mode to mode of kube-proxy. The rules are nftables' in all of them.

Sources: KEP-3866, pkg/proxy/iptables/proxier.go and pkg/proxy/ipvs/proxier.go of Kubernetes; what was recorded of a
cluster in the modes nftables and iptables. The mode ipvs is played by its sources alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubereach_lab.config import AddressPlan

#: what IPVS remembers a closed connection for, and with it the client's affinity (kubernetes #89358)
_TIME_WAIT = 120


@dataclass(frozen=True)
class Mode:
    """Matches and rules of one family that are a mode's own."""

    #: what a packet to a node port must match besides the port
    at_node: str
    #: rules for what goes to the service range, but to no port that a Service declares
    undeclared: str
    #: what a node's own packet must match to be refused where a Service has no endpoints
    reject_on_node: str
    #: rules for what comes in to the node itself
    incoming: str = ""
    #: cluster IPs, load-balancer addresses and external IPs are addresses of every node (of kube-ipvs0)
    binds: bool = False
    #: what chooses an endpoint: a number in turn, or at random
    choice: str = "random"
    #: where no endpoint is near enough for a Local policy: a refusal, or silence
    none_local: str = "drop"
    #: with which address a node's own packets set out to what it has bound, if not with theirs
    own: str = ""
    #: seconds for which affinity outlives its time: as long as a closed connection is remembered
    lingers: int = 0


def mode_of(name: str, plan: AddressPlan, node_address: str = "") -> Mode:
    """The mode of this name in a family, on the node with this address."""
    if name == "iptables":
        # Node ports are served at whatever address is the node's, 127.0.0.1 too (localhostNodePorts) but never ::1.
        # Nothing is said of undeclared ports: packets go where the node's routes send them. And the rules that refuse
        # at load-balancer addresses and external IPs are for what comes in, not for what the node itself sends.
        not_loopback = "ip6 daddr != ::1 " if plan.version == 6 else ""
        return Mode(f"{not_loopback}fib daddr type local", "", f"{plan.nft} daddr {plan.services}")
    if name == "ipvs":
        # A virtual server without real ones refuses by itself, whatever the reason. What is for no server's port would
        # get to the node's own programs, so that KUBE-IPVS-FILTER refuses it (kubernetes #72236).
        ranges = f"{{ {plan.services}, {plan.load_balancers} }}"
        refused = f"ct state new {plan.nft} daddr {ranges} reject"
        return Mode(
            f"{plan.nft} daddr @nodeport-ips",
            undeclared="",
            reject_on_node="",
            incoming=refused,
            binds=True,
            choice="inc",
            none_local="goto reject-chain",
            own=node_address,
            lingers=_TIME_WAIT,
        )
    return Mode(
        f"{plan.nft} daddr @nodeport-ips",
        f"""
            {plan.nft} daddr @cluster-ips reject comment "a port that the Service does not declare"
            {plan.nft} daddr {plan.services} drop comment "an address that no Service has"
        """,
        "",
    )
