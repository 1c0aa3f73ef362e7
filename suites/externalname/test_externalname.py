"""Services that are only another name."""

from __future__ import annotations

from kubereach import CORE, DNS_SPEC, DOCS, check
from kubereach.expect import Query, expect, verify


@check("externalname.cname", level=CORE, source=DNS_SPEC + "#25---records-for-external-name-services")
def test_cname(externalname, pods, cluster):
    """An ExternalName Service is a CNAME to exactly spec.externalName, and has no cluster IP.

    Anything else (an address, a longer name) means that a server looked the target up on its own.
    """
    verify(not externalname.cluster_ips, f"it has {externalname.cluster_ips}")
    expect(pods).to_get_records(
        Query("CNAME", externalname.fqdn), [externalname.spec.external_name], by=cluster
    )


@check("externalname.to-service", level=CORE, source=DOCS + "service/#externalname")
def test_to_service(externalname, clusterip, pods):
    """An ExternalName Service that points to a Service of the cluster can be connected to.

    It is how a Service is moved to another namespace. The resolver must follow the CNAME within the cluster's own zone.
    """
    expect(pods).to_resolve(externalname.fqdn, clusterip.cluster_ips)
    expect(pods).to_reach(externalname.by_name(externalname.fqdn), backends=clusterip.endpoints)


@check("externalname.changed", slow=True, level=CORE, source=DOCS + "service/#externalname")
def test_changed(world, clusterip, spare, other_pods, cluster):
    """A new target of an ExternalName Service takes effect.

    It is how clients are moved from one database to another. The time that it takes is reported; what resolvers of the
    clients remember comes on top of it.
    """
    with world.create("renamed", name="renamed", target=clusterip.fqdn.rstrip(".")) as service:
        expect(other_pods).to_get_records(
            Query("CNAME", service.fqdn), [clusterip.fqdn], by=cluster, settled=service.settled
        )

        service.become("ExternalName", spare.fqdn.rstrip("."))

        expect(other_pods).to_get_records(
            Query("CNAME", service.fqdn), [spare.fqdn], by=cluster, settled=service.settled
        )
        expect(other_pods).to_resolve(service.fqdn, spare.cluster_ips, settled=service.settled)
