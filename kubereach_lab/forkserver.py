"""pid 1 of the lab: forks containers' processes, reaps everything, and takes all with it when it ends.

A Python program in a container is run in the forked interpreter itself, with its modules already loaded, which starts
it in some milliseconds; anything else is executed as usual.
"""

from __future__ import annotations

import array
import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import sys
import termios
import traceback
from typing import Any

from kubereach_lab import syscalls
from kubereach_lab.sandbox import Mount, Sandbox, SandboxError, enter_new
from kubereach_lab.scripts import Script, Scripts

#: what programs in containers commonly import: loaded once here, shared by all
_PRELOAD = (
    "argparse", "base64", "collections", "errno", "hashlib", "http", "io", "json", "queue", "random", "select",
    "selectors", "socket", "ssl", "struct", "threading", "time", "urllib.parse",
    "kubereach_lab.dns.server",
)  # fmt: skip
_MAX_FDS = 8


class ForkServer:
    """Serves the lab's server over a SOCK_SEQPACKET socket: JSON requests with file descriptors, JSON answers.

    Requests: ``start`` (a process in a new sandbox, or joining the one of `join`), ``signal``.
    Answers: ``{"id", "pid"}`` to a start; ``{"exit": pid, "code": n}`` when a process has ended (128 + n for signal n).
    Whether the program could be started is said on the descriptor `status` that the request brings: it is closed in
    silence, or a JSON error is written to it first.
    """

    def __init__(self, control: socket.socket, server_pid: int) -> None:
        self._control = control
        self._server_pid = server_pid
        self._children: set[int] = set()
        self._scripts = Scripts()

    def run(self) -> None:
        """Serve until the lab's server ends."""
        for name in _PRELOAD:
            __import__(name)
        gc.collect()
        gc.freeze()
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wake = (wake_read, wake_write)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            self._reap()  # whoever ended before the signal's handler was there
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        os.read(wake_read, 4096)
                        self._reap()
                    elif not self._serve_one():
                        return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._server_pid:
                sys.exit(0)
            if pid in self._children:
                self._children.discard(pid)
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self._answer({"exit": pid, "code": code})

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            sys.exit(0)  # the lab's server is gone, so everything goes

    def _serve_one(self) -> bool:
        data, ancillary, _, _ = self._control.recvmsg(
            1 << 20, socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
        )
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        if not data:
            return False
        request = json.loads(data)
        if request["op"] == "signal":
            self._signal(request)
            return True
        script = self._scripts.read(request.get("script"))
        pid = os.fork()
        if pid == 0:
            self._become(request, list(fds), script)
        self._children.add(pid)
        for fd in fds:
            os.close(fd)
        self._answer({"id": request["id"], "pid": pid})
        return True

    def _signal(self, request: dict[str, Any]) -> None:
        pid = int(request["pid"])
        if pid in self._children:  # ours and not yet reaped, so the number cannot be anybody else's
            try:
                (os.killpg if request.get("group") else os.kill)(pid, int(request["signal"]))
            except ProcessLookupError:
                os.kill(pid, int(request["signal"]))  # not yet the leader of its own group

    def _become(self, request: dict[str, Any], fds: list[int], script: Script | None) -> None:
        """In the child: never returns."""
        exit_code = 1
        status = fds[3]
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._control.close()
            for fd in self._wake:
                os.close(fd)
            status = _place_descriptors(fds)
            _prepare(request)
            if request.get("builtin") == "dns":
                os.close(status)
                from kubereach_lab.dns.server import main

                main(4)
            elif script is not None:
                os.close(status)
                exit_code = script.run(request["argv"])
            else:
                _execute(request["argv"], status)
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except (OSError, SandboxError) as error:
            try:
                os.write(status, json.dumps({"error": str(error)}).encode())
            except OSError:  # it runs already, so this is the program's own error
                traceback.print_exc()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(exit_code)


def _prepare(request: dict[str, Any]) -> None:
    """Session, namespaces, environment and folder of a process that is about to run."""
    os.setsid()
    if request.get("tty"):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if request.get("join"):
        pidfd = os.pidfd_open(int(request["join"]))
        syscalls.setns(
            pidfd,
            syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC,
        )
        os.close(pidfd)
    else:
        spec = request["sandbox"]
        enter_new(Sandbox(**spec | {"mounts": tuple(Mount(**mount) for mount in spec["mounts"])}))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request.get("cwd") or "/")


def _place_descriptors(fds: list[int]) -> int:
    """Put the request's descriptors at 0, 1, 2 and (a fifth one) 4; returns where the fourth, the status, is now."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in fds]
    for fd in fds:
        os.close(fd)
    status = high.pop(3)
    for number, fd in zip((0, 1, 2, 4), high, strict=False):
        os.dup2(fd, number, inheritable=True)
        os.close(fd)
    return status


def _execute(argv: list[str], status: int) -> None:
    """execvp(3), with an error in the words that container runtimes use."""
    del status  # close-on-exec: it closes in silence when the program starts
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        if "/" in argv[0]:
            reason = f"stat {argv[0]}: no such file or directory"
            if not isinstance(error, FileNotFoundError):
                reason = (error.strerror or str(error)).lower()
        else:
            reason = "executable file not found in $PATH"
        raise OSError(f'exec: "{argv[0]}": {reason}') from error
