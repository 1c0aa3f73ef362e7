"""Who gives addresses to Services of type LoadBalancer in a kind cluster: nobody, unless somebody was asked to.

cloud-provider-kind runs outside of the cluster, as a process of the machine or as a container of the engine:
https://kind.sigs.k8s.io/docs/user/loadbalancer/
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from kubereach.targets.kind.engine import Engine

PROVIDER = "cloud-provider-kind"
#: controllers of clusters that were there before us, by parts of their images
_OTHERS = {
    "metallb": "MetalLB",
    "kube-vip": "kube-vip",
    "klipper-lb": "klipper-lb",
    "cloud-controller-manager": "a cloud controller manager",
}


def running(engine: Engine, proc: Path = Path("/proc")) -> str:
    """How cloud-provider-kind runs, in words: ``process 4711``; empty when nothing of it can be seen from here."""
    for image, name in engine.running():
        if PROVIDER in image or name == PROVIDER:
            return f"container {name}"
    for number, program in _processes(proc):
        if program == PROVIDER:
            return f"process {number}"
    return ""


def others(images: str) -> str:
    """The controller among the images of a cluster's pods, in words; empty when there is none."""
    return next((name for part, name in _OTHERS.items() if part in images), "")


def _processes(proc: Path) -> list[tuple[str, str]]:
    """(number, name of the program) of every process that this user may see."""
    if platform.system() == "Linux":
        found = []
        for file in proc.glob("[0-9]*/cmdline"):
            try:
                program = file.read_bytes().split(b"\0")[0]
            except OSError:
                continue  # it has ended meanwhile
            found.append((file.parent.name, program.decode(errors="replace").rpartition("/")[2]))
        return found
    try:
        listed = subprocess.run(
            ["ps", "-axo", "pid=,comm="], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return []
    lines = [line.strip().partition(" ") for line in listed.splitlines()]
    return [(number, program.strip().rpartition("/")[2]) for number, _, program in lines]
