"""kubereach with a list of what it asks the API server for: recording.py FILE ARGUMENT... Each line is JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kubereach.cli.main import main
from kubereach.kube.client import Api
from kubereach.kube.transport import Transport


def record(file: str) -> None:
    """Have every request written to `file`: method, path, and whether it is a watch."""
    log = Path(file).open("a", buffering=1)  # noqa: SIM115 - for as long as the process lives
    once, execute = Transport.once, Api.exec

    def sent(self: Transport, method: str, path: str, query: dict[str, object], *more: Any) -> Any:
        log.write(json.dumps([method, path, "watch" in query]) + "\n")
        return once(self, method, path, query, *more)

    def executed(self: Api, namespace: str, pod: str, *more: Any) -> Any:
        log.write(json.dumps(["EXEC", f"/api/v1/namespaces/{namespace}/pods/{pod}/exec", False]) + "\n")
        return execute(self, namespace, pod, *more)

    Transport.once, Api.exec = sent, executed  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    record(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
