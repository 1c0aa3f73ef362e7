"""One container of a pod: started, restarted with back-off, probed and stopped.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-states
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubereach_lab.kubelet import command
from kubereach_lab.kubelet.console import Console
from kubereach_lab.kubelet.environment import MissingReference, expand
from kubereach_lab.kubelet.images import ImageError
from kubereach_lab.kubelet.logs import LogWriter
from kubereach_lab.kubelet.probing import Probing
from kubereach_lab.kubelet.processes import Command, Process, StartError
from kubereach_lab.kubelet.pulling import NEXT_LOOK, no_image, pull
from kubereach_lab.kubelet.status import ContainerState, Object
from kubereach_lab.times import now

if TYPE_CHECKING:
    from kubereach_lab.kubelet.pod import PodWorker

_FIRST_BACK_OFF = 10.0
_LONGEST_BACK_OFF = 300.0
#: a container that ran that long begins anew with the shortest back-off, in seconds
_FORGIVEN_AFTER = 600.0
#: of a probe's output, in bytes
_LONGEST_OUTPUT = 10 * 1024
#: the exit code of a container whose command could not be started
_NOT_STARTED = 128
_NEVER = "1970-01-01T00:00:00Z"


class Container:
    """A container's spec, what is known of it, and its process while it runs."""

    def __init__(self, worker: PodWorker, spec: Object, *, init: bool, waits: str) -> None:
        """`waits` is the reason that it waits for before it is its turn."""
        mounts = [
            {
                "name": mount["name"],
                "mountPath": mount["mountPath"],
                **({"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {}),
            }
            for mount in spec.get("volumeMounts") or []
        ]
        self.worker = worker
        self.spec = spec
        self.init = init
        #: an init container that goes on beside the others (KEP-753)
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        waiting = {"waiting": {"reason": waits}}
        self.state = ContainerState(spec["name"], spec["image"], waiting, mounts=mounts, sidecar=self.sidecar)
        #: it has started, as far as its startup probe says
        self.up = asyncio.Event()
        self.process: Process | None = None
        self.console: Console | None = None
        self.starts = 0
        self._begun = 0.0
        self._back_off = _FIRST_BACK_OFF
        self._probing: Probing | None = None

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def ready_without_probe(self) -> bool:
        """Whether it is ready as soon as it has started: without a probe, and unless it is to end first."""
        return "readinessProbe" not in self.spec and (self.sidecar or not self.init)

    def event(self, kind: str, reason: str, message: str) -> None:
        """Record an Event about this container of the pod."""
        field = "initContainers" if self.init else "containers"
        self.worker.event(kind, reason, message, field_path=f"spec.{field}{{{self.name}}}")

    def log_path(self, number: int) -> Path:
        """Where the output of a run is, counted from 0."""
        return self.worker.folder / "logs" / self.name / f"{number}.log"

    def environment(self) -> dict[str, str]:
        """The container's environment. Raises MissingReference."""
        return command.environment(self.worker, self.spec)

    # --- running

    async def run_to_success(self) -> bool:
        """Run an init container until it succeeds; False if it failed and may not be run again."""
        while True:
            if await self._run_once() == 0:
                self.state.ready = True
                return True
            if self.worker.pod["spec"].get("restartPolicy") == "Never":
                return False
            await self._wait_before_restart()

    async def keep(self) -> None:
        """Run a container, and again as restartPolicy says."""
        while True:
            code = await self._run_once()
            policy = "Always" if self.sidecar else self.worker.pod["spec"].get("restartPolicy", "Always")
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                self.worker.write_status()
                return
            await self._wait_before_restart()

    async def _run_once(self) -> int:
        """Start a container and wait for its end; returns its exit code."""
        process = await self._start()
        if process is None:
            return _NOT_STARTED
        self.worker.write_status()
        self._probing = Probing(self)
        self._probing.begin()
        code = await asyncio.shield(process.exited)
        self.ended(code)
        return code

    def ended(self, code: int) -> None:
        """Its process has ended."""
        self.stop_probes()
        self.process = None
        if self.console is not None:
            self.console.close_input()
            self.console = None
        message = command.last_word(self.worker, self.spec, self.log_path(self.starts - 1), code)
        self._terminated(
            code,
            "Completed" if code == 0 else "Error",
            message,
            self.state.state.get("running", {}).get("startedAt"),
        )

    def _terminated(self, code: int, reason: str, message: str, started: str | None) -> None:
        state = self.state
        state.ready = state.started = False
        state.state = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                **({"message": message} if message else {}),
                "startedAt": started,
                "finishedAt": now(),
                "containerID": state.identity,
            }
        }

    def stop_probes(self) -> None:
        """A pod that is going is not made unready by its probes; the endpoints follow its deletion."""
        if self._probing is not None:
            self._probing.end()
            self._probing = None

    async def _wait_before_restart(self) -> None:
        """Wait before the next start: at once the first time, then 10 s doubling to 5 min."""
        state = self.state
        self.worker.write_status()
        if "terminated" in state.state:
            state.last = state.state
        if self.starts > 1:
            if asyncio.get_running_loop().time() - self._begun > _FORGIVEN_AFTER:
                self._back_off = _FIRST_BACK_OFF
            where = f"{self.worker.name}_{self.worker.namespace}({self.worker.uid})"
            if "terminated" in state.state:
                text = f"back-off {_duration(self._back_off)} restarting failed container={self.name} pod={where}"
                state.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
                self.worker.write_status()
            text = f"Back-off restarting failed container {self.name} in pod {where}"
            self.event("Warning", "BackOff", text)
            await asyncio.sleep(self._back_off)
            self._back_off = min(2 * self._back_off, _LONGEST_BACK_OFF)
        state.restarts += 1

    # --- starting

    async def _start(self) -> Process | None:
        """Start a container's process, retrying for ever what a kubelet retries; None if its command cannot run."""
        delay, pause = _FIRST_BACK_OFF, NEXT_LOOK
        while True:
            try:
                builtin, argv = pull(self)
                process = await self._start_process(builtin, argv)
            except ImageError as error:
                await no_image(self, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_BACK_OFF)
            except MissingReference as error:
                self.waiting("CreateContainerConfigError", str(error))
                self.event("Warning", "Failed", f"Error: {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _FIRST_BACK_OFF)
            except StartError as error:
                self._not_started(error)
                return None
            else:
                self._begin(process)
                return process

    def waiting(self, reason: str, message: str) -> None:
        """Report why it does not run."""
        self.state.state = {"waiting": {"reason": reason, "message": message}}
        self.worker.write_status()

    def _begin(self, process: Process) -> None:
        state, self.process = self.state, process
        self.event("Normal", "Created", "Container created")
        self.event("Normal", "Started", "Container started")
        self._counted()
        state.state = {"running": {"startedAt": now()}}
        state.started = "startupProbe" not in self.spec
        state.ready = state.started and self.ready_without_probe

    def _counted(self) -> None:
        self.starts += 1
        self._begun = asyncio.get_running_loop().time()
        self.state.identity = f"lab://{uuid.uuid4().hex}{uuid.uuid4().hex}"

    def _not_started(self, error: StartError) -> None:
        """The container was made, but its command could not be started."""
        message = (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            f"failed: unable to start container process: {error}"
        )
        self.event("Normal", "Created", "Container created")
        self.event("Warning", "Failed", f"Error: {message}")
        self._counted()
        self._terminated(_NOT_STARTED, "StartError", message, _NEVER)
        if self.worker.pod["spec"].get("restartPolicy") != "Never":
            self.state.last = self.state.state
            self.state.state = {"waiting": {"reason": "RunContainerError", "message": message}}

    async def _start_process(self, builtin: str, argv: list[str]) -> Process:
        worker, spec = self.worker, self.spec
        environment = self.environment()
        argv = [expand(word, environment) for word in argv]
        console = Console(spec)
        extra = await worker.kubelet.feed_dns() if builtin == "dns" else None
        fds = [*console.theirs, *([extra.fileno()] if extra else [])]
        try:
            process = await worker.kubelet.processes.start(
                Command(
                    argv,
                    environment,
                    cwd=spec.get("workingDir", ""),
                    sandbox=command.sandbox(worker, spec),
                    script=command.script(worker, spec, argv),
                    builtin=builtin,
                    tty=console.tty,
                    fds=fds,
                )
            )
        except BaseException:
            console.abandon()
            raise
        finally:
            console.started()
            if extra:
                extra.close()
        worker.sessions.add(process.pid)
        console.follow(LogWriter(self.log_path(self.starts)))
        self.console = console
        return process

    async def execute(self, argv: list[str]) -> tuple[int, str]:
        """Run a command in the container; its exit code and what it wrote."""
        if self.process is None:
            return 1, ""
        null, output = os.open(os.devnull, os.O_RDONLY), os.memfd_create("output")
        try:
            process = await self.worker.kubelet.processes.start(
                Command(argv, self.environment(), join=self.process.pid, fds=[null, output, output])
            )
            self.worker.sessions.add(process.pid)
            code = await asyncio.shield(process.exited)
            return code, os.pread(output, _LONGEST_OUTPUT, 0).decode(errors="replace")
        except StartError as error:
            return 127, str(error)
        finally:
            os.close(null)
            os.close(output)

    # --- the end

    async def stop(self, why: str = "", begun: float | None = None) -> None:
        """preStop, SIGTERM, and after the grace period SIGKILL; `why` if it is not the pod's end.

        The grace period counts from `begun`, or from now.
        """
        process = self.process
        if process is None:
            return
        self.event("Normal", "Killing", why or f"Stopping container {self.name}")
        loop = asyncio.get_running_loop()
        begun = loop.time() if begun is None else begun
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        with contextlib.suppress(asyncio.TimeoutError):
            most = max(self.worker.grace, 0.001)
            if "exec" in hook:
                await asyncio.wait_for(self.execute(hook["exec"]["command"]), most)
            elif "sleep" in hook:
                await asyncio.wait_for(asyncio.sleep(hook["sleep"]["seconds"]), most)
        await self.worker.kubelet.processes.signal(process, signal.SIGTERM)
        # the grace period may be made shorter while it lasts
        while not process.exited.done():
            left = begun + self.worker.grace - loop.time()
            news = asyncio.ensure_future(self.worker.news.wait())
            either: list[asyncio.Future[Any]] = [process.exited, news]
            await asyncio.wait(either, timeout=max(left, 0.002), return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if begun + self.worker.grace <= loop.time():
                break
        if not process.exited.done():
            await self.worker.kubelet.processes.signal(process, signal.SIGKILL)
            await asyncio.shield(process.exited)


def _duration(seconds: float) -> str:
    """As Go writes it: ``10s``, ``2m40s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
