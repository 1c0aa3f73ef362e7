"""What the API server asks of the nodes: exec, logs, connections to pods."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from kubereach_lab.kubelet import loopback
from kubereach_lab.kubelet.command import script
from kubereach_lab.kubelet.console import Attachment, pipe_writer, set_terminal_size
from kubereach_lab.kubelet.kubelet import Kubelet
from kubereach_lab.kubelet.pod import PodWorker
from kubereach_lab.kubelet.processes import Command, Process, Processes, StartError
from kubereach_lab.kubelet.status import Object
from kubereach_lab.kubelet.trust import any_certificate
from kubereach_lab.runtime import CommandNotFound, PortClosed


class Execution:
    """A process started by exec, with its streams."""

    def __init__(self, processes: Processes, process: Process, terminal: int | None) -> None:
        self._processes = processes
        self._process = process
        self._terminal = terminal
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout = asyncio.StreamReader()
        self.stderr: asyncio.StreamReader | None = None

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal is not None:
            set_terminal_size(self._terminal, rows, columns)

    def follow_terminal(self, fd: int) -> None:
        """Take over a terminal's master side and feed what comes from it; its end shows as EIO."""
        os.set_blocking(fd, False)
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.stdout.feed_data(data)
            else:
                loop.remove_reader(fd)
                self._terminal = None
                os.close(fd)
                self.stdout.feed_eof()

        loop.add_reader(fd, readable)

    async def wait(self) -> int:
        return await asyncio.shield(self._process.exited)

    def kill(self) -> None:
        self._killing = asyncio.ensure_future(self._processes.signal(self._process, signal.SIGKILL))


class LabRuntime:
    """The `Runtime` of all nodes."""

    def __init__(self, kubelets: Sequence[Kubelet], processes: Processes) -> None:
        self._kubelets = kubelets
        self._processes = processes

    def _worker(self, pod: Object) -> PodWorker | None:
        uid = pod["metadata"]["uid"]
        return next((k.workers[uid] for k in self._kubelets if uid in k.workers), None)

    async def exec(
        self, pod: Object, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Execution:
        """Start a command in a running container. Raises CommandNotFound."""
        worker = self._worker(pod)
        found = worker.container(container) if worker else None
        if worker is None or found is None or found.process is None:
            raise CommandNotFound(f"container {container} is not running")
        environment = found.environment()
        if tty:
            return await self._with_terminal(
                worker, found.process, command, environment | {"TERM": "xterm"}, stdin
            )
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            process = await self._processes.start(
                Command(
                    command,
                    environment,
                    join=found.process.pid,
                    cwd=found.spec.get("workingDir", ""),
                    script=script(worker, found.spec, command),
                    fds=[in_read, out_write, err_write],
                )
            )
        except StartError as error:
            for fd in (in_write, out_read, err_read):
                os.close(fd)
            raise CommandNotFound(str(error)) from error
        finally:
            for fd in (in_read, out_write, err_write):
                os.close(fd)
        worker.sessions.add(process.pid)
        execution = Execution(self._processes, process, None)
        execution.stdout = await _reader(out_read)
        execution.stderr = await _reader(err_read)
        if stdin:
            execution.stdin = await pipe_writer(in_write)
        else:
            os.close(in_write)
        return execution

    async def _with_terminal(
        self, worker: PodWorker, target: Process, command: list[str], environment: dict[str, str], stdin: bool
    ) -> Execution:
        ours, theirs = os.openpty()
        try:
            process = await self._processes.start(
                Command(command, environment, join=target.pid, tty=True, fds=[theirs, theirs, theirs])
            )
        except StartError as error:
            os.close(ours)
            raise CommandNotFound(str(error)) from error
        finally:
            os.close(theirs)
        worker.sessions.add(process.pid)
        execution = Execution(self._processes, process, ours)
        if stdin:
            execution.stdin = await pipe_writer(os.dup(ours))
        execution.follow_terminal(ours)
        return execution

    async def attach(self, pod: Object, container: str, *, stdin: bool) -> Attachment:
        """The streams of a running container from now on. Raises CommandNotFound."""
        worker = self._worker(pod)
        found = worker.container(container) if worker else None
        if found is None or found.process is None or found.console is None:
            raise CommandNotFound(f"container {container} is not running")
        return await found.console.attach(found.process.exited, stdin=stdin)

    def log_file(self, pod: Object, container: str, *, previous: bool = False) -> Path | None:
        """The newest log of a container, or that of its run before."""
        worker = self._worker(pod)
        found = worker.container(container) if worker else None
        if worker is None or found is None:
            return None
        number = max(found.starts - 1, 0) - (1 if previous else 0)
        path = found.log_path(number)
        return path if number >= 0 and path.exists() else None

    async def dial(
        self, pod: Object, port: int, *, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a pod from its node. Raises OSError."""
        for kubelet in self._kubelets:
            if kubelet.name == pod["spec"].get("nodeName"):
                connection = await kubelet.network.connect(pod["status"]["podIP"], port)
                if not tls:
                    return await asyncio.open_connection(sock=connection)
                return await asyncio.open_connection(
                    sock=connection, ssl=any_certificate(), server_hostname=""
                )
        raise OSError(f"pod {pod['metadata']['name']} is on no node")

    async def dial_loopback(
        self, pod: Object, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a pod's localhost. Raises PortClosed."""
        worker = self._worker(pod)
        if worker is None or not worker.sandbox_ready:
            raise PortClosed(f'failed to find sandbox "{pod["metadata"]["uid"]}" in store: not found')
        network = worker.kubelet.network
        connection = await loopback.connect(network, Path(worker.network), worker.uid, port)
        return await asyncio.open_connection(sock=connection)


async def _reader(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    return reader
