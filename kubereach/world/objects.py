"""The objects of a run: those of its manifests, made once for all, and those that single checks make and delete."""

from __future__ import annotations

import itertools
import math
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import ApiError, Object, object_path
from kubereach.kube.nodes import pinned
from kubereach.kube.ranges import free_ports
from kubereach.model.address import Address
from kubereach.model.check import HOST_NETWORK
from kubereach.model.convergence import CREATED
from kubereach.model.dns_names import of_families
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported, UsageError
from kubereach.model.events import Bus
from kubereach.model.finding import API
from kubereach.model.settings import Settings
from kubereach.preflight.admission import remedy
from kubereach.preflight.pull_secret import name_in
from kubereach.probe import program
from kubereach.world.heartbeat import renewed
from kubereach.world.manifests import MANAGED_BY, RUN, Manifest, pod_metadata, pod_spec, render
from kubereach.world.service import Service
from kubereach.world.service_group import Alike, entered
from kubereach.world.sidecars import excepted
from kubereach.world.vantages import Vantages

#: ports that a Service of a check has at most
_PORTS = 4
#: Services that may lose their node port to somebody else at just that moment
_OTHERS_QUICKER = 3


@dataclass(frozen=True)
class Refusal:
    """What the API server said to an object that it was not to take."""

    status: int
    message: str


