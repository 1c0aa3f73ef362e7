"""What cluster DNS answers besides Services."""

from __future__ import annotations

from kubereach import DNS_SPEC, DOCS, EXT, EXTERNAL_NAME, INFO, check
from kubereach.expect import Query, dns_names, expect


@check("dns.external", level=EXT, needs=EXTERNAL_NAME, source=DOCS + "dns-pod-service/")
def test_external(world, pods):
    """A public name, the one given with --external-name, resolves from pods.

    Cluster DNS asks the nodes' name servers, or those of its configuration, for what is not its own. Failing here alone
    means that those cannot be reached from its pods, or do not know the name.
    """
    expect(pods).to_find(world.context.settings.external_name)


@check("dns.case-and-ttl", level=INFO, source="https://www.rfc-editor.org/rfc/rfc4343")
def test_case_and_ttl(clusterip, pods, cluster):
    """Names match in any case, and answers may be kept for no longer than five minutes; for how long is reported.

    Some resolvers mix the case on purpose, against forged answers, and drop an answer whose question has another case:
    each replica must repeat it, over UDP and TCP. Answers that are kept long lead to addresses that are gone.
    """
    rdtype = clusterip.rdtype
    expect(pods).to_report_records(Query(rdtype, clusterip.fqdn), by=cluster, longest=300)
    mixed = dns_names.mixed_case(clusterip.fqdn)
    for servers in (cluster, cluster.dns_replicas):
        for transport in ("udp", "tcp"):
            query = Query(rdtype, mixed, transport=transport)
            expect(pods).to_get_records(query, clusterip.names.records(rdtype), by=servers)


@check("dns.pod-record", level=INFO, source=DOCS + "dns-pod-service/#a-aaaa-records")
def test_pod_record(pods, cluster):
    """The name that spells a pod's address, a-b-c-d.namespace.pod.<domain>, resolves to that address.

    CoreDNS answers it for whatever address (pods insecure), for addresses of pods (verified), or not at all. Nothing in
    Kubernetes depends on it; certificates for pods sometimes do.
    """
    rdtype = dns_names.rdtype(pods[0].address)
    name = cluster.pod_name(pods[0].address, pods[0].namespace)
    expect(pods).to_get_records(Query(rdtype, name), [pods[0].address], by=cluster)


@check("dns.schema-version", level=INFO, source=DNS_SPEC + "#22---record-for-schema-version")
def test_schema_version(pods, cluster):
    """A TXT record of dns-version.<domain> says which version of the DNS specification is served.

    It is reported. Few ask for it; a server without it is not made for Kubernetes, or is an old one.
    """
    expect(pods).to_report_records(Query("TXT", f"dns-version.{cluster.domain}."), by=cluster)
