"""The network between nodes and pods, without any Service in between."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, MULTI_NODE, check
from kubereach.expect import OWN, expect


@check(
    "nodes.mesh", level=CORE, needs=(MULTI_NODE, HOST_NETWORK), source=DOCS + "#the-kubernetes-network-model"
)
def test_mesh(clusterip, nodeport, pods, nodes, cluster):
    """Every node, and a pod on it, reaches the pods and node ports of every other node.

    One pair of nodes without a route between them makes one request in some fail, for some clients: a missing peer of
    the CNI, a firewall rule, a wrong route in the cloud. On large clusters each node tries a sample of the others.
    """
    expect(pods + nodes).to_reach_other_nodes(clusterip.addresses.each_pod_by_node())
    expect(nodes).to_reach_other_nodes({node.name: [nodeport.on(node)] for node in cluster.nodes})


@check("nodes.no-snat", level=CORE, source=DOCS + "#the-kubernetes-network-model")
def test_no_snat(clusterip, pods):
    """Pods reach each other without translation: the address that a pod sees is the other pod's own.

    Network policies, logs and peer-to-peer protocols rely on it. A node's address instead means that the CNI
    masquerades what stays in the cluster: look at the range that it takes for the pods' own.
    """
    expect(pods).to_reach(clusterip.addresses.each_pod(), source=OWN)


@check("nodes.from-pods", level=CORE, needs=HOST_NETWORK, source=DOCS + "#the-kubernetes-network-model")
def test_from_pods(world, pods, cluster):
    """Pods reach what listens on the host network of every node, their own included.

    Agents of logging, metrics and DNS caches run there, and their clients are the pods of that very node. A packet to
    the own node's address takes another way than one to another node's: firewalls and CNIs often break only one of the
    two. A node port says nothing of it, for it leads on to a pod.
    """
    expect(pods).to_reach(world.ports.listeners(cluster.nodes))
