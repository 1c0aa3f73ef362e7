"""Cluster IPs that serve some endpoints only, and addresses that a Service has besides."""

from __future__ import annotations

from kubereach import CORE, DOCS, EXT, HOST_NETWORK, MULTI_NODE, check
from kubereach.expect import expect, must_stay_silent


@check(
    "clusterip.internal-traffic-local",
    slow=True,
    level=CORE,
    needs=MULTI_NODE,
    source=DOCS + "service-traffic-policy/",
)
def test_internal_traffic_local(world, spare, other_pods):
    """With internalTrafficPolicy Local only endpoints of the client's own node answer; where none are, nobody.

    Node agents are reached this way: the answer of another node's agent would be about another node. And it keeps
    traffic on the node that is charged for elsewhere (kubernetes #105470, #126934).
    """
    local = {"internalTrafficPolicy": "Local"}
    with world.create("over-backend", name="own-node", spec=local) as everywhere:
        expect(other_pods).to_reach(everywhere, backends=everywhere.endpoints.by_node)
    with world.create("over-spares", name="one-node", spec=local) as service:
        service.take_in(min(spare.endpoints))
        (node,) = service.endpoints.by_node
        expect(other_pods.on(node)).to_reach(service, backends=service.endpoints)
        others, both = other_pods.but_on(node), [service.vip(), service.vip("datagram")]
        must_stay_silent(world, others, both, than=service.name, reached=_both, **local)


def _both(service):
    return [service.vip("http"), service.vip("datagram")]


@check(
    "clusterip.external-ips",
    slow=True,
    level=EXT,
    needs=HOST_NETWORK,
    source=DOCS + "service/#external-ips",
)
def test_external_ips(world, other_pods, nodes):
    """The addresses of spec.externalIPs are served, from pods and from nodes.

    Whoever leads such an address to the nodes relies on them to take it up. Clusters may forbid the field, since it
    lets a Service take any address over.
    """
    with world.create("over-backend", name="external", spec={"externalIPs": [world.external_ip]}) as service:
        for port in ("http", "datagram"):
            expect(other_pods + nodes).to_reach(
                service.addresses.external_ip(port), backends=service.endpoints
            )
