"""Ports and protocols."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, OUTSIDE, check
from kubereach.expect import expect


@check("ports.named-target", level=CORE, source=DOCS + "service/#field-spec-ports")
def test_named_target(named, pods):
    """A named target port follows the pod, also when pods give the name different numbers.

    It lets a Deployment change its port without a moment in which the Service is wrong. Such Services have an
    EndpointSlice for each number; a pod that never answers means that only one of them is read.
    """
    expect(pods).to_reach(named, backends=named.endpoints, every=True)


@check("ports.multi", level=CORE, source=DOCS + "service/#multi-port-services")
def test_multi(multiport, pods):
    """Every port of a Service with several ports reaches its own target.

    A port that hits another's target, or none, means that rules are made for the first port only or mix them up.
    """
    ports = [multiport.vip(name) for name in ("http", "line", "datagram")]
    expect(pods).to_reach(ports, backends=multiport.endpoints)


@check("ports.udp", level=CORE, needs=(HOST_NETWORK, OUTSIDE), source=DOCS + "service/#protocol-support")
def test_udp(nodeport, pods, nodes, outside, cluster):
    """UDP works, request and reply, from pods and nodes, and from outside by the node port.

    Replies must come from the address that was asked, or clients drop them. DNS is the first to suffer.
    """
    expect(pods).to_reach(nodeport.vip("datagram"), backends=nodeport.endpoints)
    expect(nodes).to_reach(nodeport.vip("datagram"), backends=nodeport.endpoints)
    expect(outside).to_reach(nodeport.on_each(cluster.nodes, "datagram"), backends=nodeport.endpoints)
