"""``kubectl port-forward``: SPDY/3.1 in the messages of a WebSocket (KEP-4006).

kubectl opens two SPDY streams for each connection, one of data and one for what goes wrong, paired by the header
``requestID``. Source: k8s.io/cri-streaming, portforward.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import WSMsgType, web

from kubereach_lab.kubectl.spdy_session import Pipe, Session, Stream
from kubereach_lab.runtime import PortClosed

#: the sub-protocol of the WebSocket
PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_CHUNK = 32 * 1024

#: opens a connection to a port of the pod. Raises `PortClosed`
Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


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
