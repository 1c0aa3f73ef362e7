"""Services of type LoadBalancer as checks ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubereach.model.errors import Failure, NotConforming, Unsupported
from kubereach.model.finding import BALANCER
from kubereach.model.tally import judged
from kubereach.probe import Vantage
from kubereach.world.load_balancer_own import OWN_CLASS, ingress_of
from kubereach.world.provider_overlay import ASKED, read
from kubereach.world.source_ranges import ranges_of

if TYPE_CHECKING:
    from kubereach.world.service import Service
    from kubereach.world.world import World

#: of our class: no controller takes charge of it
SELF_BALANCED: dict[str, Any] = {"type": "LoadBalancer", "loadBalancerClass": OWN_CLASS}
#: of a class that nobody serves, not even we
FOREIGN_CLASS: dict[str, Any] = {"type": "LoadBalancer", "loadBalancerClass": "kubereach.dev/nobody"}


def only_for(vantages: Iterable[Vantage] = ()) -> dict[str, Any]:
    """A spec whose loadBalancerSourceRanges let in these vantages alone, or nobody."""
    return {"type": "LoadBalancer", "loadBalancerSourceRanges": ranges_of(vantages)}


def asking_for(world: World, address: str) -> dict[str, Any]:
    """Variables of a manifest that ask for a load-balancer address: by the provider's annotation, else by the field."""
    provider = world.context.settings.lb_provider
    if provider:
        for case in read(world, free=address):
            if case.outcome == ASKED and not case.missing:
                return {"annotations": case.annotations, "spec": case.spec}
    return {"spec": {"type": "LoadBalancer", "loadBalancerIP": address}}


@contextmanager
def free_address(world: World) -> Iterator[str]:
    """An address that the load balancer has just given and taken back; in the block no other check asks for one.

    Controllers give the same address to the next who asks, so that it would often be gone. The Service that had it has
    no endpoints: while a service proxy still has its rules, no answer of them can be taken for the next one's.
    """

    def all_served() -> bool:
        requesting = [
            service
            for service in world.watch_cache.all("Service")
            if service["spec"].get("type") == "LoadBalancer" and not service["spec"].get("loadBalancerClass")
        ]
        return all(ingress_of(service) for service in requesting)

    with world.objects.balancer.requesting:
        with world.create(
            "over-spares", name="for-a-moment", tcp=True, spec={"type": "LoadBalancer"}
        ) as service:
            address = service.load_balancer.address()
            world.watch_cache.wait(all_served, world.context.settings.load_balancer_deadline)
            service.delete()
        yield address


def must_have(service: Service, address: str) -> None:
    """The Service has got just the address that it asked for.

    Raises `NotConforming`, or `Unsupported` where it has another one and asked by the field, which may be ignored.
    """
    given = service.load_balancer.address()
    may_be_ignored = bool(service.object.latest["spec"].get("loadBalancerIP"))
    if not may_be_ignored:
        given = service.load_balancer.address_that(address.__eq__)
    judged()
    if given == address:
        return
    if may_be_ignored:
        raise Unsupported(
            f"the cluster ignores spec.loadBalancerIP, which is allowed: requested {address}, got {given}",
            "If the provider has an annotation for it, name the provider with --lb-provider.",
        )
    where = f"LoadBalancer Service {service.name}"
    expected = f"the requested address {address}"
    raise NotConforming([Failure("API", where, expected, given, layer=BALANCER)])
