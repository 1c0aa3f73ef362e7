"""Real peers on loopback: backends and vantages as on a cluster, without one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

from kubereach.model.address import Address
from kubereach.probe import Vantage
from kubereach.probe.context import RunContext
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.program import FOLDER
from kubereach.probe.streams import ProcessStream
from kubereach.probe.vantage import POD

NONCE = "0123456789abcdef"
SECRET = "fedcba9876543210fedcba9876543210"


@dataclass
class Backend:
    """A peer that serves in a process of its own, on ports that the system chose."""

    pod: str
    process: subprocess.Popen[bytes]
    ports: dict[str, int] = field(default_factory=dict)

    def address(self, protocol: str = "http", host: str = "127.0.0.1") -> Address:
        return Address("clusterip", protocol, host, self.ports[protocol])


_SERVE = """
import sys
from kubereach.probe.peer.server import Server
server = Server({pod!r}, "node-of-" + {pod!r}, {nonce!r}, ready={ready!r}, secret={secret!r})
sys.stdout.write(" ".join(str(server.listen(kind, 0)) for kind in ("http", "tcp", "udp")) + "\\n")
sys.stdout.flush()
server.run()
"""


def local_vantage(
    multiplexer: Multiplexer,
    context: RunContext,
    kind: str = POD,
    node: str = "one",
    cls: type[Vantage] = Vantage,
) -> Vantage:
    command = [sys.executable, "-u", str(FOLDER), "probe"]
    return cls(kind, node, lambda: ProcessStream(command), multiplexer, context, address="127.0.0.1")
