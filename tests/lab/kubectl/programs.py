"""The kubectls of this machine: a current one, and one of before v1.27, which streams and validates in older ways."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache

import pytest

#: from here on kubectl asks /openapi/v3, and lets the server validate
CURRENT = 27


@lru_cache
def minor(program: str) -> int:
    """The minor version of a kubectl."""
    done = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=True)
    found = re.search(r'v1\.(\d+)|Minor:"(\d+)', done.stdout)
    assert found is not None, done.stdout
    return int(found[1] or found[2])


def current() -> str:
    """The kubectl on PATH; skips if there is none, or an old one."""
    program = shutil.which("kubectl")
    if program is None or minor(program) < CURRENT:
        pytest.skip(f"no kubectl of v1.{CURRENT} or later is on PATH")
    return program


def old() -> str:
    """A kubectl of before v1.27: KUBEREACH_OLD_KUBECTL, or that on PATH; skips if there is none."""
    program = os.environ.get("KUBEREACH_OLD_KUBECTL") or shutil.which("kubectl")
    if program is None or minor(program) >= CURRENT:
        pytest.skip(
            "no old kubectl: let KUBEREACH_OLD_KUBECTL name one. Debian 12's is of v1.20: apt-get download "
            "kubernetes-client && dpkg-deb -x kubernetes-client_*.deb FOLDER, then FOLDER/usr/bin/kubectl"
        )
    return program
