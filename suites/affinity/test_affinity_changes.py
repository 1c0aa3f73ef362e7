"""Session affinity while endpoints, or the Service, change."""

from __future__ import annotations

from kubereach import CORE, VIRTUAL_IPS, check
from kubereach.expect import expect

STICKY = {"sessionAffinity": "ClientIP"}


@check("affinity.survives-scale-up", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_survives_scale_up(world, spare, other_pods):
    """New endpoints do not move a client.

    Otherwise scaling up, which is for busy hours, ends everybody's session in the busiest one. A service proxy that
    builds its state anew with each change forgets who went where.
    """
    first, second, *new = sorted(spare.endpoints)
    with world.create_group("over-spares", 8, name="growing", spec=STICKY) as services:
        services.take_in(first, second)
        kept = expect(other_pods).to_stick(services, count=4)
        services.take_in(*new)
        # made after the change, so that whoever has followed it here has followed it there
        with world.create("over-spares", name="grown", group="growing") as beside:
            expect(other_pods).to_reach(beside, backends=beside.endpoints, every=True)
        expect(other_pods).to_stick(services, count=4, kept=kept)


@check("affinity.endpoint-gone", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_endpoint_gone(world, spare, other_pods):
    """A client whose endpoint has gone is moved to another one, not cut off.

    Affinity is a preference. A client that sticks to a dead endpoint gets errors until its affinity ends, three hours
    later by default (kubernetes #71809, #81587, #110302).
    """
    first, second, *_ = sorted(spare.endpoints)
    with world.create_group("over-spares", 4, name="shrinking", spec=STICKY) as services:
        services.take_in(first, second)
        kept = expect(other_pods).to_stick(services, count=4)
        gone = next(iter(kept.values()))
        services.take_out(gone)
        expect(other_pods).to_reach(services, backends={first, second} - {gone})


@check("affinity.switched", slow=True, level=CORE, source=VIRTUAL_IPS + "#session-affinity")
def test_switched(world, spare, other_pods):
    """Affinity that is switched on, or off, for a live Service takes effect.

    Off must mean off: clients that go on sticking leave the new endpoints idle that it was switched off for (kubernetes
    #89358).
    """
    with world.create("over-spares", name="switched", selector=spare.selector) as service:
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)
        service.patch({"spec": STICKY})
        expect(other_pods).to_stick(service)
        service.patch({"spec": {"sessionAffinity": "None"}})
        expect(other_pods).to_reach(service, backends=service.endpoints, every=True)