class Objects(Vantages):
    """A run with its Services: `manifests` is the folder, `services` are stems of manifests/services/*.yaml."""

    def __init__(
        self, access: ClusterAccess, settings: Settings, bus: Bus, manifests: Path, services: Sequence[str]
    ) -> None:
        super().__init__(access, settings, bus)
        self.manifests = manifests
        self._stems = tuple(dict.fromkeys(services))
        #: Services that need a namespace that this run has not
        self._absent: dict[str, Unsupported] = {}
        self._node_ports: tuple[int, int] | None = None
        self._services: dict[str, Service] = {}
        #: port numbers of Services that checks make: each has its own, see `_render`
        first, last = settings.port_range
        self._ports = itertools.cycle(_from(range(first, last + 1 - _PORTS, _PORTS)))
        self._younger = itertools.count(1)

    def service(self, stem: str) -> Service:
        """The Service of manifests/services/<stem>.yaml. Raises `UsageError` for one that was not asked for."""
        try:
            if stem in self._absent:
                raise self._absent[stem]
            return self._services[stem]
        except KeyError:
            raise UsageError(f"no Service of manifests/services/{stem}.yaml is part of this run") from None

    # from manifests

    def _by_stem(self) -> dict[str, list[Manifest]]:
        """The manifests of all Services that can be; why the others cannot is told to those who ask for them."""
        found: dict[str, list[Manifest]] = {}
        for stem in self._stems:
            manifests = self._render(self.manifests / "services" / f"{stem}.yaml")
            try:
                self.places.require(manifests)
                found[stem] = manifests
            except Unsupported as error:
                self._absent[stem] = error
        return found

    def _render(self, file: Path, **more: object) -> list[Manifest]:
        variables: dict[str, object] = {
            "namespace": self.namespace,
            "other_namespace": self.other_namespace,
            "node_namespace": self.node_namespace,
            "image": self.context.settings.image,
            "nonce": self.context.nonce,
            "secret": self.context.secret,
            "run": self.run,
            "domain": self.cluster.domain,
            "ip_version": self.cluster.ip_version,
            "dns": self.cluster.dns_address or "192.0.2.53",
            "peer": program.files(),
            # An answer at a number that no other Service has is no other's: addresses are given again as soon as they
            # are free, also those of the run before, whose rules and tracked connections outlive it.
            "port": next(self._ports),
            **more,
        }
        manifests = render(file, variables, {MANAGED_BY: "kubereach", RUN: self.run})
        if secret := self.context.settings.pull_secret[1]:
            for manifest in manifests:
                if manifest.kind == "ServiceAccount":
                    name_in(manifest.obj, secret)
        for manifest in manifests:
            if (pod := pod_spec(manifest.obj)) is not None:
                excepted(pod_metadata(manifest.obj))
                if self.cluster.left_out:
                    pinned(pod, [node.name for node in self.cluster.nodes])
        return manifests

    def _create(self, manifest: Manifest) -> Object:
        obj = manifest.obj
        given = self.places.given and manifest.kind == "ConfigMap"  # which says there that the run lives
        if manifest.kind == "Namespace" or given:
            obj = {**obj, "metadata": {**obj["metadata"], **renewed()["metadata"]}}
        try:
            with self.balancer.guard(obj):
                created = self.api.create(self.balancer.claimed(obj))
            if manifest.kind == "Service":
                self.balancer.serve(self.api, created)
            return created
        except ApiError as error:
            if error.status == 403 and "externalips" in error.message.replace(" ", "").lower():
                raise Unsupported(f"externalIPs are not allowed here: {error.message}") from error
            if error.status in (400, 422):
                raise UsageError(f"{manifest}: {error.message}", "Correct the manifest.") from error
            raise CannotMeasure(
                f"{manifest.kind} {obj['metadata']['name']} cannot be created: {error.message or error.reason}",
                _remedy(obj, error),
            ) from error

    def _handle(self, created: Sequence[Object], manifests: Sequence[Manifest]) -> Service:
        """The Service among the created objects; the addresses of EndpointSlices beside it are its endpoints."""
        written = [
            address
            for obj in created
            if obj["kind"] == "EndpointSlice"
            for endpoint in obj["endpoints"]
            for address in endpoint["addresses"]
        ]
        for obj in created:
            if obj["kind"] == "Service":
                return Service(self, obj, self.context.settled, written)
        raise UsageError(f"{manifests[0].file if manifests else 'manifest'}: no Service in it")

    # of single checks

    @contextmanager
    def create(self, stem: str, **variables: object) -> Iterator[Service]:
        """Apply manifests/temporary/<stem>.yaml, wait for its pods, and delete it all at the end of the block."""
        created: list[Object] = []
        try:
            manifests = self._render(self.manifests / "temporary" / f"{stem}.yaml", **variables)
            self.places.require(manifests)
            for manifest in manifests:
                created.append(self._create(manifest))
                self._note("create", created[-1])
            service = self._handle(created, manifests)
            # the handle must see what the API has, from the first moment on
            self.board.wait(
                lambda: self.board.get("Service", service.namespace, service.name) is not None, 10
            )
            workload = next((o for o in created if o["kind"] == "Deployment"), None)
            if workload is not None:
                self._await_workload(workload, service)
            service.changed(CREATED)
            yield service
        finally:
            for obj in created:
                self.api.delete(object_path(obj), propagationPolicy="Background")
                self._note("delete", obj)

    @contextmanager
    def younger(self, node_port: bool, version: int) -> Iterator[tuple[Address, int]]:
        """A Service over the pods on every node: its cluster IP and, if it is to have one, its node port, else 0.

        Both are of the IP `version`, 4 or 6: a service proxy keeps rules of its own for each.
        """
        spec = {**({"type": "NodePort"} if node_port else {}), **of_families([version])}
        with self.create(
            "over-backend", name=f"younger-{next(self._younger)}", tcp=True, spec=spec
        ) as service:
            yield service.vip(), service.node_port() if node_port else 0

    @contextmanager
    def create_alike(self, stem: str, count: int, *, name: str, **variables: object) -> Iterator[Alike]:
        """So many Services of manifests/temporary/<stem>.yaml, called name-1 and on, that select the same pods."""
        numbers = range(1, count + 1)
        wanted = [self.create(stem, name=f"{name}-{n}", group=name, **variables) for n in numbers]
        with entered(wanted) as services:
            yield Alike(services)

    @contextmanager
    def create_with_a_used_node_port(self, stem: str) -> Iterator[tuple[int, Service]]:
        """The node port of a Service that has just been deleted, and one that asks for it by number.

        Where somebody else was quicker it is another one's port. Raises `NotConforming` if none is ever free again.
        """
        numbers: list[int] = []
        with ExitStack() as stack:
            for _ in range(_OTHERS_QUICKER):
                # without pods: while a service proxy still has its rules, nobody answers by them in place of the next
                with self.create(stem, name="first", node_port=None, app="nobody") as first:
                    numbers.append(first.node_port())
                try:
                    again = stack.enter_context(self.create(stem, name="again", node_port=numbers[-1]))
                except UsageError as error:
                    if "already allocated" not in error.message:
                        raise
                else:
                    yield numbers[-1], again
                    return
        taken = f"{', '.join(map(str, numbers))}: already allocated"
        wanted = "its node port to be free once it is gone"
        raise NotConforming([Failure("API", "Service first", wanted, taken, layer=API)])

    def _await_workload(self, workload: Object, service: Service) -> None:
        readiness = self.readiness()
        replicas, meta = int(workload["spec"]["replicas"]), workload["metadata"]

        def done() -> bool:
            if why := readiness.forbidden.get((meta["namespace"], meta["name"])):
                raise Unsupported(why, feature=HOST_NETWORK)
            return len(service.endpoints) >= replicas

        limit = self.context.settings.world_deadline
        if not readiness.wait(done, limit):
            raise CannotMeasure(
                f"the pods of {meta['name']} are not ready after {limit:.0f} s",
                "See `kubectl describe pod`.",
            )

    def refusal(self, stem: str, **variables: object) -> Refusal:
        """Apply manifests/temporary/<stem>.yaml, which the API server must refuse, and give what it said.

        Raises `NotConforming` when it takes it (and deletes it again).
        """
        manifest = self._render(self.manifests / "temporary" / f"{stem}.yaml", **variables)[0]
        try:
            created = self.api.create(manifest.obj)
        except ApiError as error:
            return Refusal(error.status, error.message)
        self.api.delete(object_path(created))
        name = manifest.obj["metadata"]["name"]
        given = ", ".join(f"{key} {value}" for key, value in variables.items())
        raise NotConforming([Failure("API", f"{manifest.kind} {name}", "refused", f"accepted with {given}")])

    @property
    def drain(self) -> int:
        """Seconds that a pod waits before it ends so that every service proxy has stopped to use it.

        Three at least, and three times as long as the slowest change that this run has seen: what is enough depends on
        the cluster. At most ``converge_deadline``, within which a change must have been followed.
        """
        measured = math.ceil(3 * self.context.followed)
        return min(max(3, measured), max(3, int(self.context.settings.converge_deadline)))

    @property
    def external_ip(self) -> str:
        """An address that is nobody's (RFC 5737, RFC 3849).

        Another run at the same time may have taken it: the ports of the two Services differ.
        """
        if self.cluster.ip_version == 6:
            return f"2001:db8:cb00:7100::{1 + int.from_bytes(self.run.encode(), 'big') % 254:x}"
        return f"203.0.113.{1 + int.from_bytes(self.run.encode(), 'big') % 254}"

    @property
    def host_port(self) -> int:
        """The first of ten ports of the nodes that are the run's own: no node ports, and none that clients get.

        Raises `CannotMeasure` where the node port range leaves none.
        """
        return free_ports(self.cluster.node_port_range, int.from_bytes(self.run.encode(), "big"))

    @property
    def no_node_port(self) -> int:
        """A port number next to the node port range, and not of it."""
        first, last = self.node_port_range()
        return last + 1 if last < 65535 else first - 1

    def node_port_range(self) -> tuple[int, int]:
        """The range of node ports, first and last, as the API server tells it when asked for one outside of it.

        Raises `NotConforming` when it takes such a number, or does not tell the range.
        """
        self._node_ports = self._node_ports or self.cluster.node_port_range
        if self._node_ports is None:
            refusal = self.refusal("explicit", name="range", node_port=1)
            match = re.search(r"(\d+)-(\d+)", refusal.message)
            if match is None:
                raise NotConforming(
                    [Failure("API", "node port 1", "refused with the valid range", refusal.message)]
                )
            self._node_ports = (int(match[1]), int(match[2]))
        return self._node_ports


def _from(numbers: Sequence[int]) -> list[int]:
    """The numbers, beginning anywhere: no run takes those of the run before."""
    start = secrets.randbelow(len(numbers))
    return [*numbers[start:], *numbers[:start]]


def _remedy(obj: Object, error: ApiError) -> str:
    """What to do about an object that the API server does not take."""
    if error.status != 403:
        return "See what the message names."
    if " cannot create resource " in error.message:
        return "`kubereach rbac` prints what a run needs: kubereach rbac | kubectl apply -f -"
    return remedy(str(obj["metadata"].get("namespace", "")), error.message)
