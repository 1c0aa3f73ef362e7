"""``exec`` and ``attach``: the streams of a process in a container, over WebSocket.

The first byte of a message is the channel: 0 stdin, 1 stdout, 2 stderr, 3 status, 4 resize; 255 closes a channel (v5).
Sources: KEP-4006, k8s.io/cri-streaming, and what a real server was seen to send.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from kubereach_lab import status, versions
from kubereach_lab.api import upgrade
from kubereach_lab.api.context import Context, plain
from kubereach_lab.api.requests import Target, flag
from kubereach_lab.runtime import CommandNotFound, ExecProcess
from kubereach_lab.status import Object

log = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
#: of these, a message is text: the channel as a digit, then base64
_BASE64 = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")
_PROTOCOLS = (_V5, _V4, "channel.k8s.io", *_BASE64)
#: those that report the exit code as a Status
_WITH_STATUS = (_V5, _V4, _BASE64[0])
_CHUNK = 32 * 1024

#: which of stdin, stdout, stderr and tty the client asks for
Wants = Mapping[str, bool]
Start = Callable[[Object, str, Wants], Awaitable[ExecProcess]]


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


def _running(pod: Object, container: str) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    states = states + ((pod.get("status") or {}).get("initContainerStatuses") or [])
    return any(s["name"] == container and "running" in (s.get("state") or {}) for s in states)


def success() -> Object:
    return {"metadata": {}, "status": "Success"}


def exit_status(code: int, command: list[str], protocol: str) -> Object:
    """The status of a process that has ended."""
    if code == 0:
        return success()
    why = f"command terminated with exit code {code}"
    if protocol in (_V4, _BASE64[0]):
        why = f"error executing command [{' '.join(command)}], exit code {code}"
    cause = {"reason": "ExitCode", "message": str(code)}
    return _failure(f"command terminated with non-zero exit code: {why}", "NonZeroExitCode", cause)


def start_failure(error: Exception, protocol: str) -> Object:
    """The status of a command that cannot be started."""
    why = (
        "error executing command in container: failed to exec in container: failed to start exec "
        f'"{secrets.token_hex(32)}": OCI runtime exec failed: exec failed: {_cause(error)}'
    )
    if protocol == _V5:
        why = f"Internal error occurred: {why}"
    return _failure(f"Internal error occurred: {why}", "InternalError", {"message": why}) | {"code": 500}


def _failure(message: str, reason: str, cause: Object) -> Object:
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": [cause]},
    }


def _cause(error: Exception) -> str:
    return f"unable to start container process: {error}" if str(error) else "args must not be empty"


async def execute(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """``exec``: runs a command in a container and carries its streams."""
    command = request.query.getall("command", [])

    async def start(pod: Object, container: str, wants: Wants) -> ExecProcess:
        if not command:
            raise CommandNotFound
        return await context.runtime.exec(pod, container, command, stdin=wants["stdin"], tty=wants["tty"])

    upgrade.check(request)
    if context.config.faults.api.exec_forbidden:
        context.registry.get("pods", target.namespace, target.name)
        why = 'User "kubernetes-admin" cannot create resource "pods/exec" in API group "" in the namespace'
        raise status.forbidden("pods", target.name, f'{why} "{target.namespace}"')
    return await _serve(request, context, target, start, command)


async def attach(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """``attach``: carries the streams of a container's own process, its output from now on."""

    async def start(pod: Object, container: str, wants: Wants) -> ExecProcess:
        return await context.runtime.attach(pod, container, stdin=wants["stdin"])

    upgrade.check(request)
    return await _serve(request, context, target, start, [])


