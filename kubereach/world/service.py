"""A Service as checks handle it: its addresses, its names, who must answer, and changes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kubereach.kube.client import Object, object_path, path_of
from kubereach.kube.watch_cache import is_ready
from kubereach.model.address import Address
from kubereach.model.convergence import DELETED, ENDPOINTS
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.model.events import Changed
from kubereach.model.finding import BALANCER
from kubereach.model.outcome import OK
from kubereach.model.tally import judged
from kubereach.probe import Series, Vantage
from kubereach.world.ip_family import InFamily
from kubereach.world.load_balancer_own import CLEANUP, ingress_of, write_ingress
from kubereach.world.service_ways import ServiceWays
from kubereach.world.source_ranges import EVERYBODY, ranges_of
from kubereach.world.workload import HTTP, Workload


class Service(ServiceWays):
    """A Service of the world, or one that a check has made. What it says is always what the API says now."""

    @property
    def second(self) -> InFamily:
        """Its addresses of the second IP family. Raises `NotConforming` when it has one family only."""
        if len(self.families) < 2:
            had = ", ".join(self.families)
            raise NotConforming([Failure("API", f"Service {self.name}", "two IP families", had or "none")])
        return InFamily(self, self.families[1])

    @property
    def workload(self) -> Workload:
        """The Deployment or StatefulSet that came with it."""
        return Workload(self._world, self)

    # changes

    def patch(self, change: Object) -> None:
        """Change the live Service by a merge patch."""
        path = object_path(self._created)
        with self._world.balancer.guard(change):
            patched = self._world.api.patch(path, self._world.balancer.claimed(change))
        self._world.balancer.serve(self._world.api, patched)
        self._world.context.bus.emit(Changed("patch", f"Service {self.namespace}/{self.name}"))
        self.changed()

    def set_label(self, key: str, value: str | None) -> None:
        """Give the live Service a label, or take it away."""
        self.patch({"metadata": {"labels": {key: value}}})

    def become(self, type_: str, external_name: str | None = None) -> None:
        """Turn it into another type, without what only its old type had, and wait until the API shows it.

        Becoming ExternalName it gives up its cluster IP, and gets one again afterwards.
        """
        spec: Object = {"type": type_, "externalName": external_name}
        if type_ in ("ClusterIP", "ExternalName"):
            live = self.obj["spec"]["ports"]
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in live]
        if type_ == "ExternalName":
            spec |= {"clusterIP": None, "clusterIPs": None}
        self.patch({"spec": spec})
        self._world.board.wait(lambda: self.type == type_, 5)

    def take_address(self, ip_mode: str) -> Address:
        """Give itself a load-balancer address of ours, with this ipMode (VIP, Proxy), and wait until it is seen.

        Raises `Unsupported` where the API knows no ipMode (before Kubernetes 1.30).
        """
        if ingress := ingress_of(self.obj):
            written = write_ingress(self._world.api, self.obj, [{**ingress[0], "ipMode": ip_mode}])
        else:
            written = self._world.balancer.assign(self._world.api, self.obj, ip_mode)
        if ingress_of(written)[0].get("ipMode") != ip_mode:
            raise Unsupported("the API server keeps no ipMode: it does so by default since Kubernetes 1.30")
        self._world.board.wait(lambda: ingress_of(self.obj) == ingress_of(written), 5)
        self.changed()
        return self.ingress()

    @property
    def taken_by(self) -> str:
        """What somebody has done who took charge of it as a load balancer: an address, a finalizer; else empty."""
        finalizers = [f for f in self.obj["metadata"].get("finalizers") or () if f == CLEANUP]
        given = self._assigned()
        return ", ".join([*([f"address {given}"] if given else []), *(f"finalizer {f}" for f in finalizers)])

    def must_be_left_alone(self) -> None:
        """Nobody has taken charge of it as a load balancer. Raises `NotConforming`."""
        judged()
        if self.taken_by:
            where, asked = (
                f"LoadBalancer Service {self.name}",
                "left alone: it names a class of somebody else",
            )
            raise NotConforming([Failure("API", where, asked, self.taken_by, layer=BALANCER)])

    def allow_only(self, vantages: Iterable[Vantage]) -> None:
        """Let the load balancer take these clients alone."""
        self.patch({"spec": {"loadBalancerSourceRanges": ranges_of(vantages)}})

    def allow_everybody(self) -> None:
        """Let the load balancer take all clients, by ranges that have them all."""
        self.patch({"spec": {"loadBalancerSourceRanges": EVERYBODY}})

    def set_ports(self, *ports: Object) -> None:
        """Give it just these ports, and wait until the API shows them."""
        self.patch({"spec": {"ports": list(ports)}})
        wanted = [(port["port"], port.get("protocol", "TCP")) for port in ports]

        def shown() -> bool:
            return [(p["port"], p.get("protocol", "TCP")) for p in self.obj["spec"]["ports"]] == wanted

        self._world.board.wait(shown, 5)

    def write_slice(self, number: int, *addresses: str) -> None:
        """Rewrite the addresses of one of its EndpointSlices that were written by hand, counted from 1."""
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
        self._patch_slice(number, {"endpoints": endpoints})
        self._written = frozenset(addresses)

    def label_slice(self, number: int, key: str, value: str | None) -> None:
        """Give one of its EndpointSlices that were written by hand a label, or take it away."""
        self._patch_slice(number, {"metadata": {"labels": {key: value}}})

    def _patch_slice(self, number: int, change: Object) -> None:
        kind = ("discovery.k8s.io/v1", "EndpointSlice")
        self._world.api.patch(path_of(kind, self.namespace, f"{self.name}-{number}"), change)
        self._world.context.bus.emit(Changed("patch", f"EndpointSlice {self.namespace}/{self.name}-{number}"))
        self.changed(ENDPOINTS)

    def delete(self) -> None:
        """Delete it and wait until it is gone, finalizers included.

        Raises `NotConforming` when a finalizer keeps it beyond ``load_balancer_deadline`` seconds.
        """
        last = self.obj
        self._created = last
        self._world.api.delete(object_path(last))
        self._world.context.bus.emit(Changed("delete", f"Service {self.namespace}/{self.name}"))
        limit = self._world.context.settings.load_balancer_deadline
        gone = self._world.board.wait(lambda: self._live() is None, limit)
        self.changed(DELETED)
        if not gone:
            finalizers = ", ".join(self.obj["metadata"].get("finalizers") or ["none"])
            raise NotConforming(
                [
                    Failure(
                        "API",
                        f"Service {self.name}",
                        f"gone within {limit:.0f} s of its deletion",
                        "still there",
                        (f"finalizers: {finalizers}",),
                        layer=BALANCER,
                    )
                ]
            )

    # its pods

    def take_in(self, *pods: str) -> None:
        """Give pods the labels that this Service's selector asks for, and wait until it is seen."""
        self._label(pods, self.obj["spec"]["selector"])

    def take_out(self, *pods: str) -> None:
        """Take those labels away again; the pods live on."""
        self._label(pods, dict.fromkeys(self.obj["spec"]["selector"]))

    def _label(self, pods: Iterable[str], labels: Mapping[str, str | None]) -> None:
        wanted = {key: value for key, value in labels.items() if value is not None}
        named = list(pods)
        for pod in named:
            change = {"metadata": {"labels": dict(labels)}}
            self._world.api.patch(path_of(("v1", "Pod"), self.namespace, pod), change)
            self._world.context.bus.emit(Changed("patch", f"Pod {self.namespace}/{pod}"))

        def seen() -> bool:
            found = (self._world.board.get("Pod", self.namespace, pod) for pod in named)
            have = [(pod["metadata"].get("labels") or {}) if pod else {} for pod in found]
            return all({k: v for k, v in have_.items() if k in labels} == wanted for have_ in have)

        self._await(seen, f"change of the labels of {', '.join(named)}")

    def set_ready(self, on: bool, *pods: str) -> None:
        """Turn the readiness of its own pods on or off, from inside them, and wait until their condition says so.

        Raises `CannotMeasure` when a pod's backend cannot be told, or its kubelet does not notice in time.
        """
        secret = self._world.context.secret
        for vantage in self.own_pods(*pods):
            answer = vantage.run(Series("ready", port=HTTP, secret=secret, more={"on": on})).probes[0].answer
            if answer.outcome != OK:
                raise CannotMeasure(f"the readiness of {vantage.pod} cannot be changed: {answer.detail}")
            self._world.context.bus.emit(
                Changed("ready" if on else "unready", f"Pod {self.namespace}/{vantage.pod}")
            )

        def noticed() -> bool:
            found = [self._world.board.get("Pod", self.namespace, pod) for pod in pods]
            return all(pod is not None and is_ready(pod) == on for pod in found)

        self._await(noticed, f"{'ready' if on else 'unready'} condition of {', '.join(pods)}")

    def _await(self, done: Callable[[], bool], what: str) -> None:
        limit = self._world.context.settings.world_deadline
        if not self._world.readiness().wait(done, limit):
            raise CannotMeasure(f"no {what} within {limit:.0f} s", "See `kubectl get pods`.")
        self.changed(ENDPOINTS)
