"""The world of a run: objects, vantages, and their life from the first request to the last."""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubereach import peer
from kubereach.api import Api, ApiError, Object, object_path
from kubereach.check import HOST_NETWORK
from kubereach.check import OTHER_NAMESPACE as SECOND_NAMESPACE
from kubereach.check import OUTSIDE as OUTSIDE_FEATURE
from kubereach.cluster import Cluster, inspect
from kubereach.context import RunContext
from kubereach.diagnosis.on_call import OnCall
from kubereach.errors import CannotMeasure, Failure, NotConforming, Unsupported, UsageError
from kubereach.events import Bus, Changed, Progress, WorldReady
from kubereach.nodes import pinned
from kubereach.outcome import OK
from kubereach.preflight.admission import admit, remedy
from kubereach.preflight.pull_secret import copies, name_in
from kubereach.preflight.review import review
from kubereach.preflight.rights import needed
from kubereach.settings import Settings
from kubereach.settling import CREATED
from kubereach.targets import ClusterAccess
from kubereach.vantage import Series, Vantage, VantageGroup
from kubereach.vantage.command import CommandVantage, further_outsides
from kubereach.vantage.streams import ExecStream, ProcessStream, Stream
from kubereach.vantage.vantage import NODE, OTHER_NAMESPACE, OUTSIDE, POD, OutsideVantage
from kubereach.vantage.wire import Wire
from kubereach.world.alike import Alike, entered
from kubereach.world.board import Board, is_ready
from kubereach.world.lag import SliceLag
from kubereach.world.leftovers import NAMESPACES, Renewal, release, remove_leftovers, renewed
from kubereach.world.manifests import BASE, FIRST, MANAGED_BY, RUN, Manifest, pod_spec, render
from kubereach.world.places import places
from kubereach.world.proxies import MODE_PATH, MODE_PORT, Proxies
from kubereach.world.readiness import Readiness
from kubereach.world.removal import clear, remove_run
from kubereach.world.self_balancer import SelfBalancer
from kubereach.world.service import Service

#: letters that make no words and are hard to confuse, as Kubernetes' own generated names use them
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_FOLLOWED = (
    "/api/v1/pods",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/deployments",
)


@dataclass(frozen=True)
class Refusal:
    """What the API server said to an object that it was not to take."""

    status: int
    message: str


