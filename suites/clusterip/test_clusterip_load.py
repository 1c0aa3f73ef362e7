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
    """4 MiB get through intact both ways, and datagrams that are larger than a packet arrive.

    Small requests get through a path whose MTU is wrong, large ones hang for ever. The failure says between which nodes
    and up to which size: look at the MTU of the pods' network against that of the nodes', less what the tunnel takes.
    """
    expect(pods).to_carry(multiport.addresses.each_pod("datagram"), size=4000)
    expect(pods).to_transfer(clusterip, size=4 << 20)


@check("clusterip.fair", level=INFO, source="https://kubernetes.io/docs/reference/networking/virtual-ips/")
def test_fair(clusterip, pods):
    """Requests are spread over the endpoints as evenly as chance allows.

    The distribution is in the report. An endpoint with more than its share is the one that fails under load first. No
    specification asks for it, and with a weighted balancer it is intended.
    """
    expect(pods).to_be_balanced(clusterip, backends=clusterip.endpoints)
