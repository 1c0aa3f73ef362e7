"""The question of a gRPC probe: ``grpc.health.v1.Health/Check`` over HTTP/2 without TLS.

Sources: https://github.com/grpc/grpc/blob/master/doc/health-checking.md and PROTOCOL-HTTP2.md beside it.
"""

from __future__ import annotations

import asyncio
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from kubereach_lab.network import NodeNetwork

_STREAM = 1
_BLOCK = 64 * 1024
_FAILED = "error: health rpc probe failed:"
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


async def check(network: NodeNetwork, host: str, port: int, service: str) -> str | None:
    """Ask a server how `service` is; None if it serves, or why not. Raises OSError."""
    connection = await network.connect(host, port)
    reader, writer = await asyncio.open_connection(sock=connection)
    http = H2Connection(H2Configuration(client_side=True))
    try:
        _request(http, f"{host}:{port}", service)
        return await _answer(http, reader, writer)
    except ProtocolError as error:
        return f"{_FAILED} the server does not speak HTTP/2: {error}"
    finally:
        writer.close()


def _request(http: H2Connection, authority: str, service: str) -> None:
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.36"),
    ]
    name = service.encode()[:126]
    # HealthCheckRequest: field 1 is the service's name; nothing is the server as a whole
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    http.initiate_connection()
    http.send_headers(_STREAM, headers)
    http.send_data(_STREAM, struct.pack(">BI", 0, len(message)) + message, end_stream=True)


async def _answer(
    http: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str | None:
    body = b""
    while True:
        writer.write(http.data_to_send())
        data = await reader.read(_BLOCK)
        if not data:
            return f"{_FAILED} the server closed the connection"
        for event in http.receive_data(data):
            if isinstance(event, DataReceived):
                body += event.data or b""
            if _is_whole(body) or isinstance(event, StreamEnded):
                return _verdict(body)
            if isinstance(event, (StreamReset, ConnectionTerminated)):
                return f"{_FAILED} the server ended the call"


def _is_whole(body: bytes) -> bool:
    return len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big")


def _verdict(body: bytes) -> str | None:
    if len(body) < 5:
        return f"{_FAILED} rpc error: there was no answer of the health service"
    message = body[5:]
    # HealthCheckResponse: field 1 is the status; nothing is its first value
    state = message[1] if len(message) > 1 and message[0] == 8 else 0
    name = _STATES[state] if state < len(_STATES) else str(state)
    return None if name == "SERVING" else f'service unhealthy (responded with "{name}")'
