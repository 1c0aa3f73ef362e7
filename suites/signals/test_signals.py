"""How paths perform."""

from __future__ import annotations

from kubereach import HOST_NETWORK, INFO, OUTSIDE, check
from kubereach.expect import expect


@check(
    "signals.paths",
    level=INFO,
    needs=(HOST_NETWORK, OUTSIDE),
    source="https://sre.google/sre-book/monitoring-distributed-systems/#xref_monitoring_golden-signals",
)
def test_paths(clusterip, nodeport, other_pods, nodes, outside, cluster):
    """Latency, traffic, errors and saturation of each path are reported; errors are few.

    From a pod and a node to a cluster IP, and from everywhere to a node port, 200 requests each. Numbers of two
    clusters compare only where the machines do; those of one cluster tell a slow path from a broken one.
    """
    port = nodeport.on(cluster.nodes[0])
    expect(other_pods[0]).to_signal([clusterip, port])
    expect(nodes[0]).to_signal([clusterip, port])
    expect(outside).to_signal(port)
