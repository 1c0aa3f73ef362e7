"""Starting processes through the fork server, and learning of their end."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kubereach_lab.sandbox import Sandbox


class StartError(Exception):
    """The program could not be started; the text is the container runtime's words."""


@dataclass
class Process:
    """A process in a container."""

    pid: int
    exited: asyncio.Future[int]


@dataclass(frozen=True)
class Command:
    """What to run, and in which sandbox: a new one, or that of the process `join`."""

    argv: Sequence[str]
    env: dict[str, str]
    cwd: str = ""
    sandbox: Sandbox | None = None
    join: int = 0
    tty: bool = False
    #: a Python script that the fork server may run itself: its path in the container, and where the lab has it
    script: tuple[str, str] | None = None
    #: a program of the lab's own, by name
    builtin: str = ""
    #: descriptors 0, 1, 2 of the process; a further one becomes 4
    fds: Sequence[int] = field(default_factory=tuple)


class Processes:
    """The client of the fork server."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._control.setblocking(False)
        self._next = 0
        self._starting: dict[int, asyncio.Future[Process]] = {}
        self._running: dict[int, asyncio.Future[int]] = {}
        self._killing: set[asyncio.Future[None]] = set()
        self._lock = asyncio.Lock()

    def begin(self) -> None:
        """Listen for answers; call it from the event loop."""
        asyncio.get_running_loop().add_reader(self._control, self._receive)

    def _receive(self) -> None:
        while True:
            try:
                data = self._control.recv(65536)
            except BlockingIOError:
                return
            if not data:
                os._exit(1)  # pid 1 is gone, and we with it
            message = json.loads(data)
            if "exit" in message:
                exited = self._running.pop(message["exit"], None)
                if exited is not None and not exited.done():
                    exited.set_result(message["code"])
            else:
                # Registered here, before any later message can say that it ended, and handed over whole: by the time
                # that whoever waits gets to run, the process may have ended.
                process = Process(message["pid"], asyncio.get_running_loop().create_future())
                self._running[process.pid] = process.exited
                waiting = self._starting.pop(message["id"])
                if waiting.cancelled():
                    self._discard(process)
                else:
                    waiting.set_result(process)

    def _discard(self, process: Process) -> None:
        """End a process that nobody waits for any more, such as that of a pod deleted while it was starting."""
        killing = asyncio.ensure_future(self.signal(process, signal.SIGKILL))
        self._killing.add(killing)
        killing.add_done_callback(self._killing.discard)

    async def start(self, command: Command) -> Process:
        """Start a process; returns when its program runs. The descriptors in `command.fds` stay the caller's.

        A process whose start is cancelled is killed.

        Raises:
            StartError: there is no such program, or the sandbox cannot be made.
        """
        loop = asyncio.get_running_loop()
        status_read, status_write = os.pipe()
        try:
            self._next += 1
            number = self._next
            request: dict[str, Any] = {
                "op": "start",
                "id": number,
                "argv": list(command.argv),
                "env": command.env,
                "cwd": command.cwd,
                "tty": command.tty,
                "builtin": command.builtin,
                "join": command.join,
                "sandbox": asdict(command.sandbox) if command.sandbox else None,
                "script": {"path": command.script[0], "source": command.script[1]}
                if command.script
                else None,
            }
            answer: asyncio.Future[Process] = loop.create_future()
            self._starting[number] = answer
            fds = [*command.fds[:3], status_write, *command.fds[3:]]
            await self._send(request, fds)
        finally:
            os.close(status_write)
        try:
            process = await answer
            error = await _read_all(status_read)
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._discard(answer.result())
            raise
        finally:
            os.close(status_read)
        if error:
            raise StartError(json.loads(error)["error"])
        return process

    async def _send(self, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        data = json.dumps(request).encode()
        loop = asyncio.get_running_loop()
        async with self._lock:
            while True:
                try:
                    self._control.sendmsg([data], ancillary)
                except BlockingIOError:
                    writable = loop.create_future()
                    loop.add_writer(self._control, writable.set_result, None)
                    try:
                        await writable
                    finally:
                        loop.remove_writer(self._control)
                else:
                    return

    async def signal(self, process: Process, number: int, *, group: bool = True) -> None:
        """Send a signal to a process (and its group), unless it has ended."""
        if not process.exited.done():
            await self._send({"op": "signal", "pid": process.pid, "signal": number, "group": group})


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _read_all(fd: int) -> bytes:
    """Read a pipe to its end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(fd, _resolve, readable)
            try:
                await readable
            finally:
                loop.remove_reader(fd)
            continue
        if not chunk:
            return data
        data += chunk


def kill_leftovers(network: str, sessions: set[int]) -> None:
    """Kill what a pod's containers left behind: processes in its network namespace or in sessions that it began."""
    with contextlib.suppress(OSError):
        inode = Path(network).stat().st_ino if network else 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in (1, os.getpid()):
                continue
            with contextlib.suppress(OSError):  # it ended meanwhile
                same_network = bool(network) and (entry / "ns/net").stat().st_ino == inode
                if same_network or os.getsid(int(entry.name)) in sessions:
                    os.kill(int(entry.name), signal.SIGKILL)
