"""``portforward``: TCP connections to a pod's own loopback, over WebSocket.

kubectl's form is in `kubereach_lab.kubectl.portforward`; real servers take it since v1.31, and this one always, since
older ones get it over SPDY alone. The older form, which the official Python client speaks, has one connection for each
port: channel 2n carries port n, channel 2n+1 its errors, and each begins with the port's number. Source:
k8s.io/cri-streaming, portforward.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from kubereach_lab import status
from kubereach_lab.api import upgrade
from kubereach_lab.api.context import Context, plain
from kubereach_lab.api.remote_command import feed
from kubereach_lab.api.requests import Target
from kubereach_lab.kubectl.portforward import PROTOCOL, Dial, Forwarder, Tunnel
from kubereach_lab.runtime import PortClosed

_CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "channel.k8s.io")
_CHUNK = 32 * 1024


async def port_forward(request: web.BaseRequest, context: Context, target: Target) -> web.StreamResponse:
    """Carries connections until the client leaves or the pod ends."""
    upgrade.check(request)
    pod = context.registry.get("pods", target.namespace, target.name)
    if not pod["spec"].get("nodeName"):
        raise status.bad_request(f"pod {target.name} does not have a host assigned")

    async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await context.runtime.dial_loopback(pod, port)

    if PROTOCOL not in upgrade.offered_by(request):
        return await _by_channels(request, dial)
    socket = await upgrade.websocket(request, (PROTOCOL,))
    if socket is None:
        return web.Response(status=403)
    await Forwarder(Tunnel(socket), dial).run()
    await socket.close(code=WSCloseCode.OK)
    return socket


async def _by_channels(request: web.BaseRequest, dial: Dial) -> web.StreamResponse:
    requested = ",".join(request.query.getall("ports", [])).split(",")
    ports = [int(port) for port in requested if port.isdigit()]
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
