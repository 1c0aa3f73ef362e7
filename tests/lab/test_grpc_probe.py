"""What a gRPC probe makes of servers of all kinds."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived

from kubereach_lab.kubelet.grpc_probe import check
from kubereach_lab.network import NodeNetwork

Reaction = Callable[[H2Connection, int], None]


class Node:
    """A node whose pods' addresses are this machine's."""

    async def connect(self, host: str, port: int) -> socket.socket:
        connection = socket.create_connection((host, port), 10)
        connection.setblocking(False)
        return connection


def probed(react: Reaction | bytes, service: str = "") -> tuple[str | None, dict[str, object]]:
    """What a probe says of a server that reacts so to the request, or answers these bytes; and what it was asked."""
    asked: dict[str, object] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        while data := await reader.read(65536):
            if isinstance(react, bytes):
                writer.write(react)
                break
            for event in http.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked.update(event.headers or [])
                if isinstance(event, DataReceived):
                    asked["body"] = event.data
                    react(http, event.stream_id)
            writer.write(http.data_to_send())
        writer.close()

    async def ask() -> str | None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.wait_for(check(cast("NodeNetwork", Node()), "127.0.0.1", port, service), 10)

    return asyncio.run(ask()), asked


def answered(message: bytes) -> Reaction:
    def react(http: H2Connection, stream: int) -> None:
        http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        # in two parts, with padding
        body = struct.pack(">BI", 0, len(message)) + message
        http.send_data(stream, body[:3], pad_length=7)
        http.send_data(stream, body[3:])
        http.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    return react


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x08\x01", None),
        (b"\x08\x02", 'service unhealthy (responded with "NOT_SERVING")'),
        (b"", 'service unhealthy (responded with "UNKNOWN")'),
        (b"\x08\x09", 'service unhealthy (responded with "9")'),
    ],
)
def test_the_status_decides(message: bytes, said: str | None) -> None:
    assert probed(answered(message))[0] == said


def test_the_question_names_the_service() -> None:
    _, asked = probed(answered(b"\x08\x01"), "web")
    assert asked[":path"] == "/grpc.health.v1.Health/Check"
    assert (asked["content-type"], asked["te"]) == ("application/grpc", "trailers")
    assert asked["body"] == b"\x00\x00\x00\x00\x05\x0a\x03web"
    assert probed(answered(b"\x08\x01"))[1]["body"] == b"\x00\x00\x00\x00\x00"


def no_health_service(http: H2Connection, stream: int) -> None:
    http.send_headers(stream, [(":status", "200"), ("grpc-status", "12")], end_stream=True)


def reset(http: H2Connection, stream: int) -> None:
    http.reset_stream(stream)


def gone(http: H2Connection, _stream: int) -> None:
    http.close_connection()


@pytest.mark.parametrize(
    ("react", "said"),
    [
        (no_health_service, "rpc error: there was no answer of the health service"),
        (reset, "the server ended the call"),
        (gone, "the server ended the call"),
        (b"", "the server closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "the server closed the connection"),
        (bytes(9), "the server does not speak HTTP/2"),
    ],
    ids=["no service", "reset", "gone", "closed", "http1", "no frame"],
)
def test_other_servers_fail_the_probe(react: Reaction | bytes, said: str) -> None:
    verdict, _ = probed(react)
    assert verdict is not None and verdict.startswith(f"error: health rpc probe failed: {said}")
