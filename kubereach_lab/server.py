"""The lab's server: one asyncio process that is API server, controllers, kubelets and service proxies."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import sys
from collections.abc import Coroutine
from typing import Any

from kubereach_lab.api.server import ApiServer
from kubereach_lab.config import LabConfig
from kubereach_lab.controllers.base import Controller
from kubereach_lab.controllers.daemonset import DaemonSetController
from kubereach_lab.controllers.deployment import DeploymentController
from kubereach_lab.controllers.disruption import DisruptionController
from kubereach_lab.controllers.endpoints import EndpointsCleaner, EndpointSliceController
from kubereach_lab.controllers.garbage import GarbageCollector
from kubereach_lab.controllers.job import JobController
from kubereach_lab.controllers.loadbalancer import LoadBalancerController
from kubereach_lab.controllers.mirroring import EndpointsMirror
from kubereach_lab.controllers.namespaces import NamespaceController
from kubereach_lab.controllers.nodes import CordonController
from kubereach_lab.controllers.replicaset import ReplicaSetController
from kubereach_lab.controllers.scheduler import Scheduler
from kubereach_lab.controllers.statefulset import StatefulSetController
from kubereach_lab.dns.feeder import DnsFeeder
from kubereach_lab.endpointslices import slices_of
from kubereach_lab.faults import Faults
from kubereach_lab.kubelet.heartbeat import Heartbeat
from kubereach_lab.kubelet.kubelet import Kubelet
from kubereach_lab.kubelet.processes import Processes
from kubereach_lab.kubelet.runtime import LabRuntime
from kubereach_lab.network import NodeNetwork
from kubereach_lab.outside import Outside, attach_node
from kubereach_lab.paths import RUN
from kubereach_lab.pki import Pki
from kubereach_lab.proxy.node import ServiceProxy
from kubereach_lab.registry import Registry
from kubereach_lab.system import create_system

log = logging.getLogger(__name__)


class LabServer:
    """All parts of a lab and how they are put together."""

    def __init__(self, config: LabConfig, processes: Processes) -> None:
        self.config = config
        self.processes = processes
        self.registry = Registry(config)
        self.outside = Outside(config)
        self.networks = [NodeNetwork(config, number) for number in range(config.nodes)]
        self.proxies = [ServiceProxy(config, network, self.registry) for network in self.networks]
        self.feeder = DnsFeeder(config, self.registry)
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        names += [f"kubernetes.default.svc.{config.cluster_domain}", "localhost", config.node_names[0]]
        addresses = [plan.node_address(0) for plan in config.plans]
        self.pki = Pki([*addresses, config.api_service_address, "127.0.0.1"], names)
        self.kubelets: list[Kubelet] = []
        self.controllers: list[Controller] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Bring everything up; returns when the system pods are Ready."""
        self.processes.begin()
        await self.outside.start()
        await asyncio.gather(*(network.start() for network in self.networks))
        for network in self.networks:
            await self.outside.do(attach_node, network)
        ca, token = self.pki.ca_pem.decode(), self.pki.pod_token
        folder = RUN / "pods"
        self.kubelets = [
            Kubelet(
                self.config, network, self.registry, self.processes, self.feeder.attach, folder, ca, token
            )
            for network in self.networks
        ]
        load_balancer = LoadBalancerController(self.config, self.registry, self.outside)
        self.controllers = [
            NamespaceController(self.registry, ca),
            Scheduler(self.registry),
            ReplicaSetController(self.registry),
            DeploymentController(self.registry),
            StatefulSetController(self.registry),
            DaemonSetController(self.registry),
            JobController(self.registry),
            EndpointSliceController(self.registry),
            EndpointsCleaner(self.registry),
            EndpointsMirror(self.registry),
            DisruptionController(self.registry),
            GarbageCollector(self.registry),
            CordonController(self.registry),
            load_balancer,
        ]
        create_system(self.config, self.registry)
        self._keep(Heartbeat(self.registry).run())
        for controller in self.controllers:
            self._keep(controller.run())
        self._keep(load_balancer.announce())
        runtime = LabRuntime(self.kubelets, self.processes)
        api = ApiServer(self.registry, runtime, self.pki, self.config)
        listener = await self.networks[0].listen("", self.config.api_port, dual_stack=self.config.has_ipv6)
        await asyncio.gather(*(proxy.start() for proxy in self.proxies), api.start(listener))
        for proxy in self.proxies:
            self._keep(proxy.run())
        await self._system_ready()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a part for ever; if it ends, the lab does, since half a cluster proves nothing."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._part_ended)
        self._tasks.append(task)

    @staticmethod
    def _part_ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("a part of the lab ended", exc_info=task.exception())
            os._exit(1)

    async def _system_ready(self) -> None:
        """Wait until the DNS replicas are endpoints of their Service."""
        changed = asyncio.Event()
        unsubscribe = self.registry.subscribe(lambda *_: changed.set())
        try:
            while True:
                changed.clear()
                slices = slices_of(self.registry, "kube-system", "kube-dns")
                ready = [e for s in slices for e in s.get("endpoints") or [] if e["conditions"]["ready"]]
                if len(ready) == 2:
                    break
                await changed.wait()
        finally:
            unsubscribe()
        await asyncio.gather(*(proxy.settled() for proxy in self.proxies))


def serve(settings: dict[str, Any], control: socket.socket, fork_server: socket.socket) -> None:
    """Be the lab's server until the process is killed. `control` is told ``{"ready": true}``, or what went wrong."""
    logging.basicConfig(level=os.environ.get("KUBEREACH_LAB_DEBUG", "WARNING"), stream=sys.stderr)
    settings["node_port_range"] = tuple(settings["node_port_range"])
    settings["faults"] = Faults(settings["faults"])

    gc.disable()  # what it takes to come up stays: nothing of it is garbage

    async def main() -> None:
        try:
            server = LabServer(LabConfig(**settings), Processes(fork_server))
            await server.start()
            _write_kubeconfig(server)
        except Exception as error:
            log.exception("the lab did not come up")
            control.send(json.dumps({"error": f"the lab did not come up: {error}"}).encode())
            raise
        gc.freeze()
        gc.enable()
        control.send(json.dumps({"ready": True}).encode())
        await asyncio.Event().wait()

    asyncio.run(main())


def _write_kubeconfig(server: LabServer) -> None:
    """The admin's kubeconfig, with its certificates beside it.

    References instead of embedded data, because clients write what is embedded to files of their own, which outlive
    them when they are killed. They are relative, so that they hold from inside and from outside the lab.
    """
    files = {
        "ca.crt": server.pki.ca_pem,
        "client.crt": server.pki.client_pem,
        "client.key": server.pki.client_key_pem,
        "kubeconfig": _KUBECONFIG.format(url=server.config.api_url).encode(),
    }
    for name, content in files.items():
        path = RUN / name
        path.touch(0o600)
        path.write_bytes(content)


_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: kubereach-lab
clusters:
- name: kubereach-lab
  cluster: {{server: "{url}", certificate-authority: ca.crt}}
contexts:
- name: kubereach-lab
  context: {{cluster: kubereach-lab, user: kubernetes-admin}}
users:
- name: kubernetes-admin
  user: {{client-certificate: client.crt, client-key: client.key}}
"""
