"""What other Services must not do to a cluster IP."""

from __future__ import annotations

from kubereach import CORE, DOCS, check
from kubereach.expect import expect

WEB = {"name": "http", "port": 8400, "targetPort": "http"}


@check("clusterip.idle-connection", slow=True, level=CORE, source=DOCS + "service/")
def test_idle_connection(world, other_pods):
    """An idle TCP connection outlives changes of other Services and their endpoints.

    Pools of database connections are idle for hours. A service proxy that forgets what it translates whenever it
    writes its rules breaks all of them, and the next query hangs.
    """
    with world.create("over-backend", name="quiet") as quiet:
        expect(other_pods).to_reach(quiet.vip("line"), backends=quiet.endpoints)
        # one that is forgotten is translated anew, and by luck as before: each with the chance of one in the endpoints
        with expect(other_pods).flow(quiet.vip("line"), every=600, count=10) as flow:
            with world.create("own-pods", name="lively", replicas=1, failures=1) as service:
                (pod,) = service.endpoints
                for on in (False, True, False):
                    service.set_ready(on, pod)
                service.delete()
            flow.must_stay(quiet.endpoints)


@check("clusterip.two-services", slow=True, level=CORE, source=DOCS + "service/")
def test_two_services(world, clusterip, other_pods):
    """Two Services over the same pods do not disturb each other.

    A Service is often made a second time, for a new name or another type, before the first is deleted. While one is
    made, changed and deleted the other loses no request.
    """
    with world.create("with-ports", name="elder", ports=[WEB]) as elder:
        expect(other_pods).to_reach(elder, backends=elder.endpoints)
        with (
            expect(other_pods).to_keep_reaching(elder, backends=elder.endpoints),
            world.create("with-ports", name="younger", ports=[WEB]) as younger,
        ):
            expect(other_pods).to_reach(younger, backends=younger.endpoints)
            address = younger.vip()
            younger.delete()
            expect(other_pods).not_to_be_answered(younger.formerly([address]), control=clusterip)
        expect(other_pods).to_reach(elder, backends=elder.endpoints, every=True)
