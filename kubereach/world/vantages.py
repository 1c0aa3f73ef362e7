"""The places of a run that probes start from: pods, nodes, outside."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of
from kubereach.model.check import OTHER_NAMESPACE as SECOND_NAMESPACE
from kubereach.model.check import OUTSIDE as OUTSIDE_FEATURE
from kubereach.model.ip import first_of
from kubereach.probe import Vantage, VantageGroup
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.program import FOLDER
from kubereach.probe.remote import CommandVantage, further_outsides
from kubereach.probe.streams import ExecStream, ProcessStream, Stream
from kubereach.probe.vantage import NODE, OTHER_NAMESPACE, OUTSIDE, POD, OutsideVantage
from kubereach.world.connection import Connection
from kubereach.world.manifests import CONTAINER
from kubereach.world.namespaces import Namespaces
from kubereach.world.proxy_mode import proxy_modes


class Vantages:
    """A run's vantages, which are opened once its pods are there."""

    def __init__(self, connection: Connection, namespaces: Namespaces, access: ClusterAccess) -> None:
        self._connection = connection
        self._context = connection.context
        self._namespaces = namespaces
        self._access = access
        self._multiplexer: Multiplexer | None = None
        #: by the pods' uids
        self._opened: dict[str, Vantage] = {}
        self.pods = self.other_pods = self.nodes = VantageGroup(())
        #: this machine, and with --outside-via a group of it and further ones
        self.outside: Vantage | VantageGroup = VantageGroup(())
        #: all of these that there are
        self.all: tuple[Vantage, ...] = ()

    def open(self, forbidden: Mapping[tuple[str, str], str]) -> None:
        """Open all streams. `forbidden` has the reasons why workloads, by namespace and name, have no pods."""
        multiplexer = Multiplexer()
        self._multiplexer = multiplexer
        settings = self._context.settings
        program = [sys.executable, "-u", str(FOLDER), "probe", "--in-flight", str(settings.in_flight)]
        via = self._access.outside_via
        here = (
            CommandVantage(via, multiplexer, self._context, label=OUTSIDE)
            if via
            else OutsideVantage(OUTSIDE, "", lambda: ProcessStream(program), multiplexer, self._context)
        )
        outsides = further_outsides(settings.outside_via, multiplexer, self._context)
        if not self._access.no_outside:
            outsides.insert(0, here)
        for vantage in outsides:
            vantage.is_inside = self._connection.cluster.owns
        lacking = "" if outsides else self._access.no_outside
        self.outside = (
            outsides[0] if len(outsides) == 1 else VantageGroup(outsides, lacking, feature=OUTSIDE_FEATURE)
        )
        self.pods = self._group(self._namespaces.services, "client", POD)
        self.other_pods = (
            VantageGroup((), why, feature=SECOND_NAMESPACE)
            if (why := self._namespaces.no_other)
            else self._group(self._namespaces.other, "other-client", OTHER_NAMESPACE)
        )
        no_nodes = forbidden.get((self._namespaces.nodes, "node"), "")
        self.nodes = (
            VantageGroup((), no_nodes) if no_nodes else self._group(self._namespaces.nodes, "node", NODE)
        )
        others = () if self._namespaces.no_other else self.other_pods
        self.all = (*self.pods, *others, *(() if no_nodes else self.nodes), *outsides)
        VantageGroup(self.all).open()

    def close(self) -> None:
        """Whoever waits for a probe gets `CannotMeasure`; may be called twice."""
        if self._multiplexer is not None:
            self._multiplexer.stop()
            self._multiplexer = None

    def _group(self, namespace: str, app: str, kind: str) -> VantageGroup:
        pods = [
            p
            for p in self._connection.watch_cache.all("Pod", namespace)
            if (p["metadata"].get("labels") or {}).get("app") == app
        ]
        return self.in_pods(pods, kind)

    def in_pods(self, pods: Sequence[Object], kind: str, *, labelled: bool = False) -> VantageGroup:
        """Vantages in the given pods, in the order of nodes; a pod's stream is opened once and then used again.

        `labelled` puts the pod's own name into the vantage's.
        """
        order = {node.name: index for index, node in enumerate(self._connection.cluster.nodes)}
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
        short = next((n.short for n in self._connection.cluster.nodes if n.name == node), node)
        limit = str(self._context.settings.in_flight)
        command = ["python3", "-u", "/kubereach", "probe", "--in-flight", limit]

        def open_stream() -> Stream:
            # a part of `exec_timeout`, so that there is time for another attempt
            timeout = self._context.settings.exec_timeout / Vantage.attempts
            return ExecStream(self._connection.api.exec(namespace, name, CONTAINER, command, timeout))

        multiplexer = self._multiplexer
        assert multiplexer is not None
        return Vantage(
            kind,
            node,
            open_stream,
            multiplexer,
            self._context,
            pod=name,
            namespace=namespace,
            address=first_of(addresses_of(pod), self._connection.cluster.ip_version),
            label=f"{name}@{short}" if labelled else f"{kind}@{short}",
        )

    def proxy_mode(self, node: str) -> str:
        """What the kube-proxy of a node says of its mode; "" where it does not, or where we are not on nodes."""
        for vantage in self.nodes if len(self.nodes) else ():
            if vantage.node == node:
                return proxy_modes([vantage])[vantage]
        return ""
