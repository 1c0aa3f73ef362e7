"""One pod on one node, from its binding to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubereach.lab.kubelet import files
from kubereach.lab.kubelet.console import Console
from kubereach.lab.kubelet.environment import MissingReference, container_environment, expand
from kubereach.lab.kubelet.images import ImageError, entry_point
from kubereach.lab.kubelet.logs import LogWriter
from kubereach.lab.kubelet.probes import Prober, probe_once
from kubereach.lab.kubelet.processes import Command, Process, StartError, kill_leftovers
from kubereach.lab.kubelet.status import ContainerState, Object, conditions, now, phase
from kubereach.lab.kubelet.volumes import VolumeError, make_volumes
from kubereach.lab.sandbox import Mount, Sandbox, makes_room
from kubereach.lab.status import StatusError

if TYPE_CHECKING:
    from kubereach.lab.kubelet.kubelet import Kubelet

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIRST_BACK_OFF = 10.0
_LONGEST_BACK_OFF = 300.0
#: of a termination message; and of the log that stands for one
_MESSAGE_BYTES = 4096
_LOG_LINES, _LOG_BYTES = 80, 2048


@dataclass
class Container:
    """A container's spec, what is known of it, and its process while it runs."""

    spec: Object
    state: ContainerState
    process: Process | None = None
    console: Console | None = None
    starts: int = 0
    back_off: float = _FIRST_BACK_OFF
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.state.name


