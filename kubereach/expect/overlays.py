"""Whether a load balancer does what an overlay's annotations ask for."""

from __future__ import annotations

from collections.abc import Iterator

from kubereach.address import Address
from kubereach.errors import Failure, NotConforming, Unsupported
from kubereach.expect.expectation import expect
from kubereach.expect.telling import tell
from kubereach.vantage import Vantage, VantageGroup
from kubereach.world.balanced import must_have
from kubereach.world.overlay import ASKED, ENDS_TLS, INTERNAL, Case, is_private, providers, read
from kubereach.world.service import Service
from kubereach.world.world import World


def cases_of(world: World) -> Iterator[Case]:
    """The cases of the overlay that --lb-provider names; one whose values are not given is told and left out.

    Raises `Unsupported` without a provider, or when no case is left, and `UsageError` for a malformed overlay.
    """
    if not world.context.settings.lb_provider:
        raise Unsupported(f"no provider is named: --lb-provider {'|'.join(providers(world))}")
    found = read(world, free=_free_address(world))
    lacking = sorted({value for case in found for value in case.missing})
    for case in found:
        if case.missing:
            tell(world, f"{case.name} is left out: it needs --lb-value {', '.join(case.missing)}")
    if all(case.missing for case in found):
        raise Unsupported(f"every case of the overlay needs values: {', '.join(lacking)}")
    yield from (case for case in found if not case.missing)


def _free_address(world: World) -> str:
    """An address that the load balancer has given and taken back."""
    with world.create(
        "over-backend", name="for-a-moment", tcp=True, spec={"type": "LoadBalancer"}
    ) as service:
        return service.load_balancer_address()


def must_show(case: Case, service: Service, inside: VantageGroup, outside: Vantage) -> None:
    """The Service's load balancer does what the case asks for. Raises `NotConforming`."""
    given = service.load_balancer_address()
    if case.outcome == ASKED:
        must_have(service, case.wanted)
    if case.outcome == INTERNAL and not is_private(given):
        where = f"LoadBalancer Service {service.name}"
        raise NotConforming([Failure("API", where, "an internal address", given, (str(case.annotations),))])
    if case.outcome == ENDS_TLS:
        # only the load balancer has the certificate, and inside the cluster its address may be short-cut
        found = service.ingress()
        address = Address(
            found.way, "tls", found.host, found.port, found.settled, case.name, server_name=case.wanted
        )
        expect(outside).to_trust(address, ca="")
    elif case.outcome == INTERNAL:
        expect(inside).to_reach(service.ingress(), backends=service.endpoints)
    else:
        expect(outside).to_reach(service.ingress(), backends=service.endpoints)
    tell(inside[0], f"{case.name}: {given}")
