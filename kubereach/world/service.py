"""A Service as checks handle it: its addresses, its names, and who must answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach import names
from kubereach.address import Address
from kubereach.api import Object, object_path, path_of
from kubereach.check import LOADBALANCER
from kubereach.cluster import Node
from kubereach.diagnosis.finding import BALANCER
from kubereach.endpointslices import slices_of
from kubereach.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.events import Changed
from kubereach.outcome import OK
from kubereach.settling import CHANGED, DELETED, ENDPOINTS, Settling
from kubereach.vantage import Series, Vantage, VantageGroup
from kubereach.vantage.vantage import POD
from kubereach.world.board import is_ready
from kubereach.world.clients import EVERYBODY, ranges_of
from kubereach.world.family import InFamily
from kubereach.world.matching import differences
from kubereach.world.pending import diagnose
from kubereach.world.readiness import Readiness
from kubereach.world.self_balancer import CLEANUP, ingress_of, write_ingress
from kubereach.world.workload import Workload

if TYPE_CHECKING:
    from kubereach.world.world import World

#: the port on which our backends take HTTP, see manifests/backend.yaml
_HTTP = 8080


class Service:
    """A Service of the world, or one that a check has made. What it says is always what the API says now."""

    def __init__(self, world: World, created: Object, settled: float, written: Iterable[str] = ()) -> None:
        self._world = world
        self._created = created
        #: time.monotonic() until which the data plane may take to follow the last change
        self.settled = settled
        self._written = frozenset(written)
        self._pending = ""

    def __repr__(self) -> str:
        return f"<Service {self.namespace}/{self.name}>"

    # what it is

    @property
    def obj(self) -> Object:
        """The object as the API has it; as it last was, once it is gone."""
        return self._live() or self._created

    def _live(self) -> Object | None:
        """The object on the board, unless that is another one of the same name, made before or after."""
        meta = self._created["metadata"]
        found = self._world.board.get("Service", meta["namespace"], meta["name"])
        return found if found and found["metadata"]["uid"] == meta["uid"] else None

    @property
    def name(self) -> str:
        return str(self._created["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self._created["metadata"]["namespace"])

    @property
    def type(self) -> str:
        return str(self.obj["spec"].get("type", "ClusterIP"))

    @property
    def is_headless(self) -> bool:
        return bool(self.obj["spec"].get("clusterIP") == "None")

    @property
    def external_name(self) -> str:
        """spec.externalName, with the final dot, in lower case."""
        return str(self.obj["spec"].get("externalName", "")).rstrip(".").lower() + "."

    @property
    def cluster_ips(self) -> frozenset[str]:
        spec = self.obj["spec"]
        found = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
        return frozenset(ip for ip in found if ip and ip != "None")

    def records(self, rdtype: str) -> frozenset[str]:
        """Its cluster IPs as A or AAAA records; empty for the family that it does not have."""
        return frozenset(ip for ip in self.cluster_ips if (":" in ip) == (rdtype == "AAAA"))

    @property
    def cluster_ip(self) -> str:
        """The first cluster IP; empty when there is none."""
        ip = str(self.obj["spec"].get("clusterIP", ""))
        return "" if ip == "None" else ip

    @property
    def selector(self) -> dict[str, str]:
        """Its selector: another Service with the same one has all of its endpoints from the first moment on."""
        return dict(self.obj["spec"].get("selector") or {})

    @property
    def affinity_timeout(self) -> int:
        """sessionAffinityConfig.clientIP.timeoutSeconds; 0 when there is none."""
        config = self.obj["spec"].get("sessionAffinityConfig") or {}
        return int((config.get("clientIP") or {}).get("timeoutSeconds") or 0)

    @property
    def node_ports(self) -> tuple[int, ...]:
        return tuple(p["nodePort"] for p in self.obj["spec"].get("ports", []) if p.get("nodePort"))

    def _port(self, name: str) -> Object:
        ports: list[Object] = self.obj["spec"].get("ports", [])
        for port in ports:
            if not name or port.get("name") == name:
                return port
        raise CannotMeasure(f"the Service {self.namespace}/{self.name} has no port {name or 'at all'}")

    def port(self, name: str = "") -> int:
        """The number of the named port, or of the first."""
        return int(self._port(name)["port"])

    def node_port(self, name: str = "") -> int:
        """The node port of the named port, or of the first. Raises `NotConforming` when the cluster gave none."""
        number = self._port(name).get("nodePort")
        if not number:
            # whoever provides load balancers may be the one who asks for none
            layer = BALANCER if self.type == "LoadBalancer" else ""
            where = f"{self.type} Service {self.name}"
            raise NotConforming([Failure("API", where, "a node port", "none allocated", layer=layer)])
        return int(number)

    # addresses

    def _address(self, way: str, host: str, port: Object, number: int, note: str = "") -> Address:
        # the protocol that a backend speaks on the port is told by its name, see manifests/backend.yaml
        kind = {"UDP": "udp", "SCTP": "sctp"}.get(
            port.get("protocol", "TCP"), "tcp" if port.get("name", "").startswith("line") else "http"
        )
        return Address(way, kind, host, number, self.settled, note, targets=self._targets(port))

    def _targets(self, port: Object) -> tuple[tuple[str, int], ...]:
        """The number that targetPort means at each of its pods: a name means what the pod gives it to."""
        target = port.get("targetPort", port["port"])
        found = []
        for pod in self._pods():
            declared = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
            named = [p["containerPort"] for p in declared if p.get("name") == target]
            number = target if isinstance(target, int) else named[0] if named else 0
            found.append((str(pod["metadata"]["name"]), int(number)))
        return tuple(sorted(found))

    def vip(self, port: str = "") -> Address:
        """The cluster IP and port. Raises `NotConforming` when the Service has no cluster IP."""
        if not self.cluster_ip:
            raise NotConforming([Failure("API", f"Service {self.name}", "a cluster IP", "none allocated")])
        found = self._port(port)
        return self._address("clusterip", self.cluster_ip, found, found["port"], self.name)

    def on(self, node: Node, port: str = "") -> Address:
        """The node port on a node's address."""
        return self._address(
            "nodeport", node.address, self._port(port), self.node_port(port), f"{self.name} on {node.short}"
        )

    def on_localhost(self, port: str = "") -> Address:
        """The node port on the loopback address of whoever tries it."""
        return self._address("nodeport", "127.0.0.1", self._port(port), self.node_port(port), self.name)

    def health_check_on(self, node: Node) -> Address:
        """Its health-check node port on a node's address. Raises `NotConforming` when the cluster gave none."""
        number = self.obj["spec"].get("healthCheckNodePort")
        if not number:
            raise NotConforming(
                [Failure("API", f"Service {self.name}", "a health-check node port", "none allocated")]
            )
        return Address(
            "health-check", "http", node.address, int(number), self.settled, f"{self.name} on {node.short}"
        )

    def external_ip(self, port: str = "") -> Address:
        """The first of its external addresses."""
        found = self._port(port)
        return self._address(
            "external-ip", self.obj["spec"]["externalIPs"][0], found, found["port"], self.name
        )

    def on_each(self, nodes: Iterable[Node], port: str = "") -> list[Address]:
        """The node port on each node's address."""
        return [self.on(node, port) for node in nodes]

    def other_ways(self, nodes: Iterable[Node]) -> list[Address]:
        """The ways to it beside the load balancer's address: its cluster IP, and node ports if it has any."""
        return [self.vip(), *(self.on_each(nodes) if self.node_ports else ())]

    def by_name(self, name: str, port: str = "") -> Address:
        """`name`, resolved by the vantage itself, and the Service's port."""
        found = self._port(port)
        return self._address(self.way, name, found, found["port"])

    def ingress(self, port: str = "") -> Address:
        """The load balancer's address; waits for one. Raises `Unsupported` or `NotConforming` when none comes."""
        found = self._port(port)
        return self._address("loadbalancer", self.load_balancer_address(), found, found["port"], self.name)

    def ingress_if_any(self, port: str = "", within: float = 3.0) -> list[Address]:
        """The load balancer's address if it has one within so many seconds: nothing is said if it has none."""
        self._world.board.wait(lambda: bool(self._assigned()), within)
        return [self.ingress(port)] if self._assigned() else []

    def formerly(self, addresses: Iterable[Address]) -> list[Address]:
        """Addresses that it had before its last change, which the data plane may take a while to follow."""
        return [replace(address, settled=self.settled) for address in addresses]

    @property
    def way(self) -> str:
        """The way of reaching that this Service's name stands for."""
        if self.type == "ExternalName":
            return "externalname"
        return "headless" if self.is_headless else "clusterip"

    @property
    def families(self) -> tuple[str, ...]:
        """Its IP families, the primary one first, by the cluster IPs that it has; if it has none, by its spec."""
        spec = self.obj["spec"]
        ips = [ip for ip in spec.get("clusterIPs") or () if ip != "None"]
        return tuple("IPv6" if ":" in ip else "IPv4" for ip in ips) or tuple(spec.get("ipFamilies") or ())

    def must_have(self, *families: str) -> None:
        """Its cluster IPs are of these families, in this order. Raises `NotConforming`."""
        if not self._world.board.wait(lambda: self.families == families, 2):
            had = ", ".join(self.families) or "none"
            asked = f"cluster IPs of {', '.join(families)}"
            raise NotConforming([Failure("API", f"Service {self.name}", asked, had)])

    @property
    def second(self) -> InFamily:
        """Its addresses of the second IP family. Raises `NotConforming` when it has one family only."""
        if len(self.families) < 2:
            had = ", ".join(self.families)
            raise NotConforming([Failure("API", f"Service {self.name}", "two IP families", had or "none")])
        return InFamily(self, self.families[1])

    # names

    @property
    def fqdn(self) -> str:
        return names.fqdn(self.name, self.namespace, self._world.cluster.domain)

    @property
    def qualified(self) -> tuple[str, ...]:
        """Every form of its name that must work from any namespace."""
        return names.qualified(self.name, self.namespace, self._world.cluster.domain)

    @property
    def reverse(self) -> str:
        """The name of its cluster IP's PTR record."""
        return names.reverse(self.cluster_ip)

    @property
    def namespace_search(self) -> tuple[str, ...]:
        """The search list of pods in its namespace, as dnsPolicy ClusterFirst asks for it."""
        return names.search_list(self.namespace, self._world.cluster.domain)

    def srv(self, port: str = "", protocol: str = "") -> str:
        """The name of a named port's SRV records."""
        found = self._port(port)
        protocol = protocol or found.get("protocol", "TCP")
        return names.srv(found["name"], protocol, self.name, self.namespace, self._world.cluster.domain)

    def member(self, pod: str) -> str:
        """The name of one pod of a StatefulSet behind this headless Service."""
        return f"{pod}.{self.fqdn}"

    # who must answer

    def _pods(self) -> list[Object]:
        selector = self.obj["spec"].get("selector")
        if not selector:
            return []
        every = self.obj["spec"].get("publishNotReadyAddresses", False)
        found = []
        for pod in self._world.board.all("Pod", self.namespace):
            labels = pod["metadata"].get("labels") or {}
            if all(labels.get(key) == value for key, value in selector.items()):
                there = every and pod["status"].get("podIP") and not pod["metadata"].get("deletionTimestamp")
                if there or is_ready(pod):
                    found.append(pod)
        return found

    @property
    def endpoints(self) -> frozenset[str]:
        """Names of the pods that must serve: selected and ready. Read from the pods, not from EndpointSlices."""
        return frozenset(pod["metadata"]["name"] for pod in self._pods())

    @property
    def addresses(self) -> frozenset[str]:
        """Their addresses; of a Service without a selector, those of the EndpointSlices in its manifest."""
        return self._written or frozenset(pod["status"]["podIP"] for pod in self._pods())

    @property
    def address_of(self) -> dict[str, str]:
        """Address of each of its pods, by name."""
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in self._pods()}

    @property
    def pod_ips(self) -> dict[str, tuple[str, ...]]:
        """All addresses of each of its pods, by name."""
        return {
            pod["metadata"]["name"]: tuple(one["ip"] for one in pod["status"].get("podIPs") or ())
            for pod in self._pods()
        }

    @property
    def endpoints_by_node(self) -> dict[str, frozenset[str]]:
        """Names of the pods that must serve, by the node that they are on; nodes without any are left out."""
        found: dict[str, frozenset[str]] = {}
        for pod in self._pods():
            node = str(pod["spec"].get("nodeName", ""))
            found[node] = found.get(node, frozenset()) | {pod["metadata"]["name"]}
        return found

    @property
    def listed(self) -> frozenset[str]:
        """Addresses in its EndpointSlices, whatever their conditions, as the API has them now."""
        slices = slices_of(self._world.api, self.namespace, self.name)
        return frozenset(
            address
            for part in slices
            for endpoint in part.get("endpoints") or []
            for address in endpoint["addresses"]
        )

    def mismatches(self) -> list[str]:
        """Which labels keep pods from being its endpoints, in lines; see `kubereach.world.matching`."""
        return differences(
            self.obj["spec"].get("selector") or {}, self._world.board.all("Pod", self.namespace)
        )

    @property
    def workload(self) -> Workload:
        """The Deployment of its name, which came with it."""
        return Workload(self._world, self)

    def each_pod(self, port: str = "") -> list[Address]:
        """The named port of each of its pods, at the pod's own address: nothing is translated on the way."""
        of, found = self.address_of, self.vip(port)
        return [
            replace(found, way="pod", host=of[pod], port=number, note=pod, targets=())
            for pod, number in found.targets
        ]

    def each_pod_by_node(self, port: str = "") -> dict[str, list[Address]]:
        """The same, by the node that the pod is on."""
        by_name = {address.note: address for address in self.each_pod(port)}
        return {node: [by_name[pod] for pod in sorted(pods)] for node, pods in self.endpoints_by_node.items()}

    def own_pods(self, *names_: str) -> VantageGroup:
        """Vantages inside its own pods (all, or the named ones, ready or not)."""
        chosen = [
            pod
            for pod in self._world.board.all("Pod", self.namespace)
            if pod["metadata"]["name"] in (names_ or self.endpoints)
        ]
        return self._world.vantages(chosen, POD, labelled=True)

    # load balancer

    def load_balancer_address(self) -> str:
        """The address in status.loadBalancer, waited for by watch up to ``load_balancer_deadline`` seconds.

        Raises `Unsupported` when no controller took charge of the Service, `NotConforming` when one did and failed.
        A verdict once found is not waited for again.
        """
        if self._pending:
            raise Unsupported(self._pending, feature=LOADBALANCER)

        if not self._assigned():
            limit = self._world.context.settings.load_balancer_deadline
            if not self._world.board.wait(lambda: bool(self._assigned()), limit):
                self._no_address(limit)
            self.changed()
        return self._assigned()

    def _assigned(self) -> str:
        """What status.loadBalancer has now; "" if nothing."""
        given = ingress_of(self.obj) or [{}]
        return str(given[0].get("ip") or given[0].get("hostname") or "")

    def _no_address(self, waited: float) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        found = self._world.api.find(path, fieldSelector=f"involvedObject.name={self.name}") or {}
        said = [f"{event.get('reason')}: {event.get('message')}" for event in found.get("items") or ()]
        pending = diagnose(self._world.api)
        taken = CLEANUP in (self.obj["metadata"].get("finalizers") or ())
        if said or taken:
            raise NotConforming(
                [
                    Failure(
                        "API",
                        f"LoadBalancer Service {self.name}",
                        f"an address within {waited:.0f} s",
                        "still pending, though a controller has taken charge of it",
                        (*(said or ["no event says why"]), *pending.lines, pending.remedy),
                        layer=BALANCER,
                    )
                ]
            )
        self._pending = (
            f"after {waited:.0f} s no address, no event and no finalizer; {'; '.join(pending.lines)}. "
            f"{pending.remedy}"
        )
        raise Unsupported(self._pending, feature=LOADBALANCER)

    # changes

    def changed(self, what: str = CHANGED) -> None:
        """From now on the data plane has the whole deadline to converge again; `what` is told by reports."""
        self.settled = Settling.after(what, self._world.context.settings.converge_deadline)

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
        kind = ("discovery.k8s.io/v1", "EndpointSlice")
        endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
        self._world.api.patch(
            path_of(kind, self.namespace, f"{self.name}-{number}"), {"endpoints": endpoints}
        )
        self._world.context.bus.emit(Changed("patch", f"EndpointSlice {self.namespace}/{self.name}-{number}"))
        self._written = frozenset(addresses)
        self.changed(ENDPOINTS)

    def become_cluster_ip(self) -> None:
        """Turn it into type ClusterIP and wait until the API shows no node port any more."""
        ports = [{k: v for k, v in p.items() if k != "nodePort"} for p in self.obj["spec"]["ports"]]
        self.patch({"spec": {"type": "ClusterIP", "ports": ports}})
        self._world.board.wait(lambda: self.type == "ClusterIP", 5)

    def seen(self) -> bool:
        """Whether the watch has shown it yet."""
        return self._live() is not None

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
        nonce = self._world.context.nonce
        for vantage in self.own_pods(*pods):
            answer = vantage.run(Series("ready", port=_HTTP, nonce=nonce, more={"on": on})).probes[0].answer
            if answer.outcome != OK:
                raise CannotMeasure(f"the readiness of {vantage.pod} cannot be changed: {answer.detail}")
            self._world.context.bus.emit(
                Changed("ready" if on else "unready", f"Pod {self.namespace}/{vantage.pod}")
            )

        def noticed() -> bool:
            found = [self._world.board.get("Pod", self.namespace, pod) for pod in pods]
            return all(pod is not None and is_ready(pod) == on for pod in found)

        self._await(noticed, f"{'ready' if on else 'unready'} condition of {', '.join(pods)}")

    def scale(self, replicas: int) -> None:
        """Scale the Deployment of the Service's name and wait until just so many pods are ready."""
        path = path_of(("apps/v1", "Deployment"), self.namespace, self.name)
        self._world.api.patch(path, {"spec": {"replicas": replicas}})
        self._world.context.bus.emit(Changed("patch", f"Deployment {self.namespace}/{self.name}"))
        self._await(lambda: len(self.endpoints) == replicas, f"{replicas} ready pods of {self.name}")

    def replace_pods(self, *chosen: str) -> None:
        """Delete the named pods, or all that serve, and wait until as many others are ready in their place."""
        before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self._pods()}
        old = {before[name] for name in (chosen or before)}
        for name in chosen or before:
            self._world.api.delete(path_of(("v1", "Pod"), self.namespace, name), gracePeriodSeconds=1)
            self._world.context.bus.emit(Changed("delete", f"Pod {self.namespace}/{name}"))

        def replaced() -> bool:
            now = {pod["metadata"]["uid"] for pod in self._pods()}
            return len(now) == len(before) and not now & old

        self._await(replaced, f"replacements of the pods of {self.name}")

    def _await(self, done: Callable[[], bool], what: str) -> None:
        limit = self._world.context.settings.world_deadline
        if not Readiness(self._world.board, self._world.api).wait(done, limit):
            raise CannotMeasure(f"no {what} within {limit:.0f} s", "See `kubectl get pods`.")
        self.changed(ENDPOINTS)
