"""Silence that means something: a younger Service of the same kind is served, and the older one still is not.

Right after a Service was made or changed nobody has looked at it yet, and everything is silent: kube-proxy gathers
changes for up to a second, load balancers announce an address later than they give it. Controllers and service proxies
take changes in the order in which they were made. Where a Service answers that was made later, the older one was looked
at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kubereach.expect.expectation import expect
from kubereach.expect.where import Where, addresses_of
from kubereach.model.dns_names import of_families
from kubereach.probe import Vantage, VantageGroup
from kubereach.world.service import Service

if TYPE_CHECKING:
    from kubereach.world.world import World


def must_stay_silent(
    world: World,
    who: Vantage | VantageGroup,
    where: Where,
    *,
    than: str,
    reached: Callable[[Service], Where] = lambda service: service,
    **spec: object,
) -> None:
    """Nobody answers at `where`, judged once a younger Service over the pods on every node answers, and while it does.

    `than` names the older Service, `spec` makes the younger one of the same kind, in the IP families of `where` unless
    it names others, and `reached` gives those of its addresses that stand for `where`. Raises `NotConforming`, also
    when the younger one is not served.
    """
    # many load balancers take one protocol alone
    only = {"tcp": True} if spec.get("type") == "LoadBalancer" else {}
    # service proxies keep rules of their own for each IP version
    spec = {**of_families(address.version for address in addresses_of(where)), **spec}
    # its ports are its own: no rule of an older Service gives an answer there
    with world.create("over-backend", name=f"after-{than}", spec=spec, **only) as younger:
        control = reached(younger)
        expect(who).to_reach(control, backends=younger.endpoints)
        expect(who).not_to_be_answered(where, control=control)
