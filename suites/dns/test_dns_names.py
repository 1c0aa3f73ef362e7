"""Which names of a Service resolve, and where, by the pods' own resolvers."""

from __future__ import annotations

from kubereach import CORE, DOCS, HOST_NETWORK, INFO, OUTSIDE, check
from kubereach.expect import Query, expect


@check("dns.short-name", level=CORE, source=DOCS + "dns-pod-service/#namespaces-of-services")
def test_short_name(clusterip, pods):
    """A Service's plain name resolves from pods of its namespace, and leads to it.

    It is how most applications are configured. When only longer names work, the pods' search list is wrong.
    """
    expect(pods).to_resolve(clusterip.name, clusterip.cluster_ips)
    expect(pods).to_reach(clusterip.by_name(clusterip.name), backends=clusterip.endpoints)


@check(
    "dns.qualified", level=CORE, needs=HOST_NETWORK, source=DOCS + "dns-pod-service/#namespaces-of-services"
)
def test_qualified(clusterip, pods, other_pods, nodes):
    """Every longer form of the name resolves from any namespace, with and without the final dot.

    Forms that fail only without the final dot point to the search list or to ndots.
    """
    for group in (pods, other_pods, nodes):
        expect(group).to_resolve(clusterip.names.qualified, clusterip.cluster_ips)


@check("dns.no-leak", level=CORE, source=DOCS + "dns-pod-service/#namespaces-of-services")
def test_no_leak(clusterip, namesake, elsewhere, pods, other_pods):
    """A plain name never finds a Service of another namespace, and of two that share it each namespace sees its own.

    Otherwise a typing mistake, or a tenant, decides who gets the traffic.
    """
    # it is in DNS: only then its plain name could be found too
    expect(pods).to_resolve(elsewhere.fqdn, elsewhere.cluster_ips)
    expect(pods).not_to_know(elsewhere.name, control=clusterip.name)
    expect(pods).to_resolve(clusterip.name, clusterip.cluster_ips)
    expect(other_pods).to_resolve(namesake.name, namesake.cluster_ips)


@check(
    "dns.no-such-service",
    level=CORE,
    source="https://github.com/kubernetes/dns/blob/master/docs/specification.md",
)
def test_no_such_service(clusterip, pods, cluster):
    """The name of a Service that does not exist is answered with NXDOMAIN, quickly.

    A timeout here makes every start of a client slow; an empty answer keeps resolvers from trying the next search
    domain.
    """
    missing = clusterip.fqdn.replace(clusterip.name, "no-such-service", 1)
    expect(pods).not_to_resolve(missing, control=clusterip.fqdn)
    expect(pods).to_get_records(Query(clusterip.rdtype, missing, rcode="NXDOMAIN"), (), by=cluster)


@check("dns.internal-only", level=INFO, needs=OUTSIDE, source=DOCS + "dns-pod-service/")
def test_internal_only(clusterip, outside):
    """The cluster's names do not resolve outside.

    Where they do, somebody forwards the zone to the cluster: on purpose, one hopes. A machine whose name servers answer
    nothing at all does not know any name.
    """
    expect(outside).to_hear_a_name_server()
    expect(outside).not_to_know(clusterip.fqdn)
