"""How pods' resolvers are set up."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, check
from kubereach.expect import expect


@check("dns.resolv-conf", level=CORE, needs=HOST_NETWORK, source=DOCS + "dns-pod-service/#pod-s-dns-policy")
def test_resolv_conf(world, pods, nodes, named, unready, cluster):
    """Name server, search list and ndots in pods are what dnsPolicy asks for.

    ClusterFirst, also on the host network with ClusterFirstWithHostNet, means the cluster's DNS; None means what
    dnsConfig says and nothing else; Default means what the node has. The kubelet writes this file.
    """
    servers = cluster.nameservers
    search = cluster.search_list
    expect(pods).to_be_configured(nameservers=servers, search=search(world.namespaces.services), ndots=5)
    expect(nodes).to_be_configured(nameservers=servers, search=search(world.namespaces.nodes), ndots=5)
    expect(unready.own_pods("never-ready")).to_be_configured(
        nameservers=["192.0.2.53"], search=("one.example.com", "two.example.com"), ndots=2
    )
    expect(named.own_pods()).not_to_be_configured(search=search(world.namespaces.services)[0])
