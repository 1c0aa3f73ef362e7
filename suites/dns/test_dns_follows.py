"""DNS follows what happens to Services."""

from __future__ import annotations

from kubereach import CORE, DNS_SPEC, check
from kubereach.expect import Query, expect

WEB = {"name": "http", "port": 8500, "targetPort": "http"}


@check("dns.follows", slow=True, level=CORE, source=DNS_SPEC)
def test_follows(world, other_pods, cluster):
    """A new, a changed and a deleted Service is seen in DNS within the records' time to live.

    The time that it takes is reported. A name that lags behind leads to an address that may be another Service's.
    """

    def expect_records(rdtype: str, name: str, *records: str, rcode: str = "NOERROR") -> None:
        expect(other_pods).to_get_records(
            Query(rdtype, name, rcode=rcode), records, by=cluster, settled=service.settled
        )

    with world.create("with-ports", name="followed", ports=[WEB]) as service:
        rdtype = service.rdtype
        expect_records(rdtype, service.fqdn, *service.names.records(rdtype))
        expect_records("SRV", service.names.srv("http"), f"8500 {service.fqdn}")

        service.set_ports({**WEB, "port": 8501})
        expect_records("SRV", service.names.srv("http"), f"8501 {service.fqdn}")

        service.delete()
        expect_records(rdtype, service.fqdn, rcode="NXDOMAIN")
