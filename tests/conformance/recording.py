"""kubereach with a list of what it asks the API server for: recording.py FILE ARGUMENT... Each line is JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kubereach.api import Api
from kubereach.cli import main


def record(file: str) -> None:
    """Have every request written to `file`: method, path, and whether it is a watch."""
    log = Path(file).open("a", buffering=1)  # noqa: SIM115 - for as long as the process lives
    send, execute = Api._send, Api.exec

    def sent(self: Api, method: str, path: str, query: dict[str, object], *more: Any) -> Any:
        log.write(json.dumps([method, path, "watch" in query]) + "\n")
        return send(self, method, path, query, *more)

    def executed(self: Api, namespace: str, pod: str, command: list[str]) -> Any:
        log.write(json.dumps(["EXEC", f"/api/v1/namespaces/{namespace}/pods/{pod}/exec", False]) + "\n")
        return execute(self, namespace, pod, command)

    Api._send, Api.exec = sent, executed  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    record(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
