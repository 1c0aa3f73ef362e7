"""``portforward``: TCP connections to a pod's own loopback, over WebSocket.

kubectl opens two SPDY streams for each connection, one of data and one for what goes wrong, paired by the header
``requestID``, and carries this SPDY in WebSocket messages (KEP-4006). The older form, which the official Python client
speaks, has one connection for each port: channel 2n carries port n, channel 2n+1 its errors, and each begins with the
port's number. Source: k8s.io/cri-streaming, portforward.

Real servers take the first since v1.31, and this one always: those of before v1.31 get it from kubectl over SPDY alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import WSCloseCode, WSMsgType, web

from kubereach_lab import status
from kubereach_lab.api import upgrade
from kubereach_lab.api.context import Context, plain
from kubereach_lab.api.remote_command import feed
from kubereach_lab.api.requests import Target
from kubereach_lab.api.spdy_session import Pipe, Session, Stream
from kubereach_lab.runtime import PortClosed

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "channel.k8s.io")
_CHUNK = 32 * 1024

Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def port_forward(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """Carries connections until the client leaves or the pod ends."""
    upgrade.check(request)
    pod = context.registry.get("pods", target.namespace, target.name)
    if not pod["spec"].get("nodeName"):
        raise status.bad_request(f"pod {target.name} does not have a host assigned")

    async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await context.runtime.dial_loopback(pod, port)

    if _TUNNEL not in upgrade.offered_by(request):
        return await _by_channels(request, dial)
    socket = await upgrade.websocket(request, (_TUNNEL,))
    if socket is None:
        return web.Response(status=403)
    await Forwarder(Tunnel(socket), dial).run()
    await socket.close(code=WSCloseCode.OK)
    return socket


class Tunnel:
    """SPDY in the binary messages of a WebSocket, whose borders mean nothing: a `Pipe`."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return cast("bytes", message.data)

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)


class Forwarder:
    """All connections that one client forwards."""

    def __init__(self, pipe: Pipe, dial: Dial) -> None:
        self._session = Session(pipe)
        self._dial = dial
        #: streams whose partner has not come yet, by request
        self._alone: dict[str, Stream] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serves until the client leaves."""
        reading = asyncio.create_task(self._session.run())
        try:
            async for stream in self._session.opened():
                await self._opened(stream)
            await reading
        except ConnectionError:
            return
        finally:
            for task in (reading, *self._connections):
                task.cancel()
            await asyncio.gather(reading, *self._connections, return_exceptions=True)

    async def _opened(self, stream: Stream) -> None:
        kind, port = stream.headers.get("streamtype", ""), stream.headers.get("port", "")
        if kind not in ("data", "error") or not port.isdecimal() or not 0 < int(port) < 65536:
            await stream.reset()
            return
        await stream.accept()
        # clients older than v1.3 name no request: their pair has the numbers n and n + 2
        number = stream.number if kind == "error" else stream.number - 2
        request = stream.headers.get("requestid") or str(number)
        other = self._alone.pop(request, None)
        if other is None:
            self._alone[request] = stream
        elif other.headers["streamtype"] == kind:
            self._alone[request] = other
            text = f"error processing stream for request {request}: {kind} stream already assigned"
            await (stream if kind == "error" else other).write(text.encode())
            await stream.reset()
        else:
            data, error = (stream, other) if kind == "data" else (other, stream)
            task = asyncio.create_task(self._forward(int(port), data, error))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _forward(self, port: int, data: Stream, error: Stream) -> None:
        try:
            reader, writer = await self._dial(port)
        except PortClosed as closed:
            with contextlib.suppress(ConnectionError):
                await error.write(str(closed).encode())
            await error.finish()
            await data.reset()
            return
        ways = [
            asyncio.create_task(_from_pod(reader, data)),
            asyncio.create_task(_to_pod(data, writer)),
        ]
        try:
            # each direction ends for itself; one that breaks ends both
            await asyncio.gather(*ways)
        except ConnectionError:
            writer.transport.abort()
            await data.reset()
        finally:
            for way in ways:
                way.cancel()
            writer.close()
            await asyncio.gather(*ways, return_exceptions=True)
            await error.finish()


async def _from_pod(reader: asyncio.StreamReader, data: Stream) -> None:
    while chunk := await reader.read(_CHUNK):
        await data.write(chunk)
    await data.finish()


async def _to_pod(data: Stream, writer: asyncio.StreamWriter) -> None:
    while chunk := await data.read():
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _by_channels(request: web.BaseRequest, dial: Dial) -> web.StreamResponse:
    asked = ",".join(request.query.getall("ports", [])).split(",")
    ports = [int(port) for port in asked if port.isdigit()]
    if not ports:
        return plain('query parameter "port" is required', 400)
    socket = await upgrade.websocket(request, _CHANNEL_PROTOCOLS)
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
                reader, writer = await dial(port)
            except PortClosed as closed:
                await socket.send_bytes(bytes([2 * i + 1]) + str(closed).encode())
                await socket.close(code=WSCloseCode.OK)
                return socket
            writers[2 * i] = writer
            pumps.add(asyncio.create_task(_to_channel(reader, socket, 2 * i)))
        everything = asyncio.create_task(_all_done(pumps, socket))
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data and message.data[0] in writers:
                await feed(writers[message.data[0]], message.data[1:])
        everything.cancel()
    finally:
        for pump in pumps:
            pump.cancel()
        for writer in writers.values():
            writer.close()
    return socket


async def _to_channel(reader: asyncio.StreamReader, socket: web.WebSocketResponse, channel: int) -> None:
    while data := await reader.read(_CHUNK):
        await socket.send_bytes(bytes([channel]) + data)


async def _all_done(pumps: set[asyncio.Task[None]], socket: web.WebSocketResponse) -> None:
    await asyncio.gather(*pumps, return_exceptions=True)
    await socket.close(code=WSCloseCode.OK)
