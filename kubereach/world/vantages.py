"""The places of a run that probes start from: pods, nodes, outside."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kubereach.kube.access import ClusterAccess
from kubereach.kube.client import Object
from kubereach.kube.endpoints import addresses_of
from kubereach.model.check import OTHER_NAMESPACE as SECOND_NAMESPACE
from kubereach.model.check import OUTSIDE as OUTSIDE_FEATURE
from kubereach.model.events import Bus
from kubereach.model.ip import first_of
from kubereach.model.settings import Settings
from kubereach.probe import Vantage, VantageGroup
from kubereach.probe.multiplexer import Wire
from kubereach.probe.program import FOLDER
from kubereach.probe.remote import CommandVantage, further_outsides
from kubereach.probe.streams import ExecStream, ProcessStream, Stream
from kubereach.probe.vantage import NODE, OTHER_NAMESPACE, OUTSIDE, POD, OutsideVantage
from kubereach.world.connected import Connected
from kubereach.world.manifests import CONTAINER
from kubereach.world.proxy_mode import proxy_modes
from kubereach.world.readiness import Readiness


class Vantages(Connected):
    """A run with its vantages, which are opened once the pods are there."""

    def __init__(self, access: ClusterAccess, settings: Settings, bus: Bus) -> None:
        super().__init__(access, settings, bus)
        self._wire: Wire | None = None
        self._opened: dict[str, Vantage] = {}
        self.pods = self.other_pods = self.nodes = VantageGroup(())
        #: this machine, and with --outside-via a group of it and further ones
        self.outside: Vantage | VantageGroup = VantageGroup(())

    def _open_vantages(self, readiness: Readiness) -> None:
        wire = Wire()
        self._wire = wire
        settings = self.context.settings
        program = [sys.executable, "-u", str(FOLDER), "probe", "--in-flight", str(settings.in_flight)]
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
        command = ["python3", "-u", "/kubereach", "probe", "--in-flight", limit]

        def open_stream() -> Stream:
            # a part of `exec_timeout`, so that there is time for another attempt
            timeout = self.context.settings.exec_timeout / Vantage.attempts
            return ExecStream(self.api.exec(namespace, name, CONTAINER, command, timeout))

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
            address=first_of(addresses_of(pod), self.cluster.ip_version),
            label=f"{name}@{short}" if labelled else f"{kind}@{short}",
        )

    def _proxy_mode(self, node: str) -> str:
        """What the kube-proxy of a node says of its mode; "" where it does not, or where we are not on nodes."""
        for vantage in self.nodes if len(self.nodes) else ():
            if vantage.node == node:
                return proxy_modes([vantage])[vantage]
        return ""
