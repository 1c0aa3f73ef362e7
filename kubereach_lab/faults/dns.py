"""Faults of the cluster DNS."""

from __future__ import annotations

from kubereach_lab.faults.fault import DNS, NODE, Fault, Group


class Dns(Group):
    """What the cluster DNS gets wrong, or nodes about it."""

    prefix = "dns"

    caches = Fault("cluster DNS caches each answer for 12 s, as CoreDNS with `cache` does", DNS)
    case_sensitive = Fault("cluster DNS is case-sensitive", DNS)
    cross_namespace_leak = Fault("a short name resolves to a Service of another namespace", DNS)
    default_policy_empty = Fault("resolv.conf of pods with dnsPolicy Default is empty", NODE)
    down = Fault("cluster DNS does not answer", DNS)
    drops_5_percent = Fault("cluster DNS drops one UDP query in twenty", DNS)
    empty_ignored = Fault(
        "Services without ready endpoints have no records, as with CoreDNS' option `ignore empty_service`",
        DNS,
    )
    headless_not_ready_included = Fault("DNS lists endpoints that are not ready", DNS, "ovn-kubernetes #4806")
    headless_one_address = Fault("DNS returns one address only for headless Services", DNS)
    headless_vip = Fault("DNS returns an unused address of the service IP range for headless Services", DNS)
    kept_long = Fault("DNS answers have a TTL of one day", DNS)
    known_outside = Fault("name servers outside the cluster resolve the cluster's names", DNS)
    manual_ignored = Fault("DNS ignores EndpointSlices of Services without a selector", DNS)
    no_cname = Fault("ExternalName Services have no records", DNS)
    no_pod_names = Fault("pods with a hostname have no DNS records", DNS)
    no_pod_records = Fault("pod IPs have no DNS records (1-2-3-4.NAMESPACE.pod)", DNS)
    no_ptr = Fault("there are no PTR records", DNS)
    no_schema_version = Fault("there is no dns-version record", DNS)
    no_srv = Fault("there are no SRV records", DNS)
    no_upstream = Fault("cluster DNS cannot reach upstream name servers", DNS)
    nxdomain_as_nodata = Fault("DNS answers NODATA instead of NXDOMAIN for names that do not exist", DNS)
    one_replica_slow = Fault("one DNS replica answers each query after 3 s", DNS)
    one_replica_stale = Fault(
        "one DNS replica returns stale answers, as one that has lost its watch",
        DNS,
    )
    one_replica_wrong = Fault("one DNS replica has no records of Services", DNS)
    refuses_tcp = Fault("cluster DNS does not answer over TCP", DNS)
    search_missing = Fault("resolv.conf has no search list", NODE)
    servfail_aaaa = Fault("DNS answers AAAA queries with SERVFAIL", DNS)
    stale = Fault("DNS returns stale answers for 60 s", DNS, "kubernetes #127259, coredns #3432")
    tcp_lost = Fault("packets to port 53 over TCP are lost", DNS)
    wrong_address = Fault("DNS returns another address for a Service than its cluster IP", DNS)
