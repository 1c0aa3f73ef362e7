"""What a lab consists of, seen from outside: its processes, and what of it the machine would show."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path

#: longest wait for the kernel to clear away processes, on a busy machine
PATIENCE = 20.0


@dataclass(frozen=True)
class Machine:
    """What a lab could leave behind, besides processes."""

    mounts: str
    namespaces: frozenset[str]
    runtime_files: frozenset[str]
    temporary_files: frozenset[str]
    working_folder: frozenset[str]

    @classmethod
    def now(cls) -> Machine:
        named = Path("/run/netns")
        return cls(
            Path("/proc/self/mountinfo").read_text(),
            frozenset(map(str, named.iterdir())) if named.exists() else frozenset(),
            frozenset(map(str, Path("/run").iterdir())),
            # others use /tmp as well; what is a lab's would say so
            frozenset(str(path) for path in Path("/tmp").iterdir() if "kubereach" in path.name),
            frozenset(map(str, Path().iterdir())),
        )


def children(pid: int) -> list[int]:
    """Children, the oldest first."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def marked(mark: str) -> list[int]:
    """Processes that were started with this text in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def wait_until_gone(pids: list[int]) -> None:
    """Wait for processes to end; fails when one does not."""
    deadline = time.monotonic() + PATIENCE
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended = select.select([pidfd], [], [], max(deadline - time.monotonic(), 0.01))[0]
        finally:
            os.close(pidfd)
        if not ended:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            raise AssertionError(f"process {pid} is left: {command}")


def wait_until_unmarked(mark: str) -> None:
    """Wait until no process with this mark is left, also none that a dying one has just started."""
    deadline = time.monotonic() + PATIENCE
    while left := marked(mark):
        assert time.monotonic() < deadline, f"processes are left: {left}"
        wait_until_gone(left)


def open_files() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
