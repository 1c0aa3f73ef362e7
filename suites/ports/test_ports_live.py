"""Ports of a Service that lives: changed, added, taken away; and two protocols on one number."""

from __future__ import annotations

from kubereach import CORE, DOCS, EXT, SCTP, check
from kubereach.expect import expect, must_stay_silent

WEB = {"name": "http", "port": 8000, "targetPort": "http"}
LINE = {"name": "line", "port": 8001, "targetPort": "line"}
DATAGRAM = {"name": "datagram", "port": 8001, "targetPort": "datagram", "protocol": "UDP"}


@check("ports.changed", slow=True, level=CORE, source=DOCS + "service/#field-spec-ports")
def test_changed(world, clusterip, other_pods):
    """Adding, removing and changing a port, targetPort or protocol of a live Service takes effect; the old one stops.

    Clients move from one port to the other while both are there. An old port that is served on hides those that have
    not moved; a new one that is not served breaks those that have.
    """
    with world.create("with-ports", name="changing", ports=[{**WEB, "targetPort": 9}]) as service:
        backends = service.endpoints
        must_stay_silent(world, other_pods, service, than=service.name)

        service.set_ports(WEB, LINE)
        http, line = service.vip("http"), service.vip("line")
        expect(other_pods).to_reach([http, line], backends=backends)

        service.set_ports({**WEB, "port": 8080}, DATAGRAM)
        expect(other_pods).to_reach([service.vip("http"), service.vip("datagram")], backends=backends)
        expect(other_pods).not_to_be_answered(service.formerly([http, line]), control=clusterip)


@check("ports.same-number-two-protocols", slow=True, level=CORE, source=DOCS + "service/#protocol-support")
def test_same_number_two_protocols(world, clusterip, other_pods):
    """TCP and UDP on one port number are two ports; removing one leaves the other.

    DNS and HTTP/3 need both. Rules that know only the number mix them up, or lose both with the first.
    """
    with world.create("with-ports", name="twofold", ports=[LINE, DATAGRAM]) as service:
        line, datagram = service.vip("line"), service.vip("datagram")
        expect(other_pods).to_reach([line, datagram], backends=service.endpoints)

        service.set_ports(LINE)
        expect(other_pods).to_reach(service.vip("line"), backends=service.endpoints)
        expect(other_pods).not_to_be_answered(service.formerly([datagram]), control=clusterip)

        service.set_ports(DATAGRAM)
        expect(other_pods).to_reach(service.vip("datagram"), backends=service.endpoints)
        expect(other_pods).not_to_be_answered(service.formerly([line]), control=clusterip)


@check("ports.sctp", slow=True, level=EXT, needs=SCTP, source=DOCS + "service/#protocol-sctp")
def test_sctp(world, other_pods):
    """SCTP works through a Service, as TCP and UDP do.

    Telephony's protocols rely on it. It needs the kernel's modules on every node, for connection tracking too, and a
    network plugin that lets it through.
    """
    with world.create("own-pods", name="sctp", replicas=1, sctp=True) as service:
        expect(service.own_pods()).to_speak_sctp(8083)
        expect(other_pods).to_reach(service.vip("sctp"), backends=service.endpoints)
