"""Where the outside is: this machine, or, where it cannot reach nodes' addresses, a container on their network."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kubereach.kube.reachability import reacting
from kubereach.targets.kind.engine import Engine

#: the API server's, on a control plane; a kubelet's
_PORTS = (6443, 10250)


def why_not_here(engine: Engine, addresses: Sequence[str], timeout: float) -> str:
    """Why this machine cannot be the outside, in words; empty when it can.

    A network between may answer for addresses that are not the nodes' own, so what the engine tells comes first; then
    the first node is tried, which takes at most `timeout` seconds.
    """
    apart = engine.apart()
    if apart or not addresses:
        return apart
    if reacting(addresses[:1], _PORTS, timeout):
        return ""
    return f"{addresses[0]} does not answer connections from this machine"


def command(engine: Engine, image: str) -> str:
    """The command line that starts Python in a container on the nodes' network; it goes with its standard input."""
    words = [
        "run",
        "-i",
        "--rm",
        "--network",
        engine.network,
        "--label",
        "app.kubernetes.io/managed-by=kubereach",
    ]
    return shlex.join([engine.path, *words, image, "python3"])
