"""The lab's first process: makes the namespaces, then becomes the fork server that starts every other process.

Run as ``python -m kubereach_lab.init FD``, FD being a socket to the process that wants the lab. Two processes come of
it: the *keeper*, which only waits, and pid 1 of the new process namespace. When the keeper's parent dies, the kernel
kills the keeper; when the keeper dies, pid 1; and with pid 1 everything in its namespace. Nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from kubereach_lab import syscalls
from kubereach_lab.paths import RUN

_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
)
#: what a container must be allowed for the lab to run in it
_CONTAINER = (
    "docker run --privileged, or --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined"
)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = os.getppid()
    try:
        user_namespace = _new_namespaces(control)
    except OSError as error:
        _refuse(control, error)
        sys.exit(1)
    syscalls.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper_lives, held_by_keeper = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held_by_keeper)
        _first_process(control, keeper_lives)
        os._exit(1)
    # user_namespace is said with the first message; the pid must be the one that the parent sees
    assert user_namespace in (True, False)
    control.send(json.dumps({"init": child}).encode())
    _keep(control, child)


def _new_namespaces(control: socket.socket) -> bool:
    """Unshare everything; returns whether that includes a user namespace.

    root without the right to make user namespaces does without one.
    """
    user_namespace = True
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError:
        if os.geteuid() != 0:
            raise
        user_namespace = False
    control.send(json.dumps({"user_namespace": user_namespace}).encode())
    os.environ["KUBEREACH_LAB_CONFIG"] = control.recv(65536).decode()  # comes after the ids are mapped
    syscalls.unshare(_NAMESPACES)
    return user_namespace


def _refuse(control: socket.socket, error: OSError) -> None:
    remedy = "run it as root, or allow them: sysctl -w user.max_user_namespaces=15000"
    if error.errno == errno.EPERM and "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        remedy = f"a seccomp filter forbids them, as containers have it: {_CONTAINER}"
    for knob, value in (
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
        ("kernel/unprivileged_userns_clone", "1"),
    ):
        with contextlib.suppress(OSError):
            if Path("/proc/sys", knob).read_text().strip() != value:
                remedy = f"run it as root, or allow them: sysctl -w {knob.replace('/', '.')}={value}"
    reason = "the limit on their number is reached" if error.errno == errno.ENOSPC else error.strerror
    message = f"this machine does not allow user and network namespaces ({reason})"
    _fail(control, message, remedy)


def _fail(control: socket.socket, message: str, remedy: str) -> None:
    control.send(json.dumps({"error": message, "remedy": remedy}).encode())


def _keep(control: socket.socket, child: int) -> None:
    """Wait until either end goes, and take the other with it."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control and not control.recv(65536):
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    return
                if key.fd == wake_read:
                    os.read(wake_read, 4096)
                    if os.waitpid(child, os.WNOHANG)[0]:
                        return


def _first_process(control: socket.socket, keeper_lives: int) -> None:
    """pid 1: private mounts, then two processes from one: the lab's server as a child, the fork server here."""
    syscalls.die_with_parent(signal.SIGKILL)
    # Its parent's pid cannot tell it whether the keeper died before that: seen from a new process namespace it is 0.
    if select.select([keeper_lives], [], [], 0)[0]:
        return
    try:
        _private_mounts()
    except OSError as error:
        _fail(control, f"the lab cannot make its mounts: {error.strerror}", f"in a container: {_CONTAINER}")
        return
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        # The kernel lets nobody mount another /proc where parts of it are hidden.
        reason = "/proc/sys is read-only here, and the lab must set sysctls of its own network namespaces"
        _fail(control, reason, f"in a container: {_CONTAINER}")
        return
    config: dict[str, Any] = json.loads(os.environ.pop("KUBEREACH_LAB_CONFIG"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = os.open(RUN / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if not os.environ.get("KUBEREACH_LAB_DEBUG"):
        os.dup2(log, 1)
        os.dup2(log, 2)
    server = os.fork()
    if server == 0:
        ours.close()
        from kubereach_lab.server import serve

        syscalls.die_with_parent(signal.SIGKILL)
        serve(config, control, theirs)
        os._exit(0)
    theirs.close()
    control.close()
    from kubereach_lab.forkserver import ForkServer

    ForkServer(ours, server).run()


def _private_mounts() -> None:
    """A /run and a /proc of our own; whatever we mount stays with us."""
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    with contextlib.suppress(OSError):  # containers that hide parts of /proc do not let us mount another one
        syscalls.mount("proc", "/proc", "proc")
    syscalls.mount("tmpfs", "/run", "tmpfs", 0, "mode=0755")
    for folder in (Path("/run/netns"), RUN, RUN / "pods", RUN / "root"):
        folder.mkdir(parents=True)
    # pyroute2 and ip(8) keep named network namespaces here; mounting needs it to be a private mount point
    syscalls.mount("/run/netns", "/run/netns", None, syscalls.MS_BIND)


if __name__ == "__main__":
    main()
