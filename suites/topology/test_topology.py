"""Services that prefer endpoints near the client."""

from __future__ import annotations

from kubereach import EXT, MULTI_NODE, SAME_NODE, SAME_ZONE, VIRTUAL_IPS, check
from kubereach.expect import expect, topology


@check(
    "topology.prefer-same-node",
    slow=True,
    level=EXT,
    needs=(MULTI_NODE, SAME_NODE),
    source=VIRTUAL_IPS + "#traffic-distribution",
)
def test_prefer_same_node(world, spare, other_pods, cluster):
    """With trafficDistribution PreferSameNode clients are answered on their own node; where there is none, elsewhere.

    Caches and agents on every node are reached through such a Service. Without the preference most requests take the
    network, and without the fallback a node whose own endpoint is being replaced has none at all. Look for hints
    (forNodes) in the EndpointSlices first: the controller writes them, the service proxy obeys (KEP-3015).
    """
    home, away, *_ = spare.endpoints.by_node.values()
    with world.create(
        "over-spares", name="at-home", spec={"trafficDistribution": "PreferSameNode"}
    ) as service:
        service.take_in(min(home), min(away))
        expect(other_pods).to_reach(service, backends=topology.by_node(service, cluster))

        service.take_out(min(home))
        expect(other_pods).to_reach(service, backends=service.endpoints)

        service.patch({"spec": {"trafficDistribution": None}})
        service.take_in(min(home))
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)


@check(
    "topology.prefer-same-zone",
    slow=True,
    level=EXT,
    needs=(MULTI_NODE, SAME_ZONE),
    source=VIRTUAL_IPS + "#traffic-distribution",
)
def test_prefer_same_zone(world, spare, other_pods, cluster):
    """With trafficDistribution PreferSameZone clients are answered in their own zone; where there is none, elsewhere.

    It was called PreferClose once. Traffic between zones costs money and time; without the fallback a zone that has
    lost its endpoints has none at all. Look for hints (forZones) in the EndpointSlices, and for the nodes' labels
    topology.kubernetes.io/zone (KEP-4444).
    """
    spec = {"trafficDistribution": cluster.capabilities.same_zone}
    with world.create("over-spares", name="close-by", spec=spec) as service:
        first, *others = topology.one_of_each_zone(spare, cluster).values()
        service.take_in(first, *others)
        expect(other_pods).to_reach(service, backends=topology.by_zone(service, cluster))

        service.take_out(*others)
        expect(other_pods).to_reach(service, backends={first})