async def _serve(
    request: web.BaseRequest, context: Context, target: Target, start: Start, command: list[str]
) -> web.StreamResponse:
    query = request.query
    pod = context.registry.get("pods", target.namespace, target.name)
    container = container_of(pod, query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    wants = {name: flag(query, name) for name in ("stdin", "stdout", "stderr", "tty")}
    if not (wants["stdin"] or wants["stdout"] or wants["stderr"]):
        return plain("you must specify at least 1 of stdin, stdout, stderr", 400)
    if not _running(pod, container):
        return plain(f'container not found ("{container}")', 500)

    async def begin() -> ExecProcess:
        return await start(pod, container, wants)

    new = context.config.minor >= versions.V5_STREAMS
    socket = await upgrade.websocket(request, _PROTOCOLS if new else _PROTOCOLS[1:])
    if socket is None:
        return web.Response(status=403)
    await _Command(_Channels(socket, wants), command).run(begin)
    return socket


class _Command:
    """One command: pumps between the client and a process."""

    def __init__(self, channels: _Channels, command: list[str]) -> None:
        self.channels = channels
        self.command = command

    async def run(self, begin: Callable[[], Awaitable[ExecProcess]]) -> None:
        """Starts the process and carries its streams until it ends or the client leaves."""
        try:
            await self._run(begin)
        except ConnectionError:
            return
        except Exception as error:
            # After the upgrade there is no HTTP answer any more: the client is told in the stream.
            log.exception("a stream of %s", self.command or "attach")
            await self._fail(error)

    async def _run(self, begin: Callable[[], Awaitable[ExecProcess]]) -> None:
        await self.channels.write(STDOUT, b"")
        try:
            process = await begin()
        except CommandNotFound as error:
            await self._fail(error)
            return
        incoming = asyncio.create_task(self.channels.carry_input(process))
        work = asyncio.create_task(self._carry(process))
        try:
            await asyncio.wait((incoming, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                # the client left: what it started goes with it
                process.kill()
            result = exit_status(await work, self.command, self.channels.protocol)
            await self.channels.finish(result)
        finally:
            process.kill()
            incoming.cancel()
            work.cancel()
            await asyncio.gather(incoming, work, return_exceptions=True)
            if process.stdin is not None:
                process.stdin.close()

    async def _fail(self, error: Exception) -> None:
        """Tell the client that its command could not be run, and close."""
        with contextlib.suppress(ConnectionError):
            await self.channels.finish(start_failure(error, self.channels.protocol))

    async def _carry(self, process: ExecProcess) -> int:
        """Carries the output until it ends; the exit code."""
        pumps = [self._pump(process.stdout, STDOUT)]
        if process.stderr is not None:
            pumps.append(self._pump(process.stderr, STDERR))
        await asyncio.gather(*pumps)
        return await process.wait()

    async def _pump(self, reader: asyncio.StreamReader, channel: int) -> None:
        while data := await reader.read(_CHUNK):
            await self.channels.write(channel, data)


class _Channels:
    """The client's end of the streams of one command."""

    def __init__(self, socket: web.WebSocketResponse, wants: Wants) -> None:
        self.socket = socket
        self.protocol = socket.ws_protocol or ""
        self._open = {STDOUT: wants["stdout"], STDERR: wants["stderr"]}

    async def write(self, channel: int, data: bytes) -> None:
        """Sends output. Raises `OSError` when the client is gone."""
        # the empty one at the start comes also to those who want no output
        if (self._open[channel] or not data) and not self.socket.closed:
            await self._send(channel, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self.protocol in _BASE64:
            await self.socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self.socket.send_bytes(bytes([channel]) + data)

    def _received(self, message: WSMessage) -> bytes:
        """A message as channel and data; empty if it is none."""
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if self.protocol not in _BASE64:
            return data
        try:
            return bytes([data[0] - ord("0")]) + base64.b64decode(data[1:]) if data else b""
        except (ValueError, binascii.Error):
            return b""

    async def carry_input(self, process: ExecProcess) -> None:
        """Hands the client's input to a process; returns when the client is gone."""
        async for message in self.socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            data = self._received(message)
            if not data:
                continue
            channel, data = data[0], data[1:]
            if channel == STDIN and process.stdin is not None:
                await feed(process.stdin, data)
            elif channel == CLOSE and data[:1] == bytes([STDIN]) and process.stdin is not None:
                process.stdin.close()
            elif channel == RESIZE:
                _resize(process, json.loads(data))

    async def finish(self, result: Object) -> None:
        """Tells how it ended, and closes."""
        if self.socket.closed:
            return
        if self.protocol in _WITH_STATUS:
            await self._send(ERROR, _compact(result))
        await self.socket.close(code=WSCloseCode.OK)


def _compact(result: Object) -> bytes:
    """As Go writes it, which spares HTML the characters that mean something there."""
    text = json.dumps(result, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _resize(process: ExecProcess, size: Any) -> None:
    if isinstance(size, dict):
        rows, columns = size.get("Height", 0), size.get("Width", 0)
        if all(isinstance(n, int) and 0 < n < 65536 for n in (rows, columns)):
            process.resize(rows, columns)


async def feed(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Writes to a process or a connection; what it does not take any more is dropped."""
    if writer.is_closing():
        return
    try:
        writer.write(data)
        await writer.drain()
    except (BrokenPipeError, ConnectionResetError):
        # it closed its end, which is its right
        writer.close()
