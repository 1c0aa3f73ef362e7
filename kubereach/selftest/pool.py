"""Runs several trials at a time, each in a process forked from this one, which has everything loaded.

Loading the engine takes a second of CPU time, as long as a good part of a run does. A run moves its process into the
lab, for good: that is why each has one of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Generic

from kubereach.run.catalogue import suites_folder
from kubereach.selftest.ended import Ended, J
from kubereach.selftest.processors import Processors
from kubereach.world.manifests import preload
from kubereach_lab.syscalls import die_with_parent

#: what a run loads sooner or later
_PRELOAD = (
    "pytest", "kubernetes.client", "kubernetes.stream", "rich.live", "jinja2", "httpx",
    "kubereach.run.plugin", "kubereach.run.session", "kubereach.expect", "kubereach.world", "kubereach.targets.lab",
    "kubereach.report.json_report",
)  # fmt: skip
#: seconds after which a run is given up; the slowest faults take one minute on a quiet machine
_LONGEST = 400.0
#: seconds between two looks at the clock
_TICK = 0.5


@dataclass
class _Running(Generic[J]):
    trial: J
    pid: int
    pidfd: int
    folder: Path
    began: float


class Pool(Generic[J]):
    """As many runs at a time as keep the processors busy, `jobs` at most; their output goes to folders in `folder`.

    `run_command` is the command line: what runs one list of arguments and gives its exit code. A run is given up after
    `longest` seconds.
    """

    def __init__(
        self, jobs: int, folder: Path, run_command: Callable[[list[str]], int], longest: float = _LONGEST
    ) -> None:
        self._jobs = jobs
        self._longest = longest
        self._run_command = run_command
        self._processors = Processors()
        self._folder = folder
        self._running: dict[int, _Running[J]] = {}

    @property
    def running(self) -> list[str]:
        return [one.trial.name for one in self._running.values()]

    def run(self, waiting: list[J], tick: Callable[[], None]) -> Iterator[Ended[J]]:
        """Yield every trial as it ends; `tick` is called now and then. Ends all of them when it is left early.

        Trials leave `waiting` as they begin; more may be put there meanwhile.
        """
        for name in _PRELOAD:
            importlib.import_module(name)
        preload(suites_folder().parent / "manifests")
        gc.collect()
        gc.freeze()
        with selectors.DefaultSelector() as selector, _terminable():
            try:
                while waiting or self._running:
                    while waiting and self._may_start():
                        started = self._start(waiting.pop(0))
                        selector.register(started.pidfd, selectors.EVENT_READ, started)
                    tick()
                    for key, _ in selector.select(_TICK):
                        selector.unregister(key.fileobj)
                        yield self._ended(key.data)
                    self._give_up()
            finally:
                self._stop()

    def _may_start(self) -> bool:
        """One for each processor in any case, further ones while the processors have nothing to do."""
        if len(self._running) < min(self._jobs, os.cpu_count() or 1):
            return True
        return len(self._running) < self._jobs and self._processors.have_room()

    def _start(self, trial: J) -> _Running[J]:
        folder = self._folder / trial.name.replace(", ", "-").replace(" ", "-").replace(",", "+")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").unlink(missing_ok=True)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(trial, folder, parent, self._run_command)
        started = _Running(trial, pid, os.pidfd_open(pid), folder, time.monotonic())
        self._running[pid] = started
        self._processors.restart()
        return started

    def _ended(self, one: _Running[J]) -> Ended[J]:
        _, status, usage = os.wait4(one.pid, 0)
        os.close(one.pidfd)
        del self._running[one.pid]
        file = one.folder / "report.json"
        return Ended(
            one.trial,
            os.waitstatus_to_exitcode(status),
            time.monotonic() - one.began,
            usage.ru_utime + usage.ru_stime,
            (one.folder / "output.txt").read_text(encoding="utf-8", errors="replace"),
            json.loads(file.read_text(encoding="utf-8")) if file.exists() else {},
        )

    def _give_up(self) -> None:
        for one in self._running.values():
            if time.monotonic() - one.began > self._longest:
                os.kill(one.pid, signal.SIGKILL)

    def _stop(self) -> None:
        """End what still runs as Ctrl-C would end it: its lab goes with it."""
        for one in self._running.values():
            os.kill(one.pid, signal.SIGTERM)
        for pid in list(self._running):
            os.waitpid(pid, 0)
        self._running.clear()


def _become(trial: J, folder: Path, parent: int, run_command: Callable[[list[str]], int]) -> None:
    """In the forked process: be ``kubereach run``. Does not return."""
    code = 3
    try:
        os.setpgid(0, 0)  # Ctrl-C is for the selftest, which then ends its runs
        die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(code)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        random.seed()
        os.environ["NO_COLOR"] = "1"
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
        code = trial.run(folder, run_command)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the selftest as Ctrl-C does."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
