"""Readiness, liveness and startup probes.

Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kubereach.lab.network import NodeNetwork

Object = dict[str, Any]
#: runs a command in the container and returns its exit code
Execute = Callable[[list[str]], Awaitable[int]]


async def probe_once(
    network: NodeNetwork, probe: Object, container: Object, address: str, execute: Execute
) -> str:
    """Run a probe's action once; returns "" for success, or the reason of the failure in the kubelet's words."""
    timeout = probe.get("timeoutSeconds", 1)
    try:
        if "exec" in probe:
            code = await asyncio.wait_for(execute(list(probe["exec"]["command"])), timeout)
            return "" if code == 0 else f"command terminated with exit code {code}"
        if "tcpSocket" in probe:
            port = _port(container, probe["tcpSocket"]["port"])
            host = probe["tcpSocket"].get("host") or address
            connection = await asyncio.wait_for(network.connect(host, port), timeout)
            connection.close()
            return ""
        if "httpGet" in probe:
            return await asyncio.wait_for(_http(network, probe["httpGet"], container, address), timeout)
    except asyncio.TimeoutError:
        return "context deadline exceeded"
    except OSError as error:
        return f"{error.strerror or error}".lower()
    return "the lab has no probes of this kind"


async def _http(network: NodeNetwork, action: Object, container: Object, address: str) -> str:
    port = _port(container, action["port"])
    path = action.get("path") or "/"
    host = action.get("host") or address
    connection = await network.connect(host, port)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        headers = {
            "Host": f"{host}:{port}",
            "User-Agent": "kube-probe/1.36",
            "Connection": "close",
            "Accept": "*/*",
        }
        headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or []}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        status = (await reader.readline()).split()
        code = int(status[1]) if len(status) > 1 and status[1].isdigit() else 0
        return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"
    finally:
        writer.close()


def _port(container: Object, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise OSError(f"couldn't find port {port!r} in container {container['name']!r}")


class Prober:
    """Repeats one probe of one container and tells when its verdict changes."""

    #: seconds between a new container's first probes; they double up to the period. A kubelet would wait a whole
    #: period, but a container here is ready within milliseconds, and everybody waits for it.
    FIRST_INTERVAL = 0.02

    def __init__(
        self,
        probe: Object,
        run: Callable[[], Awaitable[str]],
        wanted: Callable[[], bool],
        changed: Callable[[bool], None],
        failed: Callable[[str], None],
    ) -> None:
        """It probes while `wanted`; `changed` is told each new verdict, `failed` the reason of each failed probe."""
        self._probe = probe
        self._run = run
        self._wanted = wanted
        self._changed = changed
        self._failed = failed

    async def run(self, verdict: bool) -> None:
        """Probe for as long as that is wanted, beginning from `verdict`."""
        probe = self._probe
        period = float(probe.get("periodSeconds", 10))
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        streak, interval = 0, self.FIRST_INTERVAL
        while True:
            reason = await self._run()
            if (
                not self._wanted()
            ):  # asked as well as cancelled: a timeout that ends just then swallows a cancellation
                return
            good = not reason
            streak = 0 if good == verdict else streak + 1
            if streak and streak >= probe.get(
                "successThreshold" if good else "failureThreshold", 1 if good else 3
            ):
                verdict, streak = good, 0
                self._changed(verdict)
            if not good:
                self._failed(reason)
            interval = period if verdict else min(2 * interval, period)
            await asyncio.sleep(interval)
