"""Whom backends see behind a node port, and which nodes answer when that is to be the client."""

from __future__ import annotations

from kubereach import CORE, HOST_NETWORK, INFO, MULTI_NODE, OUTSIDE, SOURCE_IP, VIRTUAL_IPS, check
from kubereach.expect import OWN, expect, must_stay_silent


@check(
    "nodeport.external-local",
    slow=True,
    level=CORE,
    needs=(MULTI_NODE, OUTSIDE),
    source=SOURCE_IP + "#source-ip-for-services-with-type-nodeport",
)
def test_external_local(world, spare, outside, cluster):
    """With externalTrafficPolicy Local only nodes with ready endpoints answer, and those see the client's address.

    Access lists and logs need the address. A node that answers without an endpoint of its own has sent the client to
    another node, and the address is lost there (calico #3585, cilium #11724).
    """
    spec = {"type": "NodePort", "externalTrafficPolicy": "Local"}
    with world.create("over-spares", name="kept-source", spec=spec) as service:
        service.take_in(min(spare.endpoints))
        (name,) = service.endpoints.by_node
        at_home = cluster.node(name)
        others = [node for node in cluster.nodes if node != at_home]
        expect(outside).to_reach(service.on(at_home), backends=service.endpoints, source=OWN)
        must_stay_silent(
            world,
            outside,
            service.on_each(others),
            than=service.name,
            reached=lambda younger: younger.on_each(others),
            **spec,
        )


@check(
    "nodeport.source-ip-cluster",
    level=CORE,
    needs=OUTSIDE,
    source=SOURCE_IP + "#source-ip-for-services-with-type-nodeport",
)
def test_source_ip_cluster(nodeport, lonely, outside, cluster):
    """With externalTrafficPolicy Cluster replies come back, whatever node was asked; the address seen is reported.

    The node that was asked puts its own address in place of the client's, so that replies return through it. Without
    that they take another way, and the client does not know who is talking.
    """
    expect(outside).to_report_source(nodeport.on_each(cluster.nodes))
    expect(outside).to_report_source(lonely.on_each(cluster.nodes))


@check("nodeport.localhost", level=INFO, needs=(MULTI_NODE, HOST_NETWORK), source=VIRTUAL_IPS)
def test_localhost(nodeport, nodes):
    """Whether a node port answers on 127.0.0.1 is the same on every node.

    kube-proxy's iptables mode serves it there, its nftables mode does not. Programs on nodes that rely on it stop
    working when the mode is changed; nodes that differ have different service proxies.
    """
    expect(nodes).to_reach(nodeport, backends=nodeport.endpoints)
    expect(nodes).to_agree(nodeport.addresses.on_localhost())
