"""A runtime for tests: containers are nothing, exec starts local processes, logs are files in a folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from pathlib import Path

from kubereach_lab.runtime import CommandNotFound, PortClosed
from kubereach_lab.status import Object


class LocalProcess:
    """A local process as `kubereach_lab.runtime.ExecProcess`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self.stdin: asyncio.StreamWriter | None = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr

    def resize(self, rows: int, columns: int) -> None:
        return None

    async def wait(self) -> int:
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)


class TerminalProcess(LocalProcess):
    """With a pseudo-terminal, whose size the client sets."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        master: int,
        stdout: asyncio.StreamReader,
        stdin: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._master = master
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = None

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class _TerminalReader(asyncio.StreamReader):
    """Reading a terminal whose other end is closed is an error, not an end: made one here."""

    def set_exception(self, exc: BaseException) -> None:
        self.feed_eof()


class FakeRuntime:
    """Implements `kubereach_lab.runtime.Runtime`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[LocalProcess] = []
        self.ports: dict[int, int] = {}

    async def exec(
        self, pod: Object, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> LocalProcess:
        pipe = asyncio.subprocess.PIPE
        try:
            if tty:
                process = await self._terminal(command)
            else:
                process = LocalProcess(
                    await asyncio.create_subprocess_exec(
                        *command,
                        stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
                        stdout=pipe,
                        stderr=pipe,
                    )
                )
        except FileNotFoundError as error:
            text = f'exec: "{command[0]}": stat {command[0]}: no such file or directory'
            raise CommandNotFound(text) from error
        self.started.append(process)
        return process

    async def _terminal(self, command: list[str]) -> TerminalProcess:
        loop = asyncio.get_running_loop()
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        reader = _TerminalReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(master, "rb", buffering=0)
        )
        protocol_factory = asyncio.streams.FlowControlMixin
        transport, protocol = await loop.connect_write_pipe(
            protocol_factory, os.fdopen(os.dup(master), "wb", buffering=0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        return TerminalProcess(process, master, reader, writer)

    async def attach(self, pod: Object, container: str, *, stdin: bool) -> LocalProcess:
        return await self.exec(pod, container, ["cat"], stdin=stdin, tty=False)

    def log_file(self, pod: Object, container: str, *, previous: bool = False) -> Path | None:
        path = self.folder / f"{pod['metadata']['name']}-{container}{'.previous' if previous else ''}.log"
        return path if path.exists() else None

    async def dial(
        self, pod: Object, port: int, *, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.ports.get(port, 1))

    async def dial_loopback(
        self, pod: Object, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await self.dial(pod, port)
        except OSError as error:
            raise PortClosed(f"error forwarding port {port}: {error}") from error
