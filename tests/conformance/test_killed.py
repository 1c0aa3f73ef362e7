"""A run that is killed, or loses its lab, leaves nothing behind: no process, mount, namespace or file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.conftest import ROOT, Runner
from tests.lab.life import Machine, children, marked, wait_until_unmarked

#: which of a run's processes to kill, given the run's own pid
VICTIMS: dict[str, Callable[[int], int]] = {
    "the run": lambda run: run,
    "the lab's keeper": lambda run: _keeper(run),
    "the lab's first process": lambda run: children(_keeper(run))[0],
    "the lab's server": lambda run: children(children(_keeper(run))[0])[0],
}


def _keeper(run: int) -> int:
    return next(
        pid for pid in children(run) if b"kubereach_lab.init" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


@dataclass(frozen=True)
class Ended:
    """How a run ended of which something was killed, and how many seconds later."""

    code: int
    output: str
    seconds: float


def _killed(victim: str, moment: str, reports: Path) -> Ended:
    """Start a run, kill the victim when the run says `moment`, and wait until no process of it is left."""
    mark = f"KUBEREACH_TEST_MARK={uuid.uuid4()}"
    name, value = mark.split("=")
    run = subprocess.Popen(
        [sys.executable, "-u", "-m", "kubereach", "run", "--report-dir", str(reports)],
        cwd=ROOT,
        env={**os.environ, name: value, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if moment in line:
            break
    assert marked(mark), "the run's processes can be told"
    os.kill(VICTIMS[victim](run.pid), signal.SIGKILL)
    begun = time.monotonic()
    output = run.stdout.read()
    code = run.wait(60)
    seconds = time.monotonic() - begun
    wait_until_unmarked(mark)
    return Ended(code, output, seconds)


@pytest.mark.parametrize("moment", ["target lab", "world ready", "dns.exact-address"])
def test_nothing_is_left(moment: str, tmp_path: Path) -> None:
    """A run for each victim, all at the same time: they know nothing of one another."""
    before = Machine.now()
    with ThreadPoolExecutor(len(VICTIMS)) as pool:
        runs = {
            victim: pool.submit(_killed, victim, moment, tmp_path / str(number))
            for number, victim in enumerate(VICTIMS)
        }
    ended = {victim: run.result() for victim, run in runs.items()}
    assert Machine.now() == before
    assert ended.pop("the run").code == -signal.SIGKILL
    for victim, run in ended.items():
        # A lab that is gone is nobody's verdict on the network.
        assert "Traceback" not in run.output, f"{victim}\n{run.output}"
        assert run.code == 3, f"{victim}\n{run.output}"
        assert run.seconds < 30, f"{victim}\n{run.output}"


def test_the_next_run_is_green(run_suite: Runner) -> None:
    result = run_suite(
        ["{python}", "-m", "kubereach", "run", "clusterip.from-pod", "--report-dir", "{report}"]
    )
    assert result.code == 0, result.output
