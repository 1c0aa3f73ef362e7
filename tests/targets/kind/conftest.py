"""The fixture `tools`: recording executables in place of kind, docker and kubectl, in a working folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import Tools

from kubereach.targets.kind import balancer


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "tools"
    folder.mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for variable in ("KIND_VERSION", "KUBECTL_VERSION", "KIND_DOWNLOAD_URL", "KUBECTL_DOWNLOAD_URL"):
        monkeypatch.delenv(variable, raising=False)
    # whatever really runs on this machine
    monkeypatch.setattr(balancer, "_processes", lambda _: [])
    made = Tools(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(made.notes))
    return made
