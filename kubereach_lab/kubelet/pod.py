"""One pod on one node, from its binding to its end.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from kubereach_lab.kubelet.container import Container
from kubereach_lab.kubelet.processes import kill_leftovers
from kubereach_lab.kubelet.pulling import NEXT_LOOK
from kubereach_lab.kubelet.status import Object, conditions, phase
from kubereach_lab.kubelet.volumes import VolumeError, make_volumes
from kubereach_lab.status import StatusError
from kubereach_lab.times import now

if TYPE_CHECKING:
    from kubereach_lab.kubelet.kubelet import Kubelet

#: how often a volume whose source is missing is tried again, in seconds
_VOLUME_SECONDS = 0.5
_OVERDUE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class PodWorker:
    """Runs one pod: its sandbox, its containers and their probes; writes its status; ends it when it is deleted."""

    def __init__(self, kubelet: Kubelet, pod: Object) -> None:
        self.kubelet = kubelet
        self.pod = pod
        self.namespace = pod["metadata"]["namespace"]
        self.name = pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.folder: Path = kubelet.pods_folder / self.uid
        self.addresses: tuple[str, ...] = ()
        self.network = ""
        self.sandbox_ready = False
        self.volumes: dict[str, Path] = {}
        #: sessions that were begun in it, to be found at its end
        self.sessions: set[int] = set()
        first = pod["spec"].get("initContainers") or []
        waits = "PodInitializing" if first else "ContainerCreating"
        self.init = [Container(self, spec, init=True, waits=waits) for spec in first]
        self.containers = [
            Container(self, spec, init=False, waits=waits) for spec in pod["spec"]["containers"]
        ]
        #: it is to end
        self.ending = asyncio.Event()
        #: set, and replaced by another, when the pod's object has changed
        self.news = asyncio.Event()
        self._making: asyncio.Future[Path] | None = None
        self._status_written = False
        self._addresses_published = False
        #: nothing of it runs any more, so that its phase may be told
        self._over = False
        #: reason and message of its failure, if it is not its containers'
        self._failure: tuple[str, str] | None = None
        self._overdue = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._begun = asyncio.get_running_loop().time()
        self._set_deadline()
        self._task = asyncio.create_task(self._run())

    @property
    def host_network(self) -> bool:
        return bool(self.pod["spec"].get("hostNetwork"))

    @property
    def grace(self) -> float:
        """How long its containers may take to stop, in seconds."""
        seconds = self.pod["metadata"].get("deletionGracePeriodSeconds")
        return float(
            self.pod["spec"].get("terminationGracePeriodSeconds", 30) if seconds is None else seconds
        )

    def changed(self, pod: Object) -> None:
        """The pod's object has changed."""
        if pod["metadata"]["uid"] != self.uid:
            return
        before, self.pod = self.pod, pod
        self.news.set()
        self.news = asyncio.Event()
        self._set_deadline()
        if "deletionTimestamp" in pod["metadata"]:
            self.ending.set()
        elif self._status_written and self._gates(pod) != self._gates(before):
            self.write_status()

    def gone(self) -> None:
        """The pod's object was removed at once (grace 0): end without waiting for anybody."""
        self.ending.set()

    def _set_deadline(self) -> None:
        """activeDeadlineSeconds count from when the kubelet saw the pod, and may be made fewer."""
        if self._deadline is not None:
            self._deadline.cancel()
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_at(self._begun + seconds, self._overdue.set)

    @staticmethod
    def _gates(pod: Object) -> list[tuple[str, str]]:
        kinds = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []}
        return [
            (c["type"], c["status"])
            for c in pod.get("status", {}).get("conditions", [])
            if c["type"] in kinds
        ]

    def container(self, name: str) -> Container | None:
        return next((c for c in [*self.init, *self.containers] if c.name == name), None)

    # --- status

    def write_status(self) -> None:
        """Report what is true now. Nothing is written where nothing changed."""
        init, containers = [c.state for c in self.init], [c.state for c in self.containers]

        def mutate(pod: Object) -> None:
            status = pod.setdefault("status", {})
            new_phase = "Failed" if self._failure else phase(pod, init, containers)
            finished = new_phase in ("Succeeded", "Failed")
            if self._over and not finished:
                # deleted before its containers ran: what has ended is told to have (TerminatePod, kubernetes #115331)
                new_phase = "Failed"
            status["observedGeneration"] = pod["metadata"].get("generation", 1)
            status["conditions"] = conditions(pod, new_phase, self.sandbox_ready, init, containers)
            # while anything may still run, conditions tell the end and the phase does not
            if self._over or not finished:
                status["phase"] = new_phase
                if self._failure:
                    status["reason"], status["message"] = self._failure
            status |= self.host_addresses()
            status.setdefault("startTime", now())
            status |= self.pod_addresses()
            if init:
                status["initContainerStatuses"] = [state.as_status() for state in init]
            status["containerStatuses"] = [state.as_status() for state in containers]
            status.setdefault("resources", {})

        # Removed meanwhile, and perhaps followed by another of its name: there is nobody to report to.
        if not self._is_there():
            return
        with contextlib.suppress(StatusError):
            self.pod = self.kubelet.registry.update(
                "pods", self.namespace, self.name, mutate, subresource="status"
            )
        self._status_written = True

    def host_addresses(self) -> Object:
        """The node's addresses as a pod's status has them."""
        addresses = self.kubelet.network.addresses
        return {"hostIP": addresses[0], "hostIPs": [{"ip": address} for address in addresses]}

    def pod_addresses(self) -> Object:
        """The pod's own addresses as its status has them, nothing before they are known."""
        if not self.addresses or not self._addresses_published:
            return {}
        return {"podIP": self.addresses[0], "podIPs": [{"ip": address} for address in self.addresses]}

    def _is_there(self) -> bool:
        """Whether the API still has this pod, and not another one of its name."""
        current = self.kubelet.registry.find("pods", self.namespace, self.name)
        return current is not None and current["metadata"]["uid"] == self.uid

    def event(self, kind: str, reason: str, message: str, field_path: str = "") -> None:
        """Record an Event about the pod, or about the part of it that `field_path` names."""
        self.kubelet.registry.events.record(
            self.pod, kind, reason, message, "kubelet", host=self.kubelet.name, field_path=field_path
        )

    # --- life

    async def _run(self) -> None:
        life = asyncio.create_task(self._live())
        ending = asyncio.create_task(self.ending.wait())
        overdue = asyncio.create_task(self._overdue.wait())
        try:
            await asyncio.wait([life, ending, overdue], return_when=asyncio.FIRST_COMPLETED)
            if life.done() and life.exception() is not None:
                self.event("Warning", "FailedCreatePodSandBox", f"{life.exception()}")
            elif not ending.done():
                if not life.done():
                    await _cancelled(life)
                    self._failure = _OVERDUE
                    self.event("Normal", *_OVERDUE)
                await self._finish()
            await ending  # finished pods stay until somebody deletes them
            await _cancelled(life)
            await self._end()
        finally:
            for task in (ending, overdue):
                task.cancel()
            if self._deadline is not None:
                self._deadline.cancel()
            self.kubelet.forget(self)

    async def _live(self) -> None:
        self.write_status()  # seen by the kubelet
        await self._make_volumes()
        await self._make_sandbox()
        self.write_status()
        # a kubelet tells that there is a sandbox before it has read its addresses
        self._addresses_published = True
        sidecars = []
        try:
            for container in self.init:
                if container.sidecar:
                    sidecars.append(asyncio.create_task(container.keep()))
                    await container.up.wait()
                elif not await container.run_to_success():
                    return
                self.write_status()
            await asyncio.gather(*(container.keep() for container in self.containers))
        finally:
            for task in sidecars:
                task.cancel()

    async def _make_sandbox(self) -> None:
        network = self.kubelet.network
        if self.host_network:
            self.network, self.addresses = str(network.path), tuple(network.addresses)
        else:
            self.addresses = network.take_addresses()
            # Shielded: what a pod's deletion interrupts must all the same be known, to be undone.
            self._making = asyncio.ensure_future(network.add_pod(self.uid, self.addresses))
            self.network = str(await asyncio.shield(self._making))
        self.sandbox_ready = True

    async def _make_volumes(self) -> None:
        """Fill the volumes, waiting for what is missing as a kubelet does."""
        kubelet, reported = self.kubelet, False
        while True:
            try:
                self.volumes = make_volumes(
                    kubelet.registry, self.pod, self.folder / "volumes", kubelet.token, kubelet.ca
                )
            except VolumeError as error:
                if not reported:
                    self.event("Warning", "FailedMount", f"MountVolume.SetUp failed for {error}")
                    reported = True
                await asyncio.sleep(_VOLUME_SECONDS)
            else:
                return

    # --- the end

    async def _stop_containers(self) -> None:
        """Stop what runs, sidecars after the others and the latest first; all within the grace period."""
        running = [c for c in [*self.init, *self.containers] if c.process is not None]
        begun = asyncio.get_running_loop().time()
        for container in running:
            container.stop_probes()
        await asyncio.gather(*(c.stop(begun=begun) for c in running if not c.sidecar))
        for sidecar in reversed([c for c in running if c.sidecar]):
            await sidecar.stop(begun=begun)
        for container in running:
            process = container.process
            if process is not None:
                container.ended(process.exited.result())

    async def _finish(self) -> None:
        """All containers have ended for good, or have to: give back what they had, then tell the phase."""
        self.write_status()
        await self._stop_containers()
        await self._remove_sandbox()
        self._over = True
        self.write_status()

    async def _remove_sandbox(self) -> None:
        making, self._making = self._making, None
        if making is not None:
            await asyncio.wait([making])
            if making.exception() is None:
                self.network = str(making.result())
        await asyncio.to_thread(kill_leftovers, "" if self.host_network else self.network, self.sessions)
        if making is not None:
            await self.kubelet.network.remove_pod(self.uid, self.addresses)
        self.sandbox_ready = False

    async def _end(self) -> None:
        """Stop every container, then say so, free everything and remove the object."""
        if not self._over:
            # that it was seen to be deleted is told if stopping takes a while, since statuses are not written at once
            loop = asyncio.get_running_loop()
            status_write = loop.call_later(NEXT_LOOK, self.write_status)
            await self._stop_containers()
            status_write.cancel()
            await self._remove_sandbox()
            self._over = True
            self.write_status()
        await asyncio.to_thread(shutil.rmtree, self.folder, True)
        if self._is_there():
            with contextlib.suppress(StatusError):
                self.kubelet.registry.delete("pods", self.namespace, self.name, grace=0)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
