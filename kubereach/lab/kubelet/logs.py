"""Containers' output, kept as container runtimes keep it: one line each, ``time stream F text``."""

from __future__ import annotations

import asyncio
import os
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

    def follow(self, fd: int, stream: str) -> None:
        """Take over a pipe's read end."""
        os.set_blocking(fd, False)
        self._open += 1
        self._partial[fd] = b""
        asyncio.get_running_loop().add_reader(fd, self._read, fd, stream.encode())

    def _read(self, fd: int, stream: bytes) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
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
            self._open -= 1
            if self._open == 0:
                self._file.close()
