"""A cluster IP reaches the endpoints, from everywhere in the cluster."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, check
from kubereach.expect import OWN, expect


@check("clusterip.from-pod", level=CORE, source=DOCS + "service/#type-clusterip")
def test_from_pod(clusterip, pods):
    """From a pod on every node, the cluster IP and port reach the target port of endpoints on every node.

    This is what a Service is for. A failure from one node only points to that node's service proxy; one that concerns
    the endpoints of one node points to the route between the two.
    """
    expect(pods).to_reach(clusterip, backends=clusterip.endpoints, every=True)


@check("clusterip.cross-namespace", level=CORE, source=DOCS + "service/#type-clusterip")
def test_cross_namespace(clusterip, other_pods):
    """A cluster IP answers to pods of another namespace as well.

    Namespaces divide names, not networks. A failure here alone usually means a network policy that applies to all.
    """
    expect(other_pods).to_reach(clusterip, backends=clusterip.endpoints)


@check("clusterip.from-node", level=CORE, needs=HOST_NETWORK, source=DOCS + "service/#type-clusterip")
def test_from_node(clusterip, nodes):
    """A cluster IP answers to processes on every node's own network.

    The kubelet, admission webhooks' callers and host-network pods depend on it. Their packets take another path through
    the node's rules than those of pods, so that one may work without the other.
    """
    expect(nodes).to_reach(clusterip, backends=clusterip.endpoints)


@check("clusterip.all-endpoints", level=CORE, source=DOCS + "service/#endpointslices")
def test_all_endpoints(multiport, pods):
    """On each port every ready endpoint is served, and nothing else ever answers; EndpointSlices list just those.

    An endpoint without traffic is capacity that nobody has; an answer of anything else is somebody else's data. A
    missing one points to the EndpointSlices, or to a service proxy that is behind. Each port of a Service is programmed
    for itself, and each protocol by rules of its own.
    """
    ports = [multiport.vip(name) for name in ("http", "line", "datagram")]
    expect(pods).to_reach(ports, backends=multiport.endpoints, every=True)
    multiport.slices.must_list_ready_pods()


@check(
    "clusterip.hairpin",
    level=CORE,
    source="https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/#a-pod-fails-to-reach-itself-via-the-service-ip",
)
def test_hairpin(clusterip):
    """A pod reaches itself through its own Service.

    Its packet must come back to where it was sent from, which needs hairpin mode or masquerading. Without it, one
    request in as many as there are endpoints is lost, from these pods alone.
    """
    expect(clusterip.own_pods()).to_reach(clusterip, backends=clusterip.endpoints, every=True)


@check(
    "clusterip.source-ip",
    level=CORE,
    source="https://kubernetes.io/docs/tutorials/services/source-ip/#source-ip-for-services-with-type-clusterip",
)
def test_source_ip(clusterip, pods):
    """A backend sees the client pod's own address.

    Logs, rate limits and network policies tell clients by it. A node's address in its place means that the service
    proxy masquerades everything, or that it does not know the pods' addresses (its clusterCIDR is wrong).
    """
    expect(pods).to_reach(clusterip, backends=clusterip.endpoints, source=OWN)
