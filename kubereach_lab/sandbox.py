"""The file system and names that a container sees: the host's programs, read-only, in a root of its own."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kubereach_lab import syscalls

#: in every container's own mount namespace, so that one path serves all
_NEW_ROOT = "/run/kubereach/root"
#: the checkout, or the folder of installed packages, that this file is in
_CODE = str(Path(__file__).resolve().parents[1])
#: not the host's: empty and writable in every container
_EMPTY = frozenset({"tmp", "run", "lost+found"})
#: bound as it is, since making it read-only breaks what programs write there about themselves
_WRITABLE = frozenset({"proc"})
#: what is in a container's own /dev, if the machine has it: the devices that the OCI runtime specification names, and
#: the machine's terminals
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "mqueue")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


class SandboxError(Exception):
    """The container cannot be given what its spec asks for; the text says what."""


@dataclass(frozen=True)
class Mount:
    """A volume's folder or file, given to the container at `target`."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Sandbox:
    """What a container is put into."""

    #: path of its network namespace
    network: str
    hostname: str
    #: content by path: /etc/resolv.conf, /etc/hosts, /etc/hostname
    files: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()


def enter_new(sandbox: Sandbox) -> None:
    """Move this (single-threaded) process into a new container: network, host name, mounts.

    Raises:
        SandboxError: a mount point cannot be made.
        OSError: the kernel refused.
    """
    fd = os.open(sandbox.network, os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd, syscalls.CLONE_NEWNET)
    os.close(fd)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
    syscalls.set_hostname(sandbox.hostname)
    _build_root(sandbox)


def _build_root(sandbox: Sandbox) -> None:
    root = _NEW_ROOT
    syscalls.mount("tmpfs", root, "tmpfs", 0, "mode=0755")
    with os.scandir("/") as entries:
        for entry in entries:
            _bind_top(entry, f"{root}/{entry.name}")
    _build_dev(f"{root}/dev")
    for name, mode in (("run", 0o755), ("tmp", 0o1777)):
        Path(root, name).mkdir(exist_ok=True)
        Path(root, name).chmod(mode)
    for prefix in {_CODE, sys.prefix, sys.base_prefix}:
        # A fresh clone below /tmp or /run, and its interpreter, must stay visible.
        if prefix.split("/")[1] in _EMPTY:
            Path(root + prefix).mkdir(parents=True, exist_ok=True)
            syscalls.mount(prefix, root + prefix, None, syscalls.MS_BIND | syscalls.MS_REC)
    for path, content in sandbox.files.items():
        _place_file(root, path, content)
    old = f"{root}/run/.old"
    Path(old).mkdir()
    syscalls.pivot_root(root, old)
    os.chdir("/")
    for mount in sandbox.mounts:
        _bind_volume(mount)
    syscalls.unmount("/run/.old")
    Path("/run/.old").rmdir()


def _bind_top(entry: os.DirEntry[str], target: str) -> None:
    if entry.is_symlink():
        Path(target).symlink_to(Path(entry.path).readlink())
    elif entry.is_dir() and entry.name not in _EMPTY and entry.name != "dev":
        Path(target).mkdir()
        with contextlib.suppress(
            PermissionError
        ):  # a folder that even its bind is denied is not for containers
            syscalls.mount(entry.path, target, None, syscalls.MS_BIND | syscalls.MS_REC)
        if entry.name not in _WRITABLE:
            syscalls.make_read_only(target)


def _build_dev(target: str) -> None:
    """A /dev of the container's own, so that files can be made there, such as the one for termination messages."""
    Path(target).mkdir()
    syscalls.mount("tmpfs", target, "tmpfs", 0, "mode=0755")
    for name in _DEVICES:
        source, place = Path("/dev", name), Path(target, name)
        if source.is_symlink():
            place.symlink_to(source.readlink())
        elif source.is_dir():
            place.mkdir()
            syscalls.mount(str(source), str(place), None, syscalls.MS_BIND | syscalls.MS_REC)
        elif source.exists():
            place.touch()
            syscalls.mount(str(source), str(place), None, syscalls.MS_BIND)
    Path(target, "shm").mkdir()
    Path(target, "shm").chmod(0o1777)
    for name, link in _DEVICE_LINKS.items():
        Path(target, name).symlink_to(link)


def makes_room(path: str) -> bool:
    """Whether a file can be mounted at a path of a container: it is in a folder that the container has of its own."""
    parts = Path(path).parts
    return len(parts) > 2 and (parts[1] in (*_EMPTY, "dev") or not Path("/", parts[1]).exists())


def _place_file(root: str, path: str, content: str) -> None:
    """Put `content` over a file of the host's /etc, following links as programs will."""
    real = os.path.realpath(path)
    source = f"{root}/run/.{path.rsplit('/', 1)[1]}"
    if real.startswith("/run/"):  # systemd-resolved's link: the container's /run is ours to fill
        target = Path(root + real)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        return
    if not Path(real).exists():
        return  # nobody can be misled by a file that is not there; the host name is set all the same
    Path(source).write_text(content)
    syscalls.mount(source, root + real, None, syscalls.MS_BIND)


def _bind_volume(mount: Mount) -> None:
    source, target = f"/run/.old{mount.source}", Path(mount.target)
    try:
        if stat.S_ISDIR(Path(source).stat().st_mode):
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    except OSError as error:
        raise SandboxError(
            f"cannot mount a volume at {mount.target}: the lab's containers see the machine's own folders, read-only "
            f"({error.strerror}); use a path whose first folder does not exist there"
        ) from error
    syscalls.mount(source, str(target), None, syscalls.MS_BIND | syscalls.MS_REC)
    if mount.read_only:
        syscalls.make_read_only(str(target))
