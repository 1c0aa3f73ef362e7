"""The question of a gRPC probe: ``grpc.health.v1.Health/Check`` over HTTP/2 without TLS.

Just enough of HTTP/2 for one unary call: headers go out as literals, and of the answer only the message is read.

Sources: https://github.com/grpc/grpc/blob/master/doc/health-checking.md, RFC 9113, RFC 7541 section 6.2.2.
"""

from __future__ import annotations

import asyncio
import struct

from kubereach_lab.network import NodeNetwork

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _AWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_STREAM = 1
_PADDED = 8
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


async def check(network: NodeNetwork, host: str, port: int, service: str) -> str | None:
    """Ask a server how `service` is; None if it serves, or why not. Raises OSError."""
    connection = await network.connect(host, port)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _question(f"{host}:{port}", service))
        return await _answer(reader, writer)
    except asyncio.IncompleteReadError:
        return "error: health rpc probe failed: the server closed the connection"
    finally:
        writer.close()


def _question(authority: str, service: str) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        "user-agent": "kube-probe/1.36",
    }
    # literal header fields without indexing, not compressed
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
    message = b"\x0a" + _text(service) if service else b""
    body = struct.pack(">BI", 0, len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, _STREAM, block) + _frame(_DATA, _END_STREAM, _STREAM, body)


def _text(text: str) -> bytes:
    data = text.encode()[:126]
    return bytes([len(data)]) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    body = b""
    while True:
        head = await reader.readexactly(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _AWAY or (kind == _RESET and stream == _STREAM):
            return "error: health rpc probe failed: the server ended the call"
        elif kind == _DATA and stream == _STREAM:
            body += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        ended = stream == _STREAM and kind in (_DATA, _HEADERS) and flags & _END_STREAM
        if ended or (len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big")):
            return _verdict(body)


def _verdict(body: bytes) -> str | None:
    if len(body) < 5:
        return "error: health rpc probe failed: rpc error: there was no answer of the health service"
    message = body[5:]
    # HealthCheckResponse: field 1 is the status; nothing is its first value
    state = message[1] if len(message) > 1 and message[0] == 8 else 0
    name = _STATES[state] if state < len(_STATES) else str(state)
    return None if name == "SERVING" else f'service unhealthy (responded with "{name}")'
