"""What a cluster IP must not do."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, INFO, OUTSIDE, check
from kubereach.expect import expect


@check(
    "clusterip.no-endpoints-refused",
    level=CORE,
    needs=HOST_NETWORK,
    changes="pods",  # their rations of ICMP errors, which others must not use up meanwhile
    source="https://kubernetes.io/docs/reference/networking/virtual-ips/",
)
def test_no_endpoints_refused(noendpoints, clusterip, pods, nodes):
    """A Service without ready endpoints refuses at once, from pods and from nodes, TCP and UDP.

    A client that is refused can try elsewhere; one that hears nothing hangs until its timeout. Packets that are
    dropped here mean a service proxy without reject rules (kubernetes #17359, #60124), or one that is told to drop
    (Cilium's serviceNoBackendResponse). Who translates in connect() refuses by its error: docs/proxies.md.
    """
    both = [noendpoints.vip("http"), noendpoints.vip("datagram")]
    expect(pods + nodes).to_be_refused(both, control=clusterip)


@check("clusterip.undeclared-port", level=CORE, source=DOCS + "service/#field-spec-ports")
def test_undeclared_port(clusterip, other_pods):
    """A port that the Service does not declare never answers.

    kube-proxy's nftables mode refuses, its iptables mode lets the packet go where it will: either conforms. Tried are
    the next number, those that its pods listen on, and those of nodes' own programs: with IPVS every node has the
    Service's address, and programs answer there unless kube-proxy's filter keeps them from it (kubernetes #72236).
    """
    expect(other_pods).not_to_be_answered(clusterip.addresses.undeclared(), control=clusterip)


@check("clusterip.not-on-node-port", level=CORE, source=DOCS + "service/#type-nodeport")
def test_not_on_node_port(nodeport, other_pods):
    """The number of the node port is not open on the cluster IP.

    The cluster IP serves the Service's port, nodes serve the node port. Where both numbers work on both, the rules
    match on the number alone, and will catch other Services' traffic too.
    """
    expect(other_pods).not_to_be_answered(nodeport.vip().at_port(nodeport.node_port()), control=nodeport)


@check("clusterip.internal-only", level=INFO, needs=OUTSIDE, source=DOCS + "service/#type-clusterip")
def test_internal_only(nodeport, outside, cluster):
    """A cluster IP does not answer outside the cluster.

    Nothing in a node forbids it: whoever routes the service range to a node gets through. It is worth knowing. A
    machine that has no route at all for the address tells nothing.
    """
    expect(outside).to_have_a_route(nodeport)
    expect(outside).not_to_be_answered(nodeport, control=nodeport.on(cluster.nodes[0]))
