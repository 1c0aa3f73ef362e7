"""Which features a cluster has: detected and never assumed."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.kube.reachability import reacting
from kubereach.model.check import (
    EXTERNAL_NAME,
    FEATURES,
    HOST_NETWORK,
    LB_CONTROLLER,
    LOADBALANCER,
    MULTI_NODE,
    OTHER_NAMESPACE,
    OUTSIDE,
    OUTSIDE_DUAL,
    SCTP,
)
from kubereach.model.features import ClusterFacts, FeatureState, NodeFacts
from kubereach.model.settings import Settings

# Some features can only be seen by using them: a load balancer by waiting for an address, the host network by creating
# a pod on it, SCTP by opening a socket in a pod. They count as present until a check that needs one of
# them says `Unsupported`; from then on they are absent, with that evidence, for the rest of the run.
_DETECTED_BY_USE = (LOADBALANCER, LB_CONTROLLER, HOST_NETWORK, SCTP)

# A firewall may leave only some ports open: the kubelet's, SSH, and some of the node port range.
_PORTS = (10250, 22)
#: the node port range of an API server that nobody has given another one (--service-node-port-range)
_USUAL_NODE_PORTS = (30000, 32767)


def detect(
    cluster: ClusterFacts, settings: Settings, elsewhere: str = "", inside: str = ""
) -> dict[str, FeatureState]:
    """A `FeatureState` for every feature there is. Takes at most ``settings.outside_timeout`` seconds.

    `elsewhere` says why the outside is not this machine, but a place that the target knows to be right;
    `inside` why this machine is no outside at all.
    """
    if inside and settings.outside_via:
        elsewhere, inside = "given by --outside-via", ""

    first, last = cluster.node_port_range or _USUAL_NODE_PORTS
    ports = (*_PORTS, first, (first + last) // 2, last)
    names = [node.name for node in cluster.nodes]
    found = {name: FeatureState(True, "unknown until a check uses it", False) for name in _DETECTED_BY_USE}
    found[MULTI_NODE] = FeatureState(
        len(names) > 1, f"{len(names)} node{'s' if len(names) != 1 else ''}: {', '.join(names)}"
    )
    given = settings.namespaces
    found[OTHER_NAMESPACE] = FeatureState(
        len(given) != 1,
        f"namespaces given by --namespace: {', '.join(given)}" if given else "the run creates its namespaces",
    )
    found[OUTSIDE] = (
        FeatureState(False, inside)
        if inside
        else _outside([node.address for node in cluster.nodes], ports, settings.outside_timeout, elsewhere)
    )
    found |= cluster.findings
    found[OUTSIDE_DUAL] = (
        FeatureState(False, inside)
        if inside
        else _outside_dual(cluster.nodes, ports, settings.outside_timeout, elsewhere)
    )
    name = settings.external_name
    found[EXTERNAL_NAME] = FeatureState(
        bool(name), f"--external-name {name}" if name else "--external-name is not given"
    )
    if settings.self_load_balancer:
        ours = (
            "kubereach assigns the load-balancer addresses, from "
            f"{', '.join(settings.self_load_balancer_range)}"
        )
        found[LOADBALANCER] = FeatureState(True, ours)
        found[LB_CONTROLLER] = FeatureState(False, f"{ours}: no controller routes them to the nodes")
    return {name: found[name] for name in FEATURES if name in found}


def _outside_dual(
    nodes: Sequence[NodeFacts], ports: Sequence[int], timeout: float, elsewhere: str
) -> FeatureState:
    lacking = [node.name for node in nodes if len({":" in address for address in node.addresses}) < 2]
    if lacking or not nodes:
        return FeatureState(
            False, f"nodes without addresses of both IP families: {', '.join(lacking) or 'all'}"
        )
    return _outside([address for node in nodes for address in node.addresses], ports, timeout, elsewhere)


def _outside(addresses: Sequence[str], ports: Sequence[int], timeout: float, elsewhere: str) -> FeatureState:
    """Whether every node's address reacts to a connection from this machine, within `timeout` seconds."""
    if elsewhere:
        return FeatureState(True, f"the outside vantage is on the nodes' network ({elsewhere})")
    if not addresses:
        return FeatureState(False, "no node has an address")
    reacted = reacting(addresses, ports, timeout)
    silent = [address for address in addresses if address not in reacted]
    if silent:
        return FeatureState(
            False, f"no reply from {', '.join(silent)} on any of the ports {', '.join(map(str, ports))}"
        )
    return FeatureState(True, f"every node replies: {', '.join(f'{a} {reacted[a]}' for a in addresses)}")
