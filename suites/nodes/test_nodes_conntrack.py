"""What nodes have left."""

from __future__ import annotations

from kubereach import HOST_NETWORK, INFO, check
from kubereach.expect import expect


@check(
    "nodes.conntrack",
    level=INFO,
    needs=HOST_NETWORK,
    source="https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/#kubeproxy-config-k8s-io-v1alpha1-KubeProxyConntrackConfiguration",
)
def test_conntrack(nodes):
    """Every node has room in its table of tracked connections.

    When it is full new connections are dropped without a word, whoever makes them. The limit is kube-proxy's to set;
    many short connections, UDP above all, fill it.
    """
    expect(nodes).to_have_room_for_connections()
