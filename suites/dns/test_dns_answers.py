"""What the cluster's DNS servers answer, as exact sets of records."""

from __future__ import annotations

from kubereach import CORE, DNS_SPEC, TASKS, check
from kubereach.expect import Query, dns_names, expect


@check("dns.exact-address", level=CORE, source=DNS_SPEC + "#231---aaaaa-record")
def test_exact_address(clusterip, pods, cluster):
    """The name of a Service with a cluster IP has exactly its cluster IPs as A and AAAA records.

    One address too many sends part of the traffic astray; one that is old sends all of it.
    """
    for rdtype in ("A", "AAAA"):
        expect(pods).to_get_records(
            Query(rdtype, clusterip.fqdn), clusterip.names.records(rdtype), by=cluster, thorough=True
        )


@check("dns.no-such-family", level=CORE, source="https://www.rfc-editor.org/rfc/rfc4074")
def test_no_such_family(clusterip, pods, cluster):
    """A Service of one IP family answers NOERROR without records for the other.

    Resolvers ask for both. NXDOMAIN for one of them makes the whole name unknown to some, and SERVFAIL or silence makes
    every connection wait.
    """
    rdtype = "AAAA" if clusterip.rdtype == "A" else "A"
    expect(pods).to_get_records(Query(rdtype, clusterip.fqdn), (), by=cluster)


@check("dns.srv", level=CORE, source=DNS_SPEC + "#232---srv-records")
def test_srv(multiport, pods, cluster):
    """Each named port has an SRV record with the Service's port and the Service's name.

    Clients that look up ports (and gRPC's and LDAP's load balancers do) find none of their servers without it.
    """
    for port in ("http", "line", "datagram"):
        record = f"{multiport.spec.port_number(port)} {multiport.fqdn}"
        expect(pods).to_get_records(Query("SRV", multiport.names.srv(port)), [record], by=cluster)


@check("dns.ptr", level=CORE, source=DNS_SPEC + "#233---ptr-record")
def test_ptr(clusterip, stateful, pods, cluster):
    """A cluster IP and a headless endpoint with a hostname have their names as PTR records.

    Logs and some authentication schemes look back from the address; without the record each look takes a timeout.
    """
    expect(pods).to_get_records(Query("PTR", clusterip.names.reverse), [clusterip.fqdn], by=cluster)
    for pod, address in stateful.endpoints.address_of.items():
        name = dns_names.reverse(address)
        expect(pods).to_get_records(
            Query("PTR", name), [stateful.names.pod(pod)], by=cluster, settled=stateful.settled
        )


@check("dns.tcp", level=CORE, source="https://www.rfc-editor.org/rfc/rfc7766")
def test_tcp(clusterip, many, pods, cluster):
    """DNS answers over TCP as over UDP; what is too large for UDP is marked as truncated and complete over TCP.

    So many endpoints do not fit into 512 bytes. A resolver that is not told so takes the part for the whole, and one
    that cannot use TCP has no answer at all: look for port 53/TCP in the DNS Service, and in network policies.
    """
    rdtype = clusterip.rdtype
    expect(pods).to_get_records(
        Query(rdtype, clusterip.fqdn, transport="tcp"), clusterip.names.records(rdtype), by=cluster
    )
    expect(pods).to_get_records(
        Query(many.rdtype, many.fqdn, truncated=True), many.endpoints.addresses, by=cluster
    )
    expect(pods).to_get_records(
        Query(many.rdtype, many.fqdn, transport="tcp"), many.endpoints.addresses, by=cluster
    )


@check("dns.large-answers", level=CORE, source="https://www.rfc-editor.org/rfc/rfc6891#section-6.2.3")
def test_large_answers(many, pods, cluster):
    """An answer over 512 bytes arrives over UDP where the client takes it, and is truncated where it does not.

    With EDNS(0) resolvers say how much they take: 1232 bytes, as Go and Unbound do, or 4096. A firewall that knows only
    the 512 bytes of old drops such answers, and those resolvers alone wait until their time is over. A server may
    truncate earlier, or know no EDNS; that is noted. The answer here has some 1000 bytes: it takes no fragments.
    """
    addresses = many.endpoints.addresses
    for servers in (cluster, cluster.dns_replicas):
        for payload in (1232, 4096):
            query = Query(many.rdtype, many.fqdn, payload=payload)
            expect(pods).to_get_records(query, addresses, by=servers, repeat=4)
    # by way of the Service that is for dns.tcp
    query = Query(many.rdtype, many.fqdn, truncated=True)
    expect(pods).to_get_records(query, addresses, by=cluster.dns_replicas, repeat=4)


@check("dns.parallel-queries", level=CORE, source=TASKS + "administer-cluster/nodelocaldns/#motivation")
def test_parallel_queries(clusterip, pods, cluster):
    """Of an A and an AAAA query that leave one UDP port at the same time both are answered, every time.

    So ask glibc and musl for every connection. Where two packets of one flow race through connection tracking, the
    kernel drops one (kubernetes #56903), and the lookup takes 5 s: `conntrack -S` counts insert_failed.
    """
    records = {rdtype: clusterip.names.records(rdtype) for rdtype in ("A", "AAAA")}
    expect(pods).to_get_both(clusterip.fqdn, records, by=cluster)


@check("dns.every-replica", level=CORE, source=DNS_SPEC)
def test_every_replica(clusterip, pods, cluster):
    """Each endpoint of the DNS Service answers correctly when it is asked directly.

    One wrong replica of two makes every other lookup fail, which looks like chance from anywhere else.
    """
    rdtype, replicas = clusterip.rdtype, cluster.dns_replicas
    addresses = clusterip.names.records(rdtype)
    expect(pods).to_get_records(Query(rdtype, clusterip.fqdn), addresses, by=replicas, thorough=True)
    expect(pods).to_get_records(Query(rdtype, clusterip.fqdn, transport="tcp"), addresses, by=replicas)
