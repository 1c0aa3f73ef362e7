"""From an HTTP request to streams: over SPDY/3.1, over WebSocket, or over SPDY in WebSocket messages (KEP-4006).

A client says with ``Upgrade`` what it wants, and what it will speak on the streams in ``X-Stream-Protocol-Version``
(SPDY) or ``Sec-WebSocket-Protocol``. Source: k8s.io/streaming, httpstream.Handshake and wsstream.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import WSMsgType, web

from kubereach_lab import status

SPDY = "SPDY/3.1"
_VERSION, _ACCEPTED = "X-Stream-Protocol-Version", "X-Accepted-Stream-Protocol-Versions"
#: a message may be as long as this; clients send a file to stdin in one
_LONGEST_MESSAGE = 32 * 1024 * 1024
_CHUNK = 64 * 1024


def wanted(request: web.BaseRequest) -> str:
    """What the connection is to become: ``websocket`` or ``SPDY/3.1``. Raises `StatusError` 400."""
    upgrade = request.headers.get("Upgrade", "")
    if "upgrade" not in request.headers.get("Connection", "").lower() or not upgrade:
        raise status.bad_request("Upgrade request required")
    if upgrade.lower() == "websocket":
        return "websocket"
    if upgrade.lower() == SPDY.lower():
        return SPDY
    raise status.bad_request(f"the server streams over websocket and {SPDY}, not over {upgrade}")


async def websocket(request: web.BaseRequest, protocols: tuple[str, ...]) -> web.WebSocketResponse | None:
    """A WebSocket that speaks the first of `protocols` that the client offers; None if it offers others only."""
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


class SpdyResponse(web.StreamResponse):
    """A connection that has become SPDY: `kubereach_lab.api.spdy_session.Pipe` over the bytes of the request's own."""

    _length_check = False

    def __init__(self, protocol: str) -> None:
        headers = {"Connection": "Upgrade", "Upgrade": SPDY}
        if protocol:
            headers[_VERSION] = protocol
        super().__init__(status=101, headers=headers)
        self.protocol = protocol

    async def read(self) -> bytes:
        return await self._reader.read(_CHUNK)

    async def open(self, request: web.BaseRequest) -> None:
        """Answers with 101; from here on the connection is ours."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._reader = asyncio.StreamReader(_CHUNK)
        # pauses the connection while nobody reads
        self._reader.set_transport(transport)
        request.protocol.set_parser(cast("web.Any", _Bytes(self._reader)))  # type: ignore[name-defined]
        request.protocol.keep_alive(False)
        await self.prepare(request)


class _Bytes:
    """What aiohttp hands a connection's bytes to once they are HTTP no more."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def spdy(request: web.BaseRequest, protocols: tuple[str, ...]) -> SpdyResponse | web.Response:
    """A SPDY connection that speaks the first that the client names of `protocols`; 403 if it names others only."""
    offered = [p.strip() for line in request.headers.getall(_VERSION, []) for p in line.split(",")]
    spoken = next((protocol for protocol in offered if protocol in protocols), None)
    if spoken is None:
        why = f"client supports [{' '.join(offered)}], server accepts [{' '.join(protocols)}]"
        text = f"unable to upgrade: unable to negotiate protocol: {why}\n"
        refusal = web.Response(text=text, status=403)
        for protocol in protocols:
            refusal.headers.add(_ACCEPTED, protocol)
        return refusal
    response = SpdyResponse(spoken)
    await response.open(request)
    return response


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
