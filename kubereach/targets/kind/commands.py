"""Running kind and the container engine: what they say is kept, and Ctrl-C is for us alone."""

from __future__ import annotations

import contextlib
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubereach.model.errors import CannotMeasure

#: seconds that a command which is told to end may take to do so, before it is killed
_PATIENCE = 3.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def line(self) -> str:
        """The command in short: ``kind create cluster``."""
        verbs = [word for word in self.words[1:] if not word.startswith(("-", "{"))]
        return " ".join([Path(self.words[0]).name, *verbs[:2]])

    @property
    def output(self) -> str:
        """Everything that it wrote, its errors last."""
        return f"{self.out}\n{self.err}".strip()


#: seconds after which whoever waits for a command is told again that it goes on
TICK = 0.5


def _ignored(line: str) -> None:
    """Nobody wants to know as they come."""


def idle() -> None:
    """Nobody has anything to do meanwhile."""


#: replaces itself by a command that the kernel kills when its parent dies, which outlasts exec (prctl(2)); Linux alone
_MORTAL = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def mortal(words: Sequence[str]) -> list[str]:
    """The same command, but it does not outlive this process, however that ends; where there is no Linux, as it is."""
    if platform.system() != "Linux":
        return list(words)
    return [sys.executable, "-I", "-S", "-c", _MORTAL, str(os.getpid()), *words]


def run(
    words: Sequence[str],
    deadline: float,
    on_line: Callable[[str], None] = _ignored,
    meanwhile: Callable[[], None] = idle,
    *,
    outlives: bool = True,
) -> Done:
    """Run a command to its end; `heard` gets the lines of its standard error as they come.

    `meanwhile` is called every `TICK` seconds or more often.

    It has a session of its own, so that Ctrl-C reaches us first: whatever ends the wait ends the command too; unless it
    `outlives` us, SIGKILL of us does so as well. Raises `CannotMeasure` when it cannot be started, and when it has not
    ended after `deadline` seconds.
    """
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(
                words if outlives else mortal(words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotMeasure(
                f"cannot start {words[0]}: {error.strerror}",
                "It must be an executable program for this machine.",
            ) from error
        try:
            err = _listen(process, time.monotonic() + deadline, on_line, meanwhile)
        except BaseException:
            _end(process)
            raise
        finally:
            assert process.stderr is not None
            process.stderr.close()
        done = Done(tuple(words), process.returncode or 0, "", err)
        if process.returncode is None:
            _end(process)
            raise CannotMeasure(
                f"`{done.line}` did not end within {deadline:.0f} s",
                "On a slow machine or network raise --set cluster_deadline=1800.",
            )
        out.seek(0)
        return Done(done.words, done.code, out.read().decode(errors="replace"), err)


def _listen(
    process: subprocess.Popen[bytes],
    deadline: float,
    on_line: Callable[[str], None],
    meanwhile: Callable[[], None],
) -> str:
    """Its standard error until it ends or the deadline has come."""
    assert process.stderr is not None
    whole, rest = b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            meanwhile()
            if not selector.select(min(left, TICK)):
                continue
            data = os.read(process.stderr.fileno(), 1 << 16)
            if not data:
                break
            whole += data
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line.decode(errors="replace").strip())
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    return whole.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(_PATIENCE)
            return
        except subprocess.TimeoutExpired:
            continue
