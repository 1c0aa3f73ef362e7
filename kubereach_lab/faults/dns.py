"""Faults of the cluster DNS."""

from __future__ import annotations

from kubereach_lab.faults.fault import DNS, NODE, Fault, Group


class Dns(Group):
    """What the cluster DNS gets wrong, or nodes about it."""

    prefix = "dns"

    caches = Fault("DNS keeps each answer, as CoreDNS with `cache` does, for 12 s", DNS)
    case_sensitive = Fault("names in capital letters are not found", DNS)
    cross_namespace_leak = Fault("a short name finds another namespace's Service", DNS)
    default_policy_empty = Fault("resolv.conf of pods with dnsPolicy Default is empty", NODE)
    down = Fault("cluster DNS answers nothing", DNS)
    drops_5_percent = Fault("cluster DNS loses one query over UDP in twenty", DNS)
    empty_ignored = Fault(
        "Services without ready endpoints have no records, as with CoreDNS' option `ignore empty_service`",
        DNS,
    )
    headless_not_ready_included = Fault("DNS lists endpoints that are not ready", DNS, "ovn-kubernetes #4806")
    headless_one_address = Fault("headless Services have one address in DNS", DNS)
    headless_vip = Fault(
        "headless Services have an address of the service range in DNS, which nobody serves", DNS
    )
    kept_long = Fault("answers of DNS may be kept for a day", DNS)
    known_outside = Fault("the outside's name servers forward the cluster's names to it", DNS)
    manual_ignored = Fault("DNS ignores EndpointSlices of Services without a selector", DNS)
    no_cname = Fault("ExternalName Services have no records", DNS)
    no_pod_names = Fault("pods with a hostname have no names of their own", DNS)
    no_pod_records = Fault("names that spell a pod's address are not answered", DNS)
    no_ptr = Fault("there are no PTR records", DNS)
    no_schema_version = Fault("there is no dns-version record", DNS)
    no_srv = Fault("there are no SRV records", DNS)
    no_upstream = Fault("cluster DNS reaches no other name server", DNS)
    nxdomain_as_nodata = Fault("names that do not exist are answered as if they had no such records", DNS)
    one_replica_stale = Fault(
        "one of the DNS replicas goes on answering what has been changed or taken away, as one that has lost its watch",
        DNS,
    )
    one_replica_wrong = Fault("one of the DNS replicas knows no Service", DNS)
    refuses_tcp = Fault("cluster DNS takes no queries over TCP", DNS)
    search_missing = Fault("resolv.conf has no search list", NODE)
    servfail_aaaa = Fault("questions for AAAA records are answered with SERVFAIL", DNS)
    stale = Fault("DNS answers what it once answered for 60 s more", DNS, "kubernetes #127259, coredns #3432")
    wrong_address = Fault("Services have another address in DNS than the API says", DNS)
