"""Services without a cluster IP: the name gives the pods themselves."""

from __future__ import annotations

from kubereach import CORE, DNS_SPEC, DOCS, check
from kubereach.expect import Query, expect, verify


@check("headless.all-pods", level=CORE, source=DOCS + "service/#headless-services")
def test_all_pods(headless, pods, cluster):
    """A headless Service's name resolves to exactly the ready pods' addresses, and it has no cluster IP.

    Clients do their own balancing and must see every member. Fewer addresses overload the rest.
    """
    verify(not headless.cluster_ips, f"it has {headless.cluster_ips}")
    expect(pods).to_resolve(headless.fqdn, headless.endpoints.addresses)
    expect(pods).to_get_records(
        Query(headless.rdtype, headless.fqdn), headless.endpoints.addresses, by=cluster
    )
    expect(pods).to_reach(headless.by_name(headless.fqdn), backends=headless.endpoints, every=True)


@check("headless.not-ready", level=CORE, source=DNS_SPEC + "#241---aaaaa-record")
def test_not_ready(unready, published, pods, cluster):
    """A pod that is not ready is not listed; with publishNotReadyAddresses it is.

    The first keeps clients from a member that cannot serve; the second is how members of a quorum find each other
    before any of them is ready.
    """
    # first the one that lists such a pod: it is known then, and the other one could list it too
    expect(pods).to_get_records(
        Query(published.rdtype, published.fqdn), published.endpoints.addresses, by=cluster
    )
    expect(pods).to_get_records(Query(unready.rdtype, unready.fqdn), unready.endpoints.addresses, by=cluster)


@check(
    "headless.stateful-names",
    level=CORE,
    source="https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-network-id",
    changes="stateful",
)
def test_stateful_names(stateful, pods):
    """The name of a StatefulSet's pod reaches exactly that pod, and follows it to a new address.

    Databases tell their members by these names. One that leads to another pod mixes up their data; one that stays
    behind keeps a restarted member out.
    """
    for pod, address in stateful.endpoints.address_of.items():
        expect(pods).to_resolve(stateful.names.pod(pod), {address}, settled=stateful.settled)
        expect(pods).to_reach(stateful.by_name(stateful.names.pod(pod)), backends={pod})

    stateful.workload.replace("member-0")

    name, address = stateful.names.pod("member-0"), stateful.endpoints.address_of["member-0"]
    expect(pods).to_resolve(name, {address}, settled=stateful.settled)
    expect(pods).to_reach(stateful.by_name(name), backends={"member-0"})


@check("headless.srv", level=CORE, source=DNS_SPEC + "#242---srv-records")
def test_srv(headless, stateful, pods, cluster):
    """The SRV records of a headless Service's port list each pod and its port.

    The targets of pods without a hostname may be called anything, but each must lead to one of the pods, and to each
    pod there must be one.
    """
    expect(pods).to_have_srv_targets(headless, 8080, by=cluster)
    members = [stateful.names.pod(pod) for pod in stateful.endpoints]
    expect(pods).to_have_srv_targets(stateful, 8080, by=cluster, hostnames=members)


@check("headless.follows", slow=True, level=CORE, source=DOCS + "service/#headless-services")
def test_follows(world, other_pods, cluster):
    """Pods that are added and removed by scaling are seen in DNS.

    The time that it takes is reported. Answers that lag behind send clients to addresses that may be somebody else's.
    """
    with world.create("scaled") as service:
        for replicas in (2, 1):
            service.workload.scale(replicas)
            expect(other_pods).to_get_records(
                Query(service.rdtype, service.fqdn),
                service.endpoints.addresses,
                by=cluster,
                settled=service.settled,
            )
