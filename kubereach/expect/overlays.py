"""Whether a load balancer does what an overlay's annotations ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kubereach.expect.expectation import expect
from kubereach.expect.notes import add_note
from kubereach.model.address import Address
from kubereach.model.errors import Failure, NotConforming, Unsupported
from kubereach.model.finding import BALANCER
from kubereach.probe import Vantage, VantageGroup
from kubereach.world.load_balancer import free_address, must_have
from kubereach.world.provider_overlay import (
    ASKED,
    ENDS_TLS,
    INTERNAL,
    JUDGED,
    Case,
    is_private,
    providers,
    read,
)
from kubereach.world.service import Service

if TYPE_CHECKING:
    from kubereach.world.world import World


@contextmanager
def cases_of(world: World) -> Iterator[list[Case]]:
    """The cases of the overlay that --lb-provider names; one whose values are not given is told and left out.

    Raises `Unsupported` without a provider, or when no case is left, and `UsageError` for a malformed overlay.
    """
    if not world.context.settings.lb_provider:
        raise Unsupported(f"no provider given: --lb-provider {'|'.join(providers(world))}")
    with free_address(world) as free:
        found = read(world, free=free)
        for case in found:
            if case.missing:
                add_note(world, f"{case.name} was skipped: it needs --lb-value {', '.join(case.missing)}")
        if all(case.missing for case in found):
            lacking = sorted({value for case in found for value in case.missing})
            raise Unsupported(f"every case of the overlay needs values: {', '.join(lacking)}")
        cases = [case for case in found if not case.missing]
        yield cases
        if not any(case.outcome in JUDGED for case in cases):
            names = ", ".join(case.name for case in cases)
            raise Unsupported(
                f"the load balancers of {names} answer, as they would without the annotations: no "
                "annotation was checked",
                "Add the --lb-value of the overlay's other cases.",
            )


def must_show(case: Case, service: Service, inside: VantageGroup, outside: Vantage | VantageGroup) -> None:
    """The Service's load balancer does what the case asks for. Raises `NotConforming`."""
    if case.outcome == ASKED:
        must_have(service, case.wanted)
    suits = is_private if case.outcome == INTERNAL else bool
    given = service.load_balancer.address_that(suits)
    if not suits(given):
        where = f"LoadBalancer Service {service.name}"
        evidence = tuple(case.annotations)  # their values are of --lb-value, and nobody's to read
        raise NotConforming([Failure("API", where, "an internal address", given, evidence, layer=BALANCER)])
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
    judged = (
        ""
        if case.outcome in JUDGED
        else ", which answers; kubereach cannot observe the effect of the annotation"
    )
    add_note(inside[0], f"{case.name}: {given}{judged}")
