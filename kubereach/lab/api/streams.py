"""Streams into pods over WebSocket: exec and port-forward.

Frames are binary, their first byte is the channel: 0 stdin, 1 stdout, 2 stderr, 3 status, 4 resize; 255 closes
a channel (v5). Sources: KEP-4006, k8s.io/streaming, and what a real server was seen to send.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping

from aiohttp import WSCloseCode, WSMsgType, web

from kubereach.lab import status
from kubereach.lab.api.context import Context, plain
from kubereach.lab.api.requests import Target, flag
from kubereach.lab.runtime import CommandNotFound, ExecProcess
from kubereach.lab.status import Object

log = logging.getLogger(__name__)

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
_FORWARD_PROTOCOLS = ("v4.channel.k8s.io", "channel.k8s.io")
#: those that report the exit code on channel 3
_WITH_STATUS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CHUNK = 32 * 1024
#: a message of stdin may be as long as this; clients send a file in one
_LONGEST_MESSAGE = 32 * 1024 * 1024


def container_of(pod: Object, name: str) -> str:
    """The container to use. Raises `StatusError` 400 if there is none of that name, or several and none is named."""
    spec = pod["spec"]
    names = [c["name"] for c in spec.get("containers") or ()]
    all_names = names + [c["name"] for c in spec.get("initContainers") or ()]
    pod_name = pod["metadata"]["name"]
    if name:
        if name not in all_names:
            raise status.bad_request(f"container {name} is not valid for pod {pod_name}")
        return name
    annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if annotated in names:
        return str(annotated)
    if len(names) != 1:
        raise status.bad_request(
            f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(names)}]"
        )
    return str(names[0])


def _check_upgrade(request: web.BaseRequest) -> None:
    upgrade = request.headers.get("Upgrade", "").lower()
    if "upgrade" not in request.headers.get("Connection", "").lower() or not upgrade:
        raise status.bad_request("Upgrade request required")
    if upgrade != "websocket":
        raise status.bad_request(
            f"the lab streams over WebSocket, not over {upgrade.upper()}; kubectl 1.31 and later use WebSocket by "
            "default (KUBECTL_REMOTE_COMMAND_WEBSOCKETS, KUBECTL_PORT_FORWARD_WEBSOCKETS)"
        )


def _running(pod: Object, container: str) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    states = states + ((pod.get("status") or {}).get("initContainerStatuses") or [])
    return any(s["name"] == container and "running" in (s.get("state") or {}) for s in states)


async def _accept(request: web.BaseRequest, protocols: tuple[str, ...]) -> web.WebSocketResponse | None:
    offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    if offered and not any(protocol in protocols for protocol in offered):
        return None
    socket = web.WebSocketResponse(
        protocols=[p for p in protocols if p in offered],
        heartbeat=None,
        compress=False,
        max_msg_size=_LONGEST_MESSAGE,
        autoping=True,
    )
    await socket.prepare(request)
    return socket


def success() -> Object:
    return {"metadata": {}, "status": "Success"}


def exit_status(code: int, command: list[str], protocol: str) -> Object:
    """The status on channel 3 once a process has ended."""
    if code == 0:
        return success()
    why = f"command terminated with exit code {code}"
    if protocol == "v4.channel.k8s.io":
        why = f"error executing command [{' '.join(command)}], exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {why}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def start_failure(error: Exception, protocol: str) -> Object:
    """The status on channel 3 of a command that cannot be started."""
    why = (
        "error executing command in container: failed to exec in container: OCI runtime exec failed: exec failed: "
        f"unable to start container process: {error}"
    )
    if protocol == "v5.channel.k8s.io":
        why = f"Internal error occurred: {why}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {why}",
        "reason": "InternalError",
        "details": {"causes": [{"message": why}]},
        "code": 500,
    }


async def execute(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """``exec``: runs a command in a container and carries its streams."""
    _check_upgrade(request)
    query = request.query
    pod = context.registry.get("pods", target.namespace, target.name)
    if "api.exec-forbidden" in context.config.faults:
        why = 'User "kubernetes-admin" cannot create resource "pods/exec" in API group "" in the namespace'
        raise status.forbidden("pods", target.name, f'{why} "{target.namespace}"')
    container = container_of(pod, query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    wants = {name: flag(query, name) for name in ("stdin", "stdout", "stderr", "tty")}
    if not (wants["stdin"] or wants["stdout"] or wants["stderr"]):
        return plain("you must specify at least 1 of stdin, stdout, stderr", 400)
    if not _running(pod, container):
        return plain(f'container not found ("{container}")', 500)
    socket = await _accept(request, _EXEC_PROTOCOLS)
    if socket is None:
        return web.Response(status=403)
    session = _Exec(socket, query.getall("command", []), wants)
    try:
        await session.run(context, pod, container)
    except Exception as error:
        # After the upgrade there is no HTTP answer any more: the client is told in the stream.
        log.exception("exec in pod %s/%s", target.namespace, target.name)
        await session.fail(error)
    return socket


class _Exec:
    """One exec: three pumps between the WebSocket and a process."""

    def __init__(self, socket: web.WebSocketResponse, command: list[str], wants: Mapping[str, bool]) -> None:
        self.socket = socket
        self.command = command
        self.wants = wants
        self.protocol = socket.ws_protocol or ""

    async def run(self, context: Context, pod: Object, container: str) -> None:
        await self.socket.send_bytes(bytes([_STDOUT]))
        try:
            process = await context.runtime.exec(
                pod, container, self.command, stdin=self.wants["stdin"], tty=self.wants["tty"]
            )
        except CommandNotFound as error:
            await self.fail(error)
            return
        incoming = asyncio.create_task(self._incoming(process))
        work = asyncio.create_task(self._carry(process))
        try:
            await asyncio.wait((incoming, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                # the client left: what it started goes with it
                process.kill()
            await self._finish(exit_status(await work, self.command, self.protocol))
        except ConnectionResetError:
            return
        finally:
            process.kill()
            incoming.cancel()
            work.cancel()
            await asyncio.gather(incoming, work, return_exceptions=True)

    async def fail(self, error: Exception) -> None:
        """Tell the client that its command could not be run, and close."""
        await self._finish(start_failure(error, self.protocol))

    async def _carry(self, process: ExecProcess) -> int:
        """Carries the output until it ends; the exit code."""
        pumps = [self._pump(process.stdout, _STDOUT if self.wants["stdout"] else None)]
        if process.stderr is not None:
            pumps.append(self._pump(process.stderr, _STDERR if self.wants["stderr"] else None))
        await asyncio.gather(*pumps)
        return await process.wait()

    async def _finish(self, result: Object) -> None:
        if self.socket.closed:
            return
        if self.protocol in _WITH_STATUS:
            text = json.dumps(result, separators=(",", ":")).encode()
            await self.socket.send_bytes(bytes([_ERROR]) + text)
        await self.socket.close(code=WSCloseCode.OK)

    async def _pump(self, reader: asyncio.StreamReader, channel: int | None) -> None:
        while data := await reader.read(_CHUNK):
            if channel is not None and not self.socket.closed:
                await self.socket.send_bytes(bytes([channel]) + data)

    async def _incoming(self, process: ExecProcess) -> None:
        async for message in self.socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            if not data:
                continue
            channel, data = data[0], data[1:]
            if channel == _STDIN and process.stdin is not None:
                await _write(process.stdin, data)
            elif channel == _CLOSE and data[:1] == bytes([_STDIN]) and process.stdin is not None:
                process.stdin.close()
            elif channel == _RESIZE:
                size = json.loads(data)
                process.resize(int(size["Height"]), int(size["Width"]))


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():
        return
    try:
        writer.write(data)
        await writer.drain()
    except (BrokenPipeError, ConnectionResetError):
        # the process closed its standard input, which is its right
        writer.close()


async def port_forward(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """``portforward``: channel 2n carries port n, channel 2n+1 its errors; each begins with the port's number."""
    _check_upgrade(request)
    pod = context.registry.get("pods", target.namespace, target.name)
    if not pod["spec"].get("nodeName"):
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    asked = ",".join(request.query.getall("ports", [])).split(",")
    ports = [int(port) for port in asked if port.isdigit()]
    if not ports:
        return plain('query parameter "port" is required', 400)
    socket = await _accept(request, _FORWARD_PROTOCOLS)
    if socket is None:
        return web.Response(status=403)
    for i, port in enumerate(ports):
        for channel in (2 * i, 2 * i + 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
    writers: dict[int, asyncio.StreamWriter] = {}
    pumps: set[asyncio.Task[None]] = set()
    try:
        for i, port in enumerate(ports):
            try:
                reader, writer = await context.runtime.dial(pod, port)
            except OSError as error:
                why = os.strerror(error.errno).lower() if error.errno else str(error)
                text = f"error forwarding port {port} to pod {target.name}: {why}"
                await socket.send_bytes(bytes([2 * i + 1]) + text.encode())
                await socket.close(code=WSCloseCode.OK)
                return socket
            writers[2 * i] = writer
            pumps.add(asyncio.create_task(_forward(reader, socket, 2 * i)))
        everything = asyncio.create_task(_all_done(pumps, socket))
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data and message.data[0] in writers:
                await _write(writers[message.data[0]], message.data[1:])
        everything.cancel()
    finally:
        for pump in pumps:
            pump.cancel()
        for writer in writers.values():
            writer.close()
    return socket


async def _forward(reader: asyncio.StreamReader, socket: web.WebSocketResponse, channel: int) -> None:
    while data := await reader.read(_CHUNK):
        await socket.send_bytes(bytes([channel]) + data)


async def _all_done(pumps: set[asyncio.Task[None]], socket: web.WebSocketResponse) -> None:
    await asyncio.gather(*pumps, return_exceptions=True)
    await socket.close(code=WSCloseCode.OK)
