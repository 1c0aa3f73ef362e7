"""A folder with the recording executables, their state, and the target that finds them on its PATH."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kubereach.model.settings import Settings
from kubereach.targets.kind.options import KindChoice
from kubereach.targets.kind.target import KindTarget

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("fake_tools.py")
IMAGE = "python:3.13-alpine"


class Tools:
    """`state` is what the tools find and leave; see `fake_tools`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        #: where runs note the clusters that they make
        self.notes = folder / "state"
        self.install("kind", "docker", "kubectl")
        info = {"OperatingSystem": "Debian GNU/Linux 13 (trixie)"}
        self.write({"clusters": {}, "images": [IMAGE], "containers": [], "info": info, "mishaps": {}})

    def install(self, *names: str) -> None:
        for name in names:
            script = self.bin / name
            script.write_text(
                f'#!/bin/sh\nFAKE_TOOLS={self.folder} exec {sys.executable} -I -S {PROGRAM} {name} "$@"\n'
            )
            script.chmod(0o755)

    def write(self, content: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(content))

    @property
    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return content

    def set(self, **changes: Any) -> None:
        self.write({**self.state, **changes})

    def mishap(self, **mishaps: str) -> None:
        self.set(mishaps={**self.state["mishaps"], **mishaps})

    def has(self, name: str, mishap: str = "", nodes: int = 3, **more: Any) -> None:
        """Let there be a cluster, made by somebody else."""
        workers = [f"{name}-worker{n if n > 1 else ''}" for n in range(1, nodes)]
        cluster = {"nodes": [f"{name}-control-plane", *workers], "mishap": mishap, **more}
        self.set(clusters={**self.state["clusters"], name: cluster})

    def calls(self, *beginning: str) -> list[list[str]]:
        """The calls that begin with these words, of all tools in their order."""
        file = self.folder / "calls.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line for line in lines if tuple(line[: len(beginning)]) == beginning]

    def target(
        self, choice: KindChoice | None = None, settings: Settings | None = None, **environment: str
    ) -> KindTarget:
        self.said: list[str] = []
        return KindTarget(
            choice or KindChoice(),
            settings or Settings(),
            ROOT / "manifests/kind.yaml",
            self.said.append,
            {"PATH": f"{self.bin}", "XDG_STATE_HOME": str(self.notes), **environment},
        )
