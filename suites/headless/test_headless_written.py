"""Headless Services whose endpoints or names somebody has written down."""

from __future__ import annotations

from kubereach import CORE, DNS_SPEC, DOCS, EXT, check
from kubereach.expect import Query, expect


@check(
    "headless.hostname-subdomain",
    level=CORE,
    source=DOCS + "dns-pod-service/#pod-hostname-and-subdomain-field",
)
def test_hostname_subdomain(subdomain, lonely, pods, cluster):  # noqa: ARG001 - lonely has the pod
    """A pod with a hostname and a subdomain has a name of its own, below the headless Service of that subdomain.

    Applications that tell their members by name need it where there is no StatefulSet.
    """
    name = subdomain.names.pod("hermit")
    expect(pods).to_get_records(Query(subdomain.rdtype, name), subdomain.endpoints.addresses, by=cluster)
    expect(pods).to_resolve(name, subdomain.endpoints.addresses)
    expect(pods).to_reach(subdomain.by_name(name), backends=subdomain.endpoints)


@check(
    "headless.manual-endpoints",
    slow=True,
    level=CORE,
    source=DOCS + "service/#without-selectors",
)
def test_manual_endpoints(world, spare, other_pods, cluster):
    """Without a selector, a headless Service resolves to exactly the addresses of the EndpointSlices written by hand.

    It gives a name to what is outside the cluster. Whoever changes the slices changes the name's addresses.
    """
    first, second, *_ = sorted(spare.endpoints.addresses)
    with world.create("by-hand", name="written", slices=[[first]], spec={"clusterIP": "None"}) as service:
        name, rdtype = service.fqdn, service.rdtype
        expect(other_pods).to_get_records(Query(rdtype, name), {first}, by=cluster, settled=service.settled)

        service.slices.write(1, first, second)

        expect(other_pods).to_get_records(
            Query(rdtype, name), {first, second}, by=cluster, settled=service.settled
        )
        expect(other_pods).to_resolve(service.fqdn, {first, second}, settled=service.settled)


@check("headless.many", level=EXT, source=DNS_SPEC + "#241---aaaaa-record")
def test_many(many, pods):
    """Dozens of addresses of one headless Service are all found by the pods' own resolvers.

    They do not fit into 512 bytes over UDP, so that the resolver has to ask again over TCP. One that does not sees some
    of the addresses, or none.
    """
    expect(pods).to_resolve(many.fqdn, many.endpoints.addresses)
