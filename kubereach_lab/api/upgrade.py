"""From an HTTP request to a WebSocket, which is what streams are carried by.

A client says in ``Sec-WebSocket-Protocol`` what it will speak on it. Source: RFC 6455, and k8s.io/streaming, wsstream.
Real servers stream over SPDY/3.1 too, for kubectls of before v1.31, which no release of Kubernetes supports any more.
"""

from __future__ import annotations

from aiohttp import web

from kubereach_lab import status

#: a message may be as long as this; clients send a file to stdin in one
_LONGEST_MESSAGE = 32 * 1024 * 1024


def check(request: web.BaseRequest) -> None:
    """Raises `StatusError` 400 unless the client asks for a WebSocket."""
    upgrade = request.headers.get("Upgrade", "")
    if "upgrade" not in request.headers.get("Connection", "").lower() or not upgrade:
        raise status.bad_request("Upgrade request required")
    if upgrade.lower() != "websocket":
        raise status.bad_request(
            f"the lab streams over WebSocket, as kubectl does since v1.31, and not over {upgrade}"
        )


async def websocket(request: web.BaseRequest, protocols: tuple[str, ...]) -> web.WebSocketResponse | None:
    """A WebSocket that speaks the first of `protocols` that the client offers; None if it offers others only."""
    offered = offered_by(request)
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


def offered_by(request: web.BaseRequest) -> list[str]:
    """The sub-protocols that a client can speak, the best first."""
    return [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
