"""The service proxies of the nodes."""

from __future__ import annotations

from kubereach import HOST_NETWORK, INFO, MULTI_NODE, VIRTUAL_IPS, check
from kubereach.expect import expect, proxies_by_node


@check("proxy.mode", level=INFO, needs=(MULTI_NODE, HOST_NETWORK), source=VIRTUAL_IPS + "#proxy-modes")
def test_mode(world, nodes):
    """The service proxy has the same mode on every node: iptables, ipvs, nftables, or a replacement.

    Modes differ in what they do beside the rules: node ports on localhost, undeclared ports, source addresses. A node
    with another one was left out of a change of configuration.
    """
    expect(nodes).to_have_one_proxy_mode(proxies_by_node(world.api))


@check(
    "proxy.healthy",
    level=INFO,
    needs=HOST_NETWORK,
    source="https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/3836-kube-proxy-improved-ingress-connectivity-reliability",
)
def test_healthy(nodes, cluster):
    """kube-proxy says that it is healthy on every node, where there is one.

    Load balancers ask the same address (port 10256, /healthz) and send nothing to nodes that say otherwise. An
    unhealthy one has not been able to write its rules for a while.
    """
    expect(nodes).to_have_healthy_proxies(cluster)
