"""Containers' output, kept as container runtimes keep it: one line each, ``time stream F text``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

_LONGEST = 16 * 1024


class LogWriter:
    """Reads a container's two output pipes into its log file, until both are closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._open = 0
        self._partial: dict[int, bytes] = {}
        self._following: dict[int, bytes] = {}
        self._listener: Callable[[str, bytes], None] | None = None
        self._waiting_for: set[Hashable] = set()

    def listen(self, listener: Callable[[str, bytes], None]) -> None:
        """Tell `listener` also all that is read: the stream's name and the bytes, empty at its end."""
        self._listener = listener

    def hold(self, who: Hashable, *, waiting: bool) -> None:
        """Read nothing while anybody waits, so that the container does; its pipes fill up."""
        before = bool(self._waiting_for)
        (self._waiting_for.add if waiting else self._waiting_for.discard)(who)
        loop = asyncio.get_running_loop()
        for fd, stream in self._following.items():
            if self._waiting_for and not before:
                loop.remove_reader(fd)
            elif before and not self._waiting_for:
                loop.add_reader(fd, self._read, fd, stream)

    def follow(self, fd: int, stream: str) -> None:
        """Take over a pipe's read end."""
        os.set_blocking(fd, False)
        self._open += 1
        self._partial[fd] = b""
        self._following[fd] = stream.encode()
        asyncio.get_running_loop().add_reader(fd, self._read, fd, stream.encode())

    def _read(self, fd: int, stream: bytes) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # so a terminal ends
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        *lines, rest = (self._partial[fd] + data).split(b"\n")
        out = [b"%b %b F %b\n" % (now, stream, line) for line in lines]
        if rest and (not data or len(rest) > _LONGEST):
            out.append(b"%b %b P %b\n" % (now, stream, rest))
            rest = b""
        self._partial[fd] = rest
        if out:
            self._file.write(b"".join(out))
        if not data:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
            del self._following[fd]
            self._open -= 1
            if self._open == 0:
                self._file.close()
        if self._listener is not None:
            self._listener(stream.decode(), data)
