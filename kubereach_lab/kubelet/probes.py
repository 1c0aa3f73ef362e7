"""Readiness, liveness and startup probes.

Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kubereach_lab.kubelet.trust import any_certificate
from kubereach_lab.network import NodeNetwork

Object = dict[str, Any]
#: runs a command in the container and returns its exit code and what it wrote
Execute = Callable[[list[str]], Awaitable[tuple[int, str]]]


async def probe_once(
    network: NodeNetwork, probe: Object, container: Object, address: str, execute: Execute
) -> str | None:
    """Run a probe's action once; returns None for success, or the reason of the failure in the kubelet's words."""
    timeout = probe.get("timeoutSeconds", 1)
    if "exec" in probe:
        try:
            code, output = await asyncio.wait_for(execute(list(probe["exec"]["command"])), timeout)
        except asyncio.TimeoutError:
            return f"command timed out: {' '.join(probe['exec']['command'])!r} timed out after {timeout}s"
        return None if code == 0 else output
    action = probe.get("tcpSocket") or probe.get("httpGet") or probe["grpc"]
    try:
        port = _port(container, action["port"])
    except LookupError as error:
        return str(error)
    host = action.get("host") or address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f'Get "{action.get("scheme", "HTTP").lower()}://{where}{action.get("path") or "/"}": '
    try:
        if "tcpSocket" in probe:
            connection = await asyncio.wait_for(network.connect(host, port), timeout)
            connection.close()
            return None
        if "grpc" in probe:
            # here, since h2 takes every lab's start 15 ms, and few pods have such a probe
            from kubereach_lab.kubelet import grpc_probe

            call = grpc_probe.check(network, host, port, action.get("service", ""))
            return await asyncio.wait_for(call, timeout)
        return await asyncio.wait_for(_http(network, action, host, port), timeout)
    except asyncio.TimeoutError:
        if "httpGet" in probe:
            return f"{request}context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        if "grpc" in probe:
            return (
                f'timeout: failed to connect service "{where}" within {timeout}s: context deadline exceeded'
            )
        return f"dial tcp {where}: i/o timeout"
    except ConnectionRefusedError:
        prefix = request if "httpGet" in probe else ""
        return f"{prefix}dial tcp {where}: connect: connection refused"
    except OSError as error:
        return f"{request if 'httpGet' in probe else ''}{error.strerror or error}".lower()


async def _http(network: NodeNetwork, action: Object, host: str, port: int) -> str | None:
    path = action.get("path") or "/"
    connection = await network.connect(host, port)
    if action.get("scheme") == "HTTPS":
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=any_certificate(), server_hostname=""
        )
    else:
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
        return None if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"
    finally:
        writer.close()


def _port(container: Object, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise LookupError(f"couldn't find port: {port!r} in container: {container['name']!r}".replace("'", '"'))


class Prober:
    """Repeats one probe of one container and tells when its verdict changes."""

    #: seconds between a new container's first probes; they double up to the period. A kubelet would wait a whole
    #: period, but a container here is ready within milliseconds, and everybody waits for it.
    FIRST_INTERVAL = 0.02

    def __init__(
        self,
        probe: Object,
        run: Callable[[], Awaitable[str | None]],
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

    async def run(self, verdict: bool | None) -> None:
        """Probe for as long as that is wanted, beginning from `verdict`; None if there is none yet.

        What is taken to be good already is first probed after a whole period: a kubelet's ticker comes at some time
        within it, and a process that has only just begun has made nothing that could be looked at.
        """
        probe = self._probe
        period = float(probe.get("periodSeconds", 10))
        await asyncio.sleep(probe.get("initialDelaySeconds", 0) or (period if verdict else 0))
        streak, interval, latest, early = 0, self.FIRST_INTERVAL, verdict, False
        while True:
            reason = await self._run()
            if (
                not self._wanted()
            ):  # asked as well as cancelled: a timeout that ends just then swallows a cancellation
                return
            good = reason is None
            if good == verdict:
                streak = 0
            elif good != latest:
                streak = 1
            elif good or not early:
                # what fails between a kubelet's probes does not count
                streak += 1
            latest = good
            if streak and streak >= probe.get(
                "successThreshold" if good else "failureThreshold", 1 if good else 3
            ):
                verdict, streak = good, 0
                self._changed(verdict)
            if reason is not None:
                self._failed(reason)
            interval = period if verdict else min(2 * interval, period)
            early = interval < period
            await asyncio.sleep(interval)
