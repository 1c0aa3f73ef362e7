"""A cluster IP belongs to its Service, not to the pods behind it."""

from __future__ import annotations

from kubereach import CORE, DOCS, check
from kubereach.expect import add_note, expect, verify


@check("clusterip.allocated", slow=True, level=CORE, source=DOCS + "service/#type-clusterip")
def test_allocated(world, other_pods, cluster):
    """A Service gets an address from the service range and keeps it when every endpoint is replaced.

    Clients hold on to the address: if it changed with the pods, every one of them would have to look it up again.
    An address outside the range is one that the service proxies do not take care of.
    """
    with world.create("replaced") as service:
        address = service.cluster_ip
        within = cluster.in_service_range(address)
        verify(within is not False, f"{address} is not in {', '.join(cluster.service_cidrs)}")
        if within is None:
            add_note(
                world, f"the cluster does not report its service IP range: {address} was not compared with it"
            )
        expect(other_pods).to_reach(service, backends=service.endpoints)

        service.workload.replace()

        verify(service.cluster_ip == address, f"{address} became {service.cluster_ip}")
        expect(other_pods).to_reach(service, backends=service.endpoints)