class World:
    """Everything of one run that is in the cluster. `connect`, `start`, `stop`, in this order; `stop` always works.

    `manifests` is the folder; `services` are the stems of manifests/services/*.yaml that the selected checks use.
    """

    def __init__(
        self,
        access: ClusterAccess,
        settings: Settings,
        bus: Bus,
        manifests: Path,
        services: Sequence[str],
    ) -> None:
        self._access = access
        self.manifests = self._manifests = manifests
        self._stems = tuple(dict.fromkeys(services))
        self.run = "".join(secrets.choice(_LETTERS) for _ in range(5))
        self.context = RunContext(settings, bus, secrets.token_hex(8))
        self.places = places(settings, self.run)
        self.namespace, self.other_namespace = self.places.services, self.places.other
        self.node_namespace = self.places.nodes
        #: Services that need a namespace that this run has not
        self._absent: dict[str, Unsupported] = {}
        self._api: Api | None = None
        self._cluster: Cluster | None = None
        self._board: Board | None = None
        self.lag: SliceLag | None = None
        self._wire: Wire | None = None
        self._renewal: Renewal | None = None
        self._touched = False
        self._node_ports: tuple[int, int] | None = None
        self._services: dict[str, Service] = {}
        self._opened: dict[str, Vantage] = {}
        #: gives load-balancer addresses of our own
        self.balancer = SelfBalancer(settings)
        self.pods = self.other_pods = self.nodes = VantageGroup(())
        #: this machine, and with --outside-via a group of it and further ones
        self.outside: Vantage | VantageGroup = VantageGroup(())

    @property
    def api(self) -> Api:
        if self._api is None:
            self._api = Api(self._access)
        return self._api

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise CannotMeasure("the cluster has not been looked at yet")
        return self._cluster

    @property
    def board(self) -> Board:
        if self._board is None:
            raise CannotMeasure("the world has not been started yet")
        return self._board

    def connect(self) -> Cluster:
        """Facts only, and whether we may do what a run does; changes nothing.

        Raises `CannotMeasure` or `UsageError` with a one-line remedy.
        """
        api, settings = self.api, self.context.settings
        with ThreadPoolExecutor(2) as pool:
            may = pool.submit(review, api, needed(settings))
            found = pool.submit(inspect, api, settings)
        may.result()  # its words say more than those of the first request that is refused
        self._cluster = found.result()
        return self._cluster

    def service(self, stem: str) -> Service:
        """The Service of manifests/services/<stem>.yaml. Raises `UsageError` for one that was not asked for."""
        try:
            if stem in self._absent:
                raise self._absent[stem]
            return self._services[stem]
        except KeyError:
            raise UsageError(f"no Service of manifests/services/{stem}.yaml is part of this run") from None

    # start

    def start(self) -> None:
        """Apply everything, wait until every pod is ready, open the vantages.

        Raises `CannotMeasure` as soon as it is clear that a pod cannot start, `UsageError` for a malformed manifest.
        """
        begun = time.monotonic()
        first, rest = (
            self.places.fitting([m for file in files for m in self._render(self._manifests / file)])
            for files in (FIRST, BASE)
        )
        secret = self.context.settings.pull_secret
        if secret[1] and not self.places.given:
            labels = {MANAGED_BY: "kubereach", RUN: self.run}
            found = copies(self.api, secret, self.places.all, labels)
            first += [Manifest(obj, Path("--image-pull-secret"), 1) for obj in found]
        by_stem = self._by_stem()
        forbidden: dict[tuple[str, str], str] = {}
        if self.places.given:
            clear(self.api, self.places.all, self.context.settings.stop_deadline)
            everything = [m.obj for m in rest] + [m.obj for some in by_stem.values() for m in some]
            forbidden = admit(self.api, everything, len(self.cluster.nodes))
            rest = [manifest for manifest in rest if manifest.place not in forbidden]
        else:
            remove_leftovers(self.api)
        self._say(f"applying {len(first) + len(rest) + sum(map(len, by_stem.values()))} objects")
        self._board = Board(self.api, f"{RUN}={self.run}")
        self.lag = SliceLag(self._board)
        self._board.noticed = self.lag.noticed
        with ThreadPoolExecutor(8) as pool:
            paths = self.places.collections(_FOLLOWED)
            followed = [pool.submit(self._board.follow, path) for path in paths]
            self._touched = True
            kinds = ("Namespace", "Secret", "ServiceAccount ConfigMap")
            for kind in kinds:
                list(pool.map(self._create, [m for m in first if m.kind in kind]))
            self._renewal = Renewal(self.api, self.places.alive)
            if not (self.places.given or self._access.disposable):
                # before controllers find out, and tell nobody but by events
                forbidden = admit(self.api, [m.obj for m in rest], len(self.cluster.nodes))
                rest = [manifest for manifest in rest if manifest.place not in forbidden]
            created = {
                stem: [pool.submit(self._create, m) for m in manifests] for stem, manifests in by_stem.items()
            }
            list(pool.map(self._create, rest))
            for stem, futures in created.items():
                self._services[stem] = self._handle([future.result() for future in futures], by_stem[stem])
            for future in followed:
                future.result()
        readiness = self._await_pods(forbidden)
        self._open_vantages(readiness)
        self.context.settled = time.monotonic() + self.context.settings.settle_deadline
        self.context.examine = OnCall(self).examine
        self.context.proxy_on = Proxies(self.api, self._proxy_mode).on
        for service in self._services.values():
            service.settled = self.context.settled
        pods = len(self.board.all("Pod"))
        outsides: Sequence[Vantage] = ()
        if isinstance(self.outside, Vantage):
            outsides = (self.outside,)
        elif len(self.outside):
            outsides = self.outside
        others = () if self.places.no_other else self.other_pods
        everyone = (*self.pods, *others, *(() if readiness.forbidden else self.nodes), *outsides)
        ready = WorldReady(time.monotonic() - begun, pods, tuple(vantage.name for vantage in everyone))
        self.context.bus.emit(ready)

    def _proxy_mode(self, node: str) -> str:
        """What the kube-proxy of a node says of its mode; "" where it does not, or where we are not on nodes."""
        series = Series("http", "127.0.0.1", MODE_PORT, more={"path": MODE_PATH, "text": True})
        for vantage in self.nodes if len(self.nodes) else ():
            if vantage.node == node:
                answer = vantage.run(series).probes[0].answer
                return answer.detail.strip() if answer.outcome == OK else ""
        return ""

    def _by_stem(self) -> dict[str, list[Manifest]]:
        """The manifests of all Services that can be; why the others cannot is told to those who ask for them."""
        found: dict[str, list[Manifest]] = {}
        for stem in self._stems:
            manifests = self._render(self._manifests / "services" / f"{stem}.yaml")
            try:
                self.places.require(manifests)
                found[stem] = manifests
            except Unsupported as error:
                self._absent[stem] = error
        return found

    def _say(self, text: str) -> None:
        self.context.bus.emit(Progress(text))

    def _render(self, file: Path, **more: object) -> list[Manifest]:
        variables: dict[str, object] = {
            "namespace": self.namespace,
            "other_namespace": self.other_namespace,
            "node_namespace": self.node_namespace,
            "image": self.context.settings.image,
            "nonce": self.context.nonce,
            "run": self.run,
            "domain": self.cluster.domain,
            "dns": self.cluster.dns.address if self.cluster.dns else "192.0.2.53",
            "peer": peer_program(),
            **more,
        }
        manifests = render(file, variables, {MANAGED_BY: "kubereach", RUN: self.run})
        if secret := self.context.settings.pull_secret[1]:
            for manifest in manifests:
                if manifest.kind == "ServiceAccount":
                    name_in(manifest.obj, secret)
        if self.cluster.left_out:
            for manifest in manifests:
                if (pod := pod_spec(manifest.obj)) is not None:
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

    def _await_pods(self, forbidden: dict[tuple[str, str], str]) -> Readiness:
        readiness = Readiness(self.board, self.api)
        readiness.forbidden.update(forbidden)
        said = [(-1, -1)]

        def done() -> bool:
            ready, wanted = readiness.counts()
            if (ready, wanted) != said[0]:
                said[0] = (ready, wanted)
                self._say(f"waiting for {wanted} pods: {ready} ready")
            return ready >= wanted > 0

        limit = self.context.settings.world_deadline
        if not readiness.wait(done, limit):
            missing = [p["metadata"]["name"] for p in self.board.all("Pod") if not is_ready(p)]
            ready, wanted = said[0]
            raise CannotMeasure(
                f"{ready} of {wanted} pods are ready after {limit:.0f} s; waiting for {', '.join(missing)}",
                "See `kubectl describe pod`; a slow image pull may take --set world_deadline=600.",
            )
        return readiness

    # vantages

    def _open_vantages(self, readiness: Readiness) -> None:
        wire = Wire()
        self._wire = wire
        settings = self.context.settings
        program = [sys.executable, "-u", peer.__file__, "probe", "--in-flight", str(settings.in_flight)]
        via = self._access.outside_via
        here = (
            CommandVantage(via, wire, self.context, label=OUTSIDE)
            if via
            else OutsideVantage(OUTSIDE, "", lambda: ProcessStream(program), wire, self.context)
        )
        outsides = further_outsides(settings.outside_via, wire, self.context)
        if not self._access.no_outside:
            outsides.insert(0, here)
        for vantage in outsides:
            vantage.is_inside = self.cluster.owns
        lacking = "" if outsides else self._access.no_outside
        self.outside = (
            outsides[0] if len(outsides) == 1 else VantageGroup(outsides, lacking, feature=OUTSIDE_FEATURE)
        )
        self.pods = self._group(self.namespace, "client", POD)
        self.other_pods = (
            VantageGroup((), why, feature=SECOND_NAMESPACE)
            if (why := self.places.no_other)
            else self._group(self.other_namespace, "other-client", OTHER_NAMESPACE)
        )
        forbidden = readiness.forbidden.get((self.node_namespace, "node"), "")
        self.nodes = (
            VantageGroup((), forbidden) if forbidden else self._group(self.node_namespace, "node", NODE)
        )
        everyone = [*self.pods, *([] if self.places.no_other else self.other_pods), *outsides]
        VantageGroup(everyone + ([] if forbidden else list(self.nodes))).open()

    def _group(self, namespace: str, app: str, kind: str) -> VantageGroup:
        pods = [
            p
            for p in self.board.all("Pod", namespace)
            if (p["metadata"].get("labels") or {}).get("app") == app
        ]
        return self.vantages(pods, kind)

    def vantages(self, pods: Sequence[Object], kind: str, *, labelled: bool = False) -> VantageGroup:
        """Vantages in the given pods, in the order of nodes; a pod's stream is opened once and then used again.

        `labelled` puts the pod's own name into the vantage's.
        """
        order = {node.name: index for index, node in enumerate(self.cluster.nodes)}
        group = []
        for pod in sorted(pods, key=lambda p: order.get(p["spec"].get("nodeName", ""), len(order))):
            uid = pod["metadata"]["uid"]
            if uid not in self._opened:
                self._opened[uid] = self._vantage(pod, kind, labelled)
            group.append(self._opened[uid])
        return VantageGroup(group)

    def _vantage(self, pod: Object, kind: str, labelled: bool) -> Vantage:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        node = pod["spec"].get("nodeName", "")
        short = next((n.short for n in self.cluster.nodes if n.name == node), node)
        limit = str(self.context.settings.in_flight)
        command = ["python3", "-u", "/kubereach/peer.py", "probe", "--in-flight", limit]

        def open_stream() -> Stream:
            return ExecStream(self.api.exec(namespace, name, command))

        wire = self._wire
        assert wire is not None
        return Vantage(
            kind,
            node,
            open_stream,
            wire,
            self.context,
            pod=name,
            namespace=namespace,
            address=pod["status"].get("podIP", ""),
            label=f"{name}@{short}" if labelled else f"{kind}@{short}",
        )

    # objects of single checks

    @contextmanager
    def create(self, stem: str, **variables: object) -> Iterator[Service]:
        """Apply manifests/temporary/<stem>.yaml, wait for its pods, and delete it all at the end of the block."""
        created: list[Object] = []
        try:
            manifests = self._render(self._manifests / "temporary" / f"{stem}.yaml", **variables)
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
    def create_alike(self, stem: str, count: int, *, name: str, **variables: object) -> Iterator[Alike]:
        """So many Services of manifests/temporary/<stem>.yaml, called name-1 and on, that select the same pods."""
        numbers = range(1, count + 1)
        wanted = [self.create(stem, name=f"{name}-{n}", group=name, **variables) for n in numbers]
        with entered(wanted) as services:
            yield Alike(services)

    def _await_workload(self, workload: Object, service: Service) -> None:
        readiness = Readiness(self.board, self.api)
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
        manifest = self._render(self._manifests / "temporary" / f"{stem}.yaml", **variables)[0]
        try:
            created = self.api.create(manifest.obj)
        except ApiError as error:
            return Refusal(error.status, error.message)
        self.api.delete(object_path(created))
        name = manifest.obj["metadata"]["name"]
        given = ", ".join(f"{key} {value}" for key, value in variables.items())
        raise NotConforming([Failure("API", f"{manifest.kind} {name}", "refused", f"accepted with {given}")])

    @property
    def external_ip(self) -> str:
        """An address that is nobody's (RFC 5737), and not the one that another run at the same time takes."""
        return f"203.0.113.{1 + int.from_bytes(self.run.encode(), 'big') % 254}"

    @property
    def host_port(self) -> int:
        """The first of ten ports of the nodes that are the run's own: no node ports, and none that clients get."""
        return 21000 + int.from_bytes(self.run.encode(), "big") % 800 * 10

    def node_port_range(self) -> tuple[int, int]:
        """The range of node ports, first and last, as the API server tells it when asked for one outside of it."""
        if self._node_ports is None:
            refusal = self.refusal("explicit", name="range", node_port=1)
            match = re.search(r"(\d+)-(\d+)", refusal.message)
            if match is None:
                raise NotConforming(
                    [Failure("API", "node port 1", "refused with the valid range", refusal.message)]
                )
            self._node_ports = (int(match[1]), int(match[2]))
        return self._node_ports

    def _note(self, action: str, obj: Object) -> None:
        meta = obj["metadata"]
        self.context.bus.emit(Changed(action, f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"))

    # stop

    def stop(self) -> None:
        """Close the vantages, delete the run's namespaces, wait until they are gone (bounded). May be called twice.

        A disposable cluster is left as it is: it goes itself.
        """
        if self._wire is not None:
            self._wire.stop()
            self._wire = None
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None
        if self._board is not None:
            self._board.stop()
        if self._touched and not self._access.disposable:
            self._remove()
        self._touched = False
        if self._api is not None:
            self._api.close()
            self._api = None

    def _remove(self) -> None:
        """Remove what this run made, or let go of it if it is to be kept."""
        if self.context.settings.keep:
            release(self.api, self.places.alive)
        elif self.places.given:
            self._say("removing what this run made")
            limit = self.context.settings.stop_deadline
            if left := remove_run(self.api, self.places.all, self.run, limit):
                self._say(f"still being deleted after {limit:.0f} s: {', '.join(left)}")
        else:
            self._delete_namespaces()

    def abandon(self) -> None:
        """Close the vantages without asking the cluster for anything: it is gone, and our objects with it."""
        self._touched = False
        self.stop()

    def _delete_namespaces(self) -> None:
        self._say("removing what this run made")
        selector = f"{RUN}={self.run}"
        board = Board(self.api, selector)
        board.follow(NAMESPACES)
        with ThreadPoolExecutor(3) as pool:
            for namespace in board.all("Namespace"):
                pool.submit(self.api.delete, f"{NAMESPACES}/{namespace['metadata']['name']}")
        limit = self.context.settings.stop_deadline
        gone = board.wait(lambda: not board.all("Namespace"), limit)
        board.stop()
        if not gone:
            left = ", ".join(n["metadata"]["name"] for n in board.all("Namespace"))
            self._say(f"still being deleted after {limit:.0f} s: {left}")


def _remedy(obj: Object, error: ApiError) -> str:
    """What to do about an object that the API server does not take."""
    if error.status != 403:
        return "See what the message names."
    if " cannot create resource " in error.message:
        return "`kubereach rbac` prints what a run needs: kubereach rbac | kubectl apply -f -"
    return remedy(str(obj["metadata"].get("namespace", "")), error.message)


def peer_program() -> str:
    """The text of peer.py, as it goes into the ConfigMap."""
    return Path(peer.__file__).read_text(encoding="utf-8")
