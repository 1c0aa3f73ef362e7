"""Much at once through a cluster IP, in large pieces, and fairly."""

from __future__ import annotations

from kubereach import CORE, DOCS, INFO, check
from kubereach.expect import expect


@check(
    "clusterip.burst",
    level=CORE,
    changes="pods",  # whatever limits a client's connections, others of the same client must not meet that limit
    source=DOCS + "service/#type-clusterip",
)
def test_burst(clusterip, pods):
    """500 connections at once from one client are all answered.

    A page of a web application, or a pool that fills, does this. What is refused or lost points to a limit on the way:
    connection tracking, a firewall's, or the source ports of a node that masquerades.
    """
    expect(pods[0]).to_take_a_burst(clusterip, count=500)


@check(
    "clusterip.large-transfer",
    level=CORE,
    source="https://kubernetes.io/docs/concepts/cluster-administration/networking/",
)
def test_large_transfer(clusterip, multiport, pods):
    """4 MiB get through to every endpoint and back intact, and so do datagrams that are larger than a packet.

    Small requests get through a path whose MTU is wrong, large ones hang for ever. What nodes.large-transfer finds
    without any Service is the network's; what fails here alone is what the service proxy makes of large packets, or of
    fragments, of which only the first has ports.
    """
    expect(pods).to_transfer(clusterip, size=4 << 20, backends=clusterip.endpoints)
    expect(pods).to_carry(multiport.vip("datagram"), size=4000)


@check("clusterip.fair", level=INFO, source="https://kubernetes.io/docs/reference/networking/virtual-ips/")
def test_fair(clusterip, pods):
    """Requests are spread over the endpoints as evenly as chance allows.

    The distribution is in the report. An endpoint with more than its share is the one that fails under load first. No
    specification asks for it, and with a weighted balancer it is intended.
    """
    expect(pods).to_be_balanced(clusterip, backends=clusterip.endpoints)
