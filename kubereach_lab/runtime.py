"""What the API server asks of whoever runs the pods: start a process in a container, read its log, dial it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from kubereach_lab.status import Object


class CommandNotFound(Exception):
    """The command of an exec cannot be started; the text is the container runtime's.

    For example ``exec: "/nosuch": stat /nosuch: no such file or directory``.
    """


class PortClosed(Exception):
    """Nothing takes a connection to a pod's loopback; the text is the container runtime's."""


class ExecProcess(Protocol):
    """A process started inside a container, or one attached to. `stderr` is None when it has a terminal."""

    @property
    def stdin(self) -> asyncio.StreamWriter | None: ...
    @property
    def stdout(self) -> asyncio.StreamReader: ...
    @property
    def stderr(self) -> asyncio.StreamReader | None: ...

    def resize(self, rows: int, columns: int) -> None:
        """Tells the terminal its size; nothing happens without one."""

    async def wait(self) -> int:
        """The exit code; 128 + n when signal n ended it."""

    def kill(self) -> None:
        """Ends the process at once; nothing happens if it has ended."""


class Runtime(Protocol):
    """The container runtime of all nodes."""

    async def exec(
        self, pod: Object, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> ExecProcess:
        """Starts `command` beside the container's own process. Raises `CommandNotFound`."""

    async def attach(self, pod: Object, container: str, *, stdin: bool) -> ExecProcess:
        """The streams of a container's own process, from now on; its `wait` returns 0 when it has ended.

        `kill` leaves it alone. Raises `CommandNotFound` when it does not run.
        """

    def log_file(self, pod: Object, container: str, *, previous: bool = False) -> Path | None:
        """The log, each line ``RFC3339Nano stdout|stderr F|P text`` as CRI writes it; None if there is none."""

    async def dial(
        self, pod: Object, port: int, *, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to `port` of the pod, with TLS that trusts any certificate if `tls`.

        Raises `OSError` if nothing listens there, `ssl.SSLError` if it speaks no TLS.
        """

    async def dial_loopback(
        self, pod: Object, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to `port` of the pod's own localhost. Raises `PortClosed`."""
