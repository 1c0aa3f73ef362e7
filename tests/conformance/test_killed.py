"""A run that is killed, or loses its lab, leaves nothing behind: no process, mount, namespace or file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
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
        pid for pid in children(run) if b"kubereach.lab.init" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


@pytest.mark.parametrize("moment", ["target lab", "world ready", "dns.exact-address"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_left(victim: str, moment: str, tmp_path: Path) -> None:
    before = Machine.now()
    mark = f"KUBEREACH_TEST_MARK={uuid.uuid4()}"
    name, value = mark.split("=")
    run = subprocess.Popen(
        [sys.executable, "-u", "-m", "kubereach", "run", "--report-dir", str(tmp_path)],
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
    wait_until_unmarked(mark)
    assert Machine.now() == before
    if victim == "the run":
        assert code == -signal.SIGKILL
        return
    # A lab that is gone is nobody's verdict on the network.
    assert "Traceback" not in output, output
    assert code == 3, output
    assert time.monotonic() - begun < 30


def test_the_next_run_is_green(run_suite: Runner) -> None:
    result = run_suite(
        ["{python}", "-m", "kubereach", "run", "clusterip.from-pod", "--report-dir", "{report}"]
    )
    assert result.code == 0, result.output
