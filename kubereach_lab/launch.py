"""Starting and stopping a lab, seen from the process that wants one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubereach_lab import syscalls
from kubereach_lab.config import LabConfig
from kubereach_lab.paths import RUN

#: Debian keeps nft where an ordinary user's PATH does not look
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


#: what the lab imports and the engine does not, so that testing a real cluster installs none of it (extra `lab`)
_PACKAGES = ("aiohttp", "h11", "h2", "jsonpatch", "kubernetes_validate", "pyroute2")


class LabError(Exception):
    """The lab cannot start. `remedy` says what to do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}\n  {remedy}" if remedy else message)


class NotInstalled(LabError):
    """What the lab needs is not installed on this machine."""


class Lab:
    """A running lab: a Kubernetes cluster made of network namespaces. Use it as a context manager.

    It lives exactly as long as its parent: closing it, the death of this process by any signal, or the death of any of
    the lab's two main processes ends every process, namespace, mount and file of it.
    """

    def __init__(self, config: LabConfig | None = None) -> None:
        self.config = config or LabConfig()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._init_pid = 0
        self._own_user_namespace = True
        self._greeting: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig, seen from outside the lab's mount namespace. It goes with the lab."""
        return Path(f"/proc/{self._init_pid}/root{RUN}/kubeconfig")

    @property
    def root(self) -> Path:
        """The lab's own view of the file system, for its log (``run/kubereach/lab.log``) and its pods' logs."""
        return Path(f"/proc/{self._init_pid}/root")

    def start(self) -> None:
        """Start the lab, unless it was begun already, and wait until its nodes and system pods are Ready.

        Raises:
            LabError: `nft` is missing, user namespaces are forbidden, or the lab failed to come up.
        """
        if self._process is None:
            self.begin()
        assert self._greeting is not None
        self._greeting.join()
        # Python is done with the thread a moment before the kernel is, and `enter` needs it to be gone
        while Path(f"/proc/self/task/{self._greeting.native_id}").exists():
            time.sleep(0.0005)
        if self._error is not None:
            self.stop()
            raise self._error

    def begin(self) -> None:
        """Start the lab without waiting for it; until `start` has returned this process has a second thread.

        The thread that calls it must be there as long as the lab, which dies with it.

        Raises:
            NotInstalled: the program `nft` or a Python package is missing.
            LabError: IPv6 is asked for and not there.
        """
        _require_installed()
        if self.config.has_ipv6 and not Path("/proc/sys/net/ipv6").exists():
            raise LabError(
                "--dual-stack and --ip-family ipv6 need IPv6, which this kernel lacks",
                "boot without ipv6.disable=1, or leave out --dual-stack and --ip-family",
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kubereach_lab.init", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PATH": SYSTEM_PATH, "PYTHONPATH": _import_path()},
                start_new_session=True,  # a Ctrl-C at the terminal is for the run; the run then stops the lab
            )
        self._control = ours
        self._error = None
        self._greeting = threading.Thread(target=self._greet, args=(ours,), name="lab", daemon=True)
        self._greeting.start()

    def _greet(self, control: socket.socket) -> None:
        try:
            self._hand_shake(control)
        except BaseException as error:  # `start` raises it
            self._error = error

    def _hand_shake(self, control: socket.socket) -> None:
        assert self._process is not None
        control.settimeout(60)
        hello = self._receive(control)
        self._own_user_namespace = bool(hello["user_namespace"])
        if self._own_user_namespace:
            _map_ids(self._process.pid)
        config = asdict(self.config) | {"faults": sorted(self.config.faults.names)}
        control.send(json.dumps(config).encode())
        self._init_pid = int(self._receive(control)["init"])
        self._receive(control)  # ready

    def _receive(self, control: socket.socket) -> dict[str, Any]:
        try:
            data = control.recv(65536)
        except TimeoutError as error:
            raise LabError("the lab did not start within 60 s", "check the load of this machine") from error
        except ConnectionError:
            data = b""
        if not data:
            raise LabError("the lab ended during its start", "see its log on standard error")
        message: dict[str, Any] = json.loads(data)
        if "error" in message:
            raise LabError(message["error"], message.get("remedy", ""))
        return message

    def enter(self) -> None:
        """Move this process into the lab's user and network namespaces: from then on it *is* the outside.

        There is no way back. The file system stays as it was.

        Raises:
            LabError: this process has more than one thread, which the kernel does not allow here.
        """
        if self._own_user_namespace and threading.active_count() > 1:
            names = ", ".join(t.name for t in threading.enumerate() if t is not threading.main_thread())
            raise LabError(
                f"cannot enter the lab: this process has other threads ({names})",
                "disable the plugin that starts them, for example pytest -p no:xdist",
            )
        for kind in ["user", "net"] if self._own_user_namespace else ["net"]:
            fd = os.open(f"/proc/{self._init_pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(fd)
            except OSError as error:
                raise LabError(f"cannot enter the lab's {kind} namespace: {error.strerror}") from error
            finally:
                os.close(fd)

    def run(self, command: list[str]) -> int:
        """Run a command inside the lab (all its namespaces, KUBECONFIG set) and return its exit code.

        Being in the lab's process namespace, the command and all that it started end with the lab.
        """
        environment = {**os.environ, "KUBECONFIG": str(RUN / "kubeconfig"), "PATH": SYSTEM_PATH}
        assert self._process is not None
        child = os.fork()
        if child == 0:
            code = 125
            try:
                code = _run_inside(self._init_pid, self._own_user_namespace, command, environment)
            finally:
                os._exit(code)
        old = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
        try:
            _, status = os.waitpid(child, 0)
        finally:
            signal.signal(signal.SIGINT, old)
        return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def stop(self) -> None:
        """End the lab and wait until nothing of it is left. Safe to call twice."""
        if self._process is not None and self._greeting is not None and self._greeting.is_alive():
            self._process.kill()  # it is not up yet: nobody listens
            self._greeting.join()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Wait until the lab has ended."""
        process = self._process
        if process is not None:
            process.wait()


def _require_installed() -> None:
    """Raise `NotInstalled` where a program or a package that every lab needs is missing."""
    if shutil.which("nft", path=SYSTEM_PATH) is None:
        raise NotInstalled(
            "the lab needs the program 'nft', which is not installed",
            "install it (Debian, Ubuntu: apt-get install nftables)",
        )
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"the lab needs Python packages that are not installed: {', '.join(missing)}",
            "`pip install '.[lab]'` in a checkout, `pip install 'FILE.whl[lab]'` from a wheel",
        )


def _import_path() -> str:
    """Where the child finds this package, also when it was not installed."""
    here = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(p for p in [here, os.environ.get("PYTHONPATH", "")] if p)


def _map_ids(pid: int) -> None:
    """Give the lab's user namespace its user ids: root keeps all of them, anyone else becomes its root.

    user_namespaces(7): an ordinary user may map only their own id, and only after giving up setgroups(2).
    """
    if os.geteuid() == 0:
        for kind in ("uid", "gid"):
            ranges = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
            lines = "".join(f"{first} {first} {count}\n" for first, _, count in ranges)
            Path(f"/proc/{pid}/{kind}_map").write_text(lines)
        return
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/uid_map").write_text(f"0 {os.geteuid()} 1\n")
    Path(f"/proc/{pid}/gid_map").write_text(f"0 {os.getegid()} 1\n")


def _run_inside(init_pid: int, user_namespace: bool, command: list[str], environment: dict[str, str]) -> int:
    """In a child: enter every namespace of the lab, run the command as its own child, return its exit code."""
    kinds = ["pid", "net", "uts", "ipc", "mnt"]
    if user_namespace:
        kinds.insert(0, "user")
    fds = [os.open(f"/proc/{init_pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    folder = Path.cwd()
    for fd in fds:
        syscalls.setns(fd)
    with contextlib.suppress(OSError):  # a folder that the lab hides, such as one below /run
        os.chdir(folder)
    try:
        # A new child, because only children are in the process namespace just entered.
        code = subprocess.run(command, env=environment, check=False).returncode
    except FileNotFoundError:
        sys.stderr.write(f"kubereach: command not found: {command[0]}\n")
        return 127
    except PermissionError:
        sys.stderr.write(f"kubereach: not executable: {command[0]}\n")
        return 126
    return code if code >= 0 else 128 - code