class PodWorker:
    """Runs one pod: its sandbox, its containers and their probes; writes its status; ends it when it is deleted."""

    def __init__(self, kubelet: Kubelet, pod: Object) -> None:
        self.kubelet = kubelet
        self.namespace = pod["metadata"]["namespace"]
        self.name = pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.folder: Path = kubelet.pods_folder / self.uid
        self.addresses: tuple[str, ...] = ()
        self.network = ""
        self.sandbox_ready = False
        self.init = [self._container(spec) for spec in pod["spec"].get("initContainers") or []]
        self.containers = [self._container(spec) for spec in pod["spec"]["containers"]]
        self.sessions: set[int] = set()
        self._making: asyncio.Future[Path] | None = None
        self._volumes: dict[str, Path] = {}
        self._pod = pod
        self._status_written = False
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @staticmethod
    def _container(spec: Object) -> Container:
        mounts = [
            {
                "name": mount["name"],
                "mountPath": mount["mountPath"],
                **({"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {}),
            }
            for mount in spec.get("volumeMounts") or []
        ]
        return Container(spec, ContainerState(spec["name"], spec["image"], mounts=mounts))

    @property
    def host_network(self) -> bool:
        return bool(self._pod["spec"].get("hostNetwork"))

    def changed(self, pod: Object) -> None:
        """The pod's object has changed."""
        if pod["metadata"]["uid"] != self.uid:
            return
        gates_before = self._gates(self._pod)
        self._pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._ending.set()
        elif self._status_written and self._gates(pod) != gates_before:
            self.write_status()

    def gone(self) -> None:
        """The pod's object was removed at once (grace 0): end without waiting for anybody."""
        self._ending.set()

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
            new_phase = phase(pod, init, containers)
            status["observedGeneration"] = pod["metadata"].get("generation", 1)
            status["conditions"] = conditions(pod, new_phase, self.sandbox_ready, init, containers)
            status["phase"] = new_phase
            status |= self._host_addresses()
            status.setdefault("startTime", now())
            status |= self._pod_addresses()
            if init:
                status["initContainerStatuses"] = [state.as_status() for state in init]
            status["containerStatuses"] = [state.as_status() for state in containers]
            status.setdefault("resources", {})

        # Removed meanwhile, and perhaps followed by another of its name: there is nobody to report to.
        if not self._is_there():
            return
        with contextlib.suppress(StatusError):
            self._pod = self.kubelet.registry.update(
                "pods", self.namespace, self.name, mutate, subresource="status"
            )
        self._status_written = True

    def _host_addresses(self) -> Object:
        addresses = self.kubelet.network.addresses
        return {"hostIP": addresses[0], "hostIPs": [{"ip": address} for address in addresses]}

    def _pod_addresses(self) -> Object:
        if not self.addresses:
            return {}
        return {"podIP": self.addresses[0], "podIPs": [{"ip": address} for address in self.addresses]}

    def _is_there(self) -> bool:
        """Whether the API still has this pod, and not another one of its name."""
        current = self.kubelet.registry.find("pods", self.namespace, self.name)
        return current is not None and current["metadata"]["uid"] == self.uid

    def event(self, kind: str, reason: str, message: str) -> None:
        self.kubelet.registry.record_event(self._pod, kind, reason, message, "kubelet")

    # --- life

    async def _run(self) -> None:
        life = asyncio.create_task(self._live())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait([life, ending], return_when=asyncio.FIRST_COMPLETED)
            if life.done() and life.exception() is not None:
                self.event("Warning", "FailedCreatePodSandBox", f"{life.exception()}")
                await ending
            elif life.done():
                await ending  # finished pods stay until somebody deletes them
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await self._end()
        finally:
            ending.cancel()
            self.kubelet.forget(self)

    async def _live(self) -> None:
        self.write_status()  # seen by the kubelet
        await self._make_sandbox()
        self.write_status()
        if not await self._make_volumes():
            return
        for container in self.init:
            if not await self._run_to_success(container):
                return
        await asyncio.gather(*(self._keep(container) for container in self.containers))

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

    async def _make_volumes(self) -> bool:
        """Fill the volumes, waiting for what is missing as a kubelet does; False if that cannot come."""
        said = False
        while True:
            try:
                self._volumes = make_volumes(
                    self.kubelet.registry,
                    self._pod,
                    self.folder / "volumes",
                    self.kubelet.token,
                    self.kubelet.ca,
                )
            except VolumeError as error:
                if not said:
                    self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                    self.write_status()
                    said = True
                await asyncio.sleep(0.5)
            else:
                return True

    async def _run_to_success(self, container: Container) -> bool:
        """Run an init container until it succeeds; False if it failed and may not be run again."""
        while True:
            code = await self._run_once(container)
            if code == 0:
                return True
            if self._pod["spec"].get("restartPolicy") == "Never":
                self.write_status()
                return False
            await self._back_off(container)

    async def _keep(self, container: Container) -> None:
        """Run a container, and again as restartPolicy says."""
        while True:
            code = await self._run_once(container)
            policy = self._pod["spec"].get("restartPolicy", "Always")
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                self.write_status()
                return
            await self._back_off(container)

    async def _run_once(self, container: Container) -> int:
        """Start a container and wait for its end; returns its exit code."""
        process = await self._start(container)
        self.write_status()
        self._start_probes(container)
        code = await asyncio.shield(process.exited)
        await self._ended(container, code)
        return code

    async def _ended(self, container: Container, code: int) -> None:
        for task in container.tasks:
            task.cancel()
        container.tasks = []
        container.process = None
        if container.console is not None:
            container.console.close_input()
            container.console = None
        state = container.state
        reason = "Completed" if code == 0 else "Error"
        message = self._last_word(container, code)
        state.ready = state.started = False
        state.state = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                **({"message": message} if message else {}),
                "startedAt": state.state.get("running", {}).get("startedAt"),
                "finishedAt": now(),
                "containerID": state.identity,
            }
        }

    def _last_word_path(self, container: str) -> Path:
        return self.folder / "termination" / container

    def _last_word(self, container: Container, code: int) -> str:
        """The termination message: what the container wrote into the file for it, or its log's end."""
        path = self._last_word_path(container.name)
        text = path.read_bytes()[:_MESSAGE_BYTES] if path.exists() else b""
        if not text and code and container.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            logged = self.log_path(container.name, container.starts - 1)
            lines = logged.read_bytes().splitlines() if logged.exists() else []
            said = [line.split(b" ", 3)[3] for line in lines[-_LOG_LINES:]]
            text = b"".join(line + b"\n" for line in said)[-_LOG_BYTES:]
        return text.decode(errors="replace")

    async def _back_off(self, container: Container) -> None:
        """Wait before the next start: at once the first time, then 10 s doubling to 5 min."""
        state = container.state
        if container.starts > 1:
            name = f"{self.name}_{self.namespace}({self.uid})"
            seconds = (
                f"{container.back_off:.0f}s"
                if container.back_off < 60
                else f"{container.back_off / 60:.0f}m0s"
            )
            message = f"back-off {seconds} restarting failed container={container.name} pod={name}"
            state.last, state.state = (
                state.state,
                {"waiting": {"reason": "CrashLoopBackOff", "message": message}},
            )
            self.write_status()
            self.event(
                "Warning", "BackOff", f"Back-off restarting failed container {container.name} in pod {name}"
            )
            await asyncio.sleep(container.back_off)
            container.back_off = min(2 * container.back_off, _LONGEST_BACK_OFF)
        else:
            self.write_status()
            state.last = state.state
        state.restarts += 1

    # --- containers

    async def _start(self, container: Container) -> Process:
        """Start a container's process, retrying for ever what a kubelet retries."""
        delay = 0.2
        while True:
            try:
                process = await self._start_process(container)
            except ImageError as error:
                self._waiting(container, "ErrImagePull", str(error))
                self.event("Warning", "Failed", f'Failed to pull image "{container.spec["image"]}": {error}')
                await asyncio.sleep(delay)
                self._waiting(
                    container,
                    "ImagePullBackOff",
                    f'Back-off pulling image "{container.spec["image"]}": {error}',
                )
            except StartError as error:
                message = f"failed to create shim task: OCI runtime create failed: {error}"
                self._waiting(container, "RunContainerError", message)
                self.event("Warning", "Failed", f"Error: {message}")
            except MissingReference as error:
                self._waiting(container, "CreateContainerConfigError", str(error))
                self.event("Warning", "Failed", f"Error: {error}")
            else:
                container.starts += 1
                container.process = process
                state = container.state
                state.identity = f"lab://{uuid.uuid4().hex}{uuid.uuid4().hex}"
                state.state = {"running": {"startedAt": now()}}
                state.started = "startupProbe" not in container.spec
                state.ready = state.started and "readinessProbe" not in container.spec
                return process
            await asyncio.sleep(delay)
            delay = min(2 * delay, 10.0)

    def _waiting(self, container: Container, reason: str, message: str) -> None:
        container.state.state = {"waiting": {"reason": reason, "message": message}}
        self.write_status()

    async def _start_process(self, container: Container) -> Process:
        spec = container.spec
        environment = self.environment(spec)
        command = [expand(word, environment) for word in spec.get("command") or []]
        args = [expand(word, environment) for word in spec.get("args") or []]
        builtin, argv = entry_point(spec["image"], command, args, self.kubelet.config.images)
        console = Console(spec)
        extra = await self.kubelet.feed_dns() if builtin == "dns" else None
        fds = [*console.theirs, *([extra.fileno()] if extra else [])]
        try:
            process = await self.kubelet.processes.start(
                Command(
                    argv,
                    environment,
                    cwd=spec.get("workingDir", ""),
                    sandbox=self._sandbox(spec),
                    script=self.script(spec, argv),
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
        self.sessions.add(process.pid)
        console.follow(LogWriter(self.log_path(container.name, container.starts)))
        container.console = console
        return process

    def log_path(self, container: str, number: int) -> Path:
        return self.folder / "logs" / container / f"{number}.log"

    def _sandbox(self, spec: Object) -> Sandbox:
        config, node = self.kubelet.config, self.kubelet.name
        mounts = []
        for mount in spec.get("volumeMounts") or []:
            source = self._volumes[mount["name"]]
            if mount.get("subPath"):
                source = source / mount["subPath"]
            mounts.append(Mount(str(source), mount["mountPath"], bool(mount.get("readOnly"))))
        if makes_room(spec["terminationMessagePath"]):
            last_word = self._last_word_path(spec["name"])
            last_word.parent.mkdir(parents=True, exist_ok=True)
            last_word.write_bytes(b"")
            last_word.chmod(0o666)
            mounts.append(Mount(str(last_word), spec["terminationMessagePath"]))
        name = files.host_name(config, self._pod, node)
        return Sandbox(
            self.network,
            name,
            {
                "/etc/resolv.conf": files.resolv_conf(config, self._pod),
                "/etc/hosts": files.hosts(config, self._pod, node, self.addresses),
                "/etc/hostname": f"{name}\n",
            },
            tuple(mounts),
        )

    def script(self, spec: Object, argv: list[str]) -> tuple[str, str] | None:
        """For ``python3 [-u] script ...`` with the script in a volume: its path in the container and in the lab."""
        if not argv or not Path(argv[0]).name.startswith("python3"):
            return None
        words = [word for word in argv[1:] if not word.startswith("-")]
        if not words or any(
            word not in ("-u", "-B", "-E", "-I", "-s") for word in argv[1 : argv.index(words[0])]
        ):
            return None
        for mount in spec.get("volumeMounts") or []:
            if words[0].startswith(mount["mountPath"].rstrip("/") + "/") and not mount.get("subPath"):
                inside = words[0][len(mount["mountPath"].rstrip("/")) + 1 :]
                return words[0], str(self._volumes[mount["name"]] / inside)
        return None

    def environment(self, spec: Object) -> dict[str, str]:
        """The container's environment. Raises MissingReference."""
        kubelet = self.kubelet
        base = {
            "PATH": _PATH,
            "HOSTNAME": files.host_name(kubelet.config, self._pod, kubelet.name),
            "HOME": "/",
            "KUBERNETES_SERVICE_HOST": kubelet.config.api_service_address,
            "KUBERNETES_SERVICE_PORT": "443",
        }
        known = self._pod_addresses() | self._host_addresses()
        pod = self._pod | {"status": self._pod.get("status", {}) | known}
        return container_environment(kubelet.registry, pod, spec, base)

    # --- probes

    def _start_probes(self, container: Container) -> None:
        spec, state = container.spec, container.state

        def started(_: bool) -> None:
            state.started = True
            state.ready = "readinessProbe" not in spec
            self.write_status()
            begin("readinessProbe", ready, False)
            begin("livenessProbe", alive, True)

        def ready(verdict: bool) -> None:
            state.ready = verdict
            self.write_status()

        def alive(verdict: bool) -> None:
            if not verdict and container.process is not None:
                self.event(
                    "Normal",
                    "Killing",
                    f"Container {container.name} failed liveness probe, will be restarted",
                )
                container.tasks.append(asyncio.create_task(self._stop_process(container)))

        def begin(kind: str, changed: Any, verdict: bool) -> None:
            probe = spec.get(kind)
            if probe:
                word = kind[: -len("Probe")].capitalize()
                process = container.process
                prober = Prober(
                    probe,
                    lambda: probe_once(
                        self.kubelet.network,
                        probe,
                        spec,
                        self.addresses[0],
                        lambda argv: self._execute(container, argv),
                    ),
                    lambda: container.process is process and not self._ending.is_set(),
                    changed,
                    lambda reason: self.event("Warning", "Unhealthy", f"{word} probe failed: {reason}"),
                )
                container.tasks.append(asyncio.create_task(prober.run(verdict)))

        if "startupProbe" in spec:
            begin("startupProbe", started, False)
        else:
            begin("readinessProbe", ready, False)
            begin("livenessProbe", alive, True)

    async def _execute(self, container: Container, argv: list[str]) -> int:
        """Run a command in the container, its output thrown away."""
        if container.process is None:
            return 1
        null = os.open(os.devnull, os.O_RDWR)
        try:
            process = await self.kubelet.processes.start(
                Command(
                    argv, self.environment(container.spec), join=container.process.pid, fds=[null, null, null]
                )
            )
        except StartError:
            return 127
        finally:
            os.close(null)
        self.sessions.add(process.pid)
        return await asyncio.shield(process.exited)

    # --- the end

    async def _stop_process(self, container: Container) -> None:
        """preStop, SIGTERM, and after the grace period SIGKILL."""
        process = container.process
        if process is None:
            return
        grace = self._pod["metadata"].get("deletionGracePeriodSeconds")
        if grace is None:
            grace = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        hook = (container.spec.get("lifecycle") or {}).get("preStop") or {}
        with contextlib.suppress(asyncio.TimeoutError):
            if "exec" in hook:
                await asyncio.wait_for(self._execute(container, hook["exec"]["command"]), max(grace, 0.001))
            elif "sleep" in hook:
                await asyncio.wait_for(asyncio.sleep(hook["sleep"]["seconds"]), max(grace, 0.001))
        await self.kubelet.processes.signal(process, signal.SIGTERM)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.exited), max(deadline - loop.time(), 0.002))
        if not process.exited.done():
            await self.kubelet.processes.signal(process, signal.SIGKILL)
            await asyncio.shield(process.exited)

    async def _end(self) -> None:
        """Stop every container, then say so, free everything and remove the object."""
        running = [c for c in [*self.init, *self.containers] if c.process is not None]
        for container in running:
            # A pod that is going is not made unready by its probes; the endpoints follow its deletion.
            for task in container.tasks:
                task.cancel()
        await asyncio.gather(*(self._stop_process(c) for c in running))
        for container in running:
            process = container.process
            if process is not None:
                await self._ended(container, process.exited.result())
        if self._making is not None:
            await asyncio.wait([self._making])
            if self._making.exception() is None:
                self.network = str(self._making.result())
        await asyncio.to_thread(kill_leftovers, "" if self.host_network else self.network, self.sessions)
        if self._making is not None:
            await self.kubelet.network.remove_pod(self.uid, self.addresses)
        self.sandbox_ready = False
        self.write_status()
        await asyncio.to_thread(shutil.rmtree, self.folder, True)
        if self._is_there():
            with contextlib.suppress(StatusError):
                self.kubelet.registry.delete("pods", self.namespace, self.name, grace=0)
