"""The Services of a run: those that its checks share, and those that single checks make and delete."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from kubereach.kube.client import Object
from kubereach.model.address import Address
from kubereach.model.check import HOST_NETWORK
from kubereach.model.convergence import CREATED
from kubereach.model.dns_names import of_families
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported, UsageError
from kubereach.model.finding import API
from kubereach.world.connection import Connection
from kubereach.world.manifests import Manifest
from kubereach.world.namespaces import Namespaces
from kubereach.world.objects import Objects, Refusal
from kubereach.world.run_manifests import RunManifests
from kubereach.world.service import Service
from kubereach.world.service_group import ServiceGroup, entered
from kubereach.world.vantages import Vantages

#: Services that may lose their node port to somebody else at just that moment
_OTHERS_QUICKER = 3


class Services:
    """`stems` are those of manifests/services/*.yaml that the run's checks use."""

    def __init__(
        self,
        connection: Connection,
        namespaces: Namespaces,
        manifests: RunManifests,
        objects: Objects,
        vantages: Vantages,
        stems: Sequence[str],
    ) -> None:
        self._connection = connection
        self._namespaces = namespaces
        self._manifests = manifests
        self._objects = objects
        self._vantages = vantages
        self._stems = tuple(dict.fromkeys(stems))
        self._shared: dict[str, Service] = {}
        #: those that need a namespace that this run has not
        self._absent: dict[str, Unsupported] = {}
        self._younger = itertools.count(1)

    # shared by checks

    def shared(self, stem: str) -> Service:
        """The Service of manifests/services/<stem>.yaml. Raises `UsageError` for one that was not asked for."""
        try:
            if stem in self._absent:
                raise self._absent[stem]
            return self._shared[stem]
        except KeyError:
            raise UsageError(f"no Service of manifests/services/{stem}.yaml is part of this run") from None

    def is_shared(self, name: str) -> bool:
        """Whether a Service of this name is one that checks share: nobody changes or deletes it during the run."""
        return any(service.name == name for service in self._shared.values())

    def manifests(self) -> dict[str, list[Manifest]]:
        """Those of all shared Services that can be, by stem; who asks for another is told why it cannot be."""
        found: dict[str, list[Manifest]] = {}
        for stem in self._stems:
            manifests = self._manifests.service(stem)
            try:
                self._namespaces.require(manifests)
                found[stem] = manifests
            except Unsupported as error:
                self._absent[stem] = error
        return found

    def add(self, stem: str, created: Sequence[Object], manifests: Sequence[Manifest]) -> None:
        """Objects that were created by these manifests are the shared Service `stem`."""
        self._shared[stem] = self._handle(created, manifests)

    def settle(self, until: float) -> None:
        """All shared Services were made now; `until` (time.monotonic()) the data plane may take to follow."""
        for service in self._shared.values():
            service.settled = until

    def correct(self, before: Mapping[str, list[Manifest]]) -> None:
        """Patch the shared Services whose manifests are no longer what they were: the cluster's facts have changed."""
        for stem, manifests in self.manifests().items():
            for manifest, old in zip(manifests, before[stem], strict=True):
                if manifest.kind == "Service" and manifest.obj != old.obj:
                    self._shared[stem].patch({"spec": manifest.obj["spec"]})

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
                settled = self._connection.context.settled
                return Service(self._connection, self._objects, self._vantages, obj, settled, written)
        raise UsageError(f"{manifests[0].file if manifests else 'manifest'}: contains no Service")

    # of single checks

    @contextmanager
    def create(self, stem: str, **variables: object) -> Iterator[Service]:
        """Apply manifests/temporary/<stem>.yaml, wait for its pods, and delete it all at the end of the block."""
        created: list[Object] = []
        try:
            manifests = self._manifests.temporary(stem, **variables)
            self._namespaces.require(manifests)
            for manifest in manifests:
                created.append(self._objects.create(manifest))
                self._objects.report("create", created[-1])
            service = self._handle(created, manifests)
            # the handle must see what the API has, from the first moment on
            service.object.wait_until_shown(10)
            workload = next((o for o in created if o["kind"] == "Deployment"), None)
            if workload is not None:
                self._await_workload(workload, service)
            service.changed(CREATED)
            yield service
        finally:
            for obj in created:
                self._objects.delete(obj, propagationPolicy="Background")

    @contextmanager
    def create_group(
        self, stem: str, count: int, *, name: str, **variables: object
    ) -> Iterator[ServiceGroup]:
        """So many Services of manifests/temporary/<stem>.yaml, called name-1 and on, that select the same pods."""
        numbers = range(1, count + 1)
        wanted = [self.create(stem, name=f"{name}-{n}", group=name, **variables) for n in numbers]
        with entered(wanted) as services:
            yield ServiceGroup(services)

    @contextmanager
    def create_younger(self, node_port: bool, version: int) -> Iterator[tuple[Address, int]]:
        """A Service over the pods on every node: its cluster IP and, if it is to have one, its node port, else 0.

        Both are of the IP `version`, 4 or 6: a service proxy keeps rules of its own for each.
        """
        spec = {**({"type": "NodePort"} if node_port else {}), **of_families([version])}
        name = f"younger-{next(self._younger)}"
        with self.create("over-backend", name=name, tcp=True, spec=spec) as service:
            yield service.vip(), service.node_port() if node_port else 0

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
        wanted = "its node port is free after its deletion"
        raise NotConforming([Failure("API", "Service first", wanted, taken, layer=API)])

    def refusal(self, stem: str, **variables: object) -> Refusal:
        """Apply manifests/temporary/<stem>.yaml, which the API server must refuse, and give what it said.

        Raises `NotConforming` when it takes it (and deletes it again).
        """
        manifest = self._manifests.temporary(stem, **variables)[0]
        refusal = self._objects.refusal(manifest)
        if refusal is None:
            given = ", ".join(f"{key} {value}" for key, value in variables.items())
            where = f"{manifest.kind} {manifest.obj['metadata']['name']}"
            raise NotConforming([Failure("API", where, "refused", f"accepted with {given}")])
        return refusal

    def _await_workload(self, workload: Object, service: Service) -> None:
        readiness = self._connection.readiness()
        replicas, meta = int(workload["spec"]["replicas"]), workload["metadata"]

        def done() -> bool:
            if why := readiness.forbidden.get((meta["namespace"], meta["name"])):
                raise Unsupported(why, feature=HOST_NETWORK)
            return len(service.endpoints) >= replicas

        limit = self._connection.context.settings.world_deadline
        if not readiness.wait(done, limit):
            raise CannotMeasure(
                f"the pods of {meta['name']} are not ready after {limit:.0f} s",
                "See `kubectl describe pod`.",
            )
