"""The load balancer of a Service: the address that it gives, and who took charge of it."""

from __future__ import annotations

from collections.abc import Callable

from kubereach.model.check import LOADBALANCER
from kubereach.model.errors import Failure, NotConforming, Unsupported
from kubereach.model.finding import BALANCER
from kubereach.model.tally import judged
from kubereach.world.connection import Connection
from kubereach.world.last_change import LastChange
from kubereach.world.load_balancer_own import CLEANUP, SelfBalancer, ingress_of, write_ingress
from kubereach.world.load_balancer_pending import diagnose
from kubereach.world.service_object import ServiceObject


class ServiceLoadBalancer:
    """What status.loadBalancer of a Service of type LoadBalancer has, as the API has it now."""

    def __init__(
        self, connection: Connection, own: SelfBalancer, obj: ServiceObject, last_change: LastChange
    ) -> None:
        self._connection = connection
        self._own = own
        self._object = obj
        self._last_change = last_change
        self._pending = ""

    def address(self) -> str:
        """The first address or name, waited for by watch up to ``settings.load_balancer_deadline`` seconds.

        Raises `Unsupported` when no controller took charge of this Service or of any, `NotConforming` when one did and
        failed. A verdict once found is not waited for again.
        """
        if self._pending:
            raise Unsupported(self._pending, feature=LOADBALANCER)
        if not self._assigned():
            limit = self._connection.context.settings.load_balancer_deadline
            if not self._object.wait(lambda: bool(self._assigned()), limit):
                self._no_address(limit)
            self._last_change.note()
        return self._assigned()

    def address_that(self, suits: Callable[[str], bool]) -> str:
        """The address, given time to become one that `suits`: ``settings.converge_deadline`` seconds.

        Its controller may write one after the other. Gives the last, whether it suits or not; raises as `address` does.
        """
        first = self.address()
        limit = self._connection.context.settings.converge_deadline
        self._object.wait(lambda: suits(self._assigned()), limit)
        if self._assigned() != first:
            self._last_change.note()
        return self._assigned()

    def address_of_family(self, version: int) -> str:
        """The address of an IP version (4 or 6), waited for in the same way; "" if none comes.

        Controllers may write the two families one after the other.
        """
        self.address()

        def found() -> str:
            given = [str(one.get("ip") or "") for one in ingress_of(self._object.latest)]
            return next((ip for ip in given if ip and (":" in ip) == (version == 6)), "")

        self._object.wait(lambda: bool(found()), self._connection.context.settings.converge_deadline)
        return found()

    def _assigned(self) -> str:
        """What status.loadBalancer has now; "" if nothing."""
        given = ingress_of(self._object.latest) or [{}]
        return str(given[0].get("ip") or given[0].get("hostname") or "")

    def assign(self, ip_mode: str) -> None:
        """Write an address of ours with this ipMode (VIP, Proxy) into the status, and wait until it is seen.

        Raises `Unsupported` where the API knows no ipMode (before Kubernetes 1.30).
        """
        api, service = self._connection.api, self._object.latest
        if ingress := ingress_of(service):
            written = write_ingress(api, service, [{**ingress[0], "ipMode": ip_mode}])
        else:
            written = self._own.assign(api, service, ip_mode)
        if ingress_of(written)[0].get("ipMode") != ip_mode:
            raise Unsupported(
                "the API server drops ipMode, which is enabled by default since Kubernetes 1.30"
            )
        self._object.wait(lambda: ingress_of(self._object.latest) == ingress_of(written), 5)
        self._last_change.note()

    # who took charge of it

    def must_be_left_alone(self) -> None:
        """No load balancer controller has taken charge of it, by an address or a finalizer. Raises `NotConforming`."""
        judged()
        address, finalizers = self._assigned(), self._finalizers()
        if address or finalizers:
            taken = [*([f"address {address}"] if address else []), *(f"finalizer {f}" for f in finalizers)]
            where = f"LoadBalancer Service {self._object.name}"
            expected = "no changes by other controllers: its loadBalancerClass is foreign"
            raise NotConforming([Failure("API", where, expected, ", ".join(taken), layer=BALANCER)])

    def _finalizers(self) -> list[str]:
        """The finalizer of a load balancer controller, if one has taken charge of it."""
        return [f for f in self._object.latest["metadata"].get("finalizers") or () if f == CLEANUP]

    def _no_address(self, waited: float) -> None:
        """Raise what it means that there is none after so many seconds."""
        api, name = self._connection.api, self._object.name
        path = f"/api/v1/namespaces/{self._object.namespace}/events"
        found = api.find(path, fieldSelector=f"involvedObject.name={name}") or {}
        lines = [f"{event.get('reason')}: {event.get('message')}" for event in found.get("items") or ()]
        pending = diagnose(api)
        if served := self._served_by_the_same():
            lines.append(f"{', '.join(served)} got an address, so a controller exists")
        if lines or self._finalizers():
            raise NotConforming(
                [
                    Failure(
                        "API",
                        f"LoadBalancer Service {name}",
                        f"an address within {waited:.0f} s",
                        "still pending, although a controller serves it",
                        (*(lines or ["no event gives a reason"]), *pending.lines, pending.remedy),
                        layer=BALANCER,
                    )
                ]
            )
        self._pending = (
            f"after {waited:.0f} s no address, no event and no finalizer; {'; '.join(pending.lines)}. "
            f"{pending.remedy}"
        )
        raise Unsupported(self._pending, feature=LOADBALANCER)

    def _served_by_the_same(self) -> list[str]:
        """The run's other Services that this one's load balancer has given an address: the feature is there."""
        own_class = self._object.latest["spec"].get("loadBalancerClass")
        return sorted(
            service["metadata"]["name"]
            for service in self._connection.watch_cache.all("Service")
            if service["spec"].get("type") == "LoadBalancer"
            and service["spec"].get("loadBalancerClass") == own_class
            and ingress_of(service)
        )
