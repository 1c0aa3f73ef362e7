"""The standard streams of a container's own process: to its log, and to whoever is attached."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Any

from kubereach_lab.kubelet.logs import LogWriter

#: what an attached client may be behind before the container has to wait for it, in bytes
_BEHIND = 256 * 1024


async def pipe_writer(fd: int) -> asyncio.StreamWriter:
    """A writer that owns a descriptor."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(fd, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def set_terminal_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Console:
    """The streams of one run of a container; its `spec` says whether it has standard input and a terminal."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.tty = bool(spec.get("tty"))
        self._once = bool(spec.get("stdinOnce"))
        self._attached: set[Attachment] = set()
        #: our end of standard input, or of the terminal; -1 without
        self._input = -1
        if self.tty:
            self._input, theirs = os.openpty()
            self.theirs = [theirs, os.dup(theirs), os.dup(theirs)]
            self._outputs = {"stdout": os.dup(self._input)}
        else:
            if spec.get("stdin"):
                standard_input, self._input = os.pipe()
            else:
                standard_input = os.open(os.devnull, os.O_RDONLY)
            out_read, out_write = os.pipe()
            err_read, err_write = os.pipe()
            self.theirs = [standard_input, out_write, err_write]
            self._outputs = {"stdout": out_read, "stderr": err_read}
        self._takes_input = bool(spec.get("stdin"))

    def started(self) -> None:
        """The process has its descriptors, or never will: ours of them are closed."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def abandon(self) -> None:
        """Nothing was started."""
        for fd in self._outputs.values():
            os.close(fd)
        self.close_input()

    def follow(self, log: LogWriter) -> None:
        """The process runs: what it writes goes to `log` from now on."""
        self._log = log
        log.listen(self._wrote)
        for stream, fd in self._outputs.items():
            log.follow(fd, stream)

    def close_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def _wrote(self, stream: str, data: bytes) -> None:
        for attachment in tuple(self._attached):
            attachment.receive(stream, data)

    async def attach(self, ended: asyncio.Future[int], *, stdin: bool) -> Attachment:
        """Someone's view of these streams from now on; `ended` is the process' end."""
        writer = None
        if stdin and self._takes_input and self._input >= 0:
            writer = await pipe_writer(os.dup(self._input))
            if self._once and not self.tty:
                # the first to attach holds the only end: closing it ends the container's standard input
                self.close_input()
        attachment = Attachment(self, ended, writer)
        self._attached.add(attachment)
        return attachment

    def detach(self, attachment: Attachment) -> None:
        self._attached.discard(attachment)
        self.hold(attachment, waiting=False)

    def hold(self, attachment: Attachment, *, waiting: bool) -> None:
        """Makes the container wait for an attached client, or no longer."""
        self._log.hold(attachment, waiting=waiting)

    def resize(self, rows: int, columns: int) -> None:
        if self.tty and self._input >= 0:
            set_terminal_size(self._input, rows, columns)


class Attachment:
    """One attached client's streams, as `kubereach_lab.runtime.ExecProcess`."""

    def __init__(
        self, console: Console, ended: asyncio.Future[int], stdin: asyncio.StreamWriter | None
    ) -> None:
        self._console = console
        self._ended = ended
        self.stdin = stdin
        self.stdout = self._reader()
        self.stderr = None if console.tty else self._reader()

    def _reader(self) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(_BEHIND)
        reader.set_transport(_Held(lambda waiting: self._console.hold(self, waiting=waiting)))
        return reader

    def receive(self, stream: str, data: bytes) -> None:
        """What the container wrote; empty at the end of a stream."""
        reader = self.stderr if stream == "stderr" else self.stdout
        if reader is not None:
            reader.feed_data(data) if data else reader.feed_eof()

    def resize(self, rows: int, columns: int) -> None:
        self._console.resize(rows, columns)

    async def wait(self) -> int:
        """0 when the container has ended: its exit code is told by the pod's status."""
        await asyncio.shield(self._ended)
        return 0

    def kill(self) -> None:
        """Lets go of the container, which goes on."""
        self._console.detach(self)
        if self.stdin is not None:
            with contextlib.suppress(OSError):
                self.stdin.close()


class _Held(asyncio.ReadTransport):
    """Tells whether a reader has had enough."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        super().__init__()
        self._hold = hold

    def pause_reading(self) -> None:
        self._hold(True)

    def resume_reading(self) -> None:
        self._hold(False)
