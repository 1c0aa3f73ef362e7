"""A node port answers on every node, from everywhere."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, MULTI_NODE, OUTSIDE, check
from kubereach.expect import expect


@check("nodeport.every-node", level=CORE, needs=(MULTI_NODE, OUTSIDE), source=DOCS + "service/#type-nodeport")
def test_every_node(nodeport, lonely, outside, cluster):
    """A node port answers on every node's address from outside, also on nodes that run none of its pods.

    External load balancers choose any node. When only nodes with pods answer, the service proxy treats the Service as
    if its externalTrafficPolicy were Local, or the nodes cannot reach each other's pods.
    """
    expect(outside).to_reach(nodeport.on_each(cluster.nodes), backends=nodeport.endpoints)
    expect(outside).to_reach(lonely.on_each(cluster.nodes), backends=lonely.endpoints)


@check("nodeport.from-pods", level=CORE, source=DOCS + "service/#type-nodeport")
def test_from_pods(nodeport, pods, cluster):
    """Pods reach a node port on every node, their own included.

    A pod's packet to its own node and to another one take different paths; often only one of them is broken.
    """
    expect(pods).to_reach(nodeport.on_each(cluster.nodes), backends=nodeport.endpoints)


@check("nodeport.from-nodes", level=CORE, needs=HOST_NETWORK, source=DOCS + "service/#type-nodeport")
def test_from_nodes(nodeport, nodes, cluster):
    """Every node reaches a node port on every node, itself included.

    Health checks of load balancers on the nodes do just that.
    """
    expect(nodes).to_reach(nodeport.on_each(cluster.nodes), backends=nodeport.endpoints)


@check("nodeport.includes-clusterip", level=CORE, source=DOCS + "service/#type-nodeport")
def test_includes_clusterip(nodeport, pods):
    """A NodePort Service's cluster IP and DNS name work too.

    Its type adds a way in and takes none away.
    """
    expect(pods).to_reach(nodeport, backends=nodeport.endpoints)
    expect(pods).to_resolve(nodeport.fqdn, nodeport.cluster_ips)
    expect(pods).to_reach(nodeport.by_name(nodeport.fqdn), backends=nodeport.endpoints)
