"""The WebSocket of a pod's exec, connected as the official client does it, but within a given time.

`kubernetes.stream.ws_client.create_websocket` takes no time-out: a server that accepts a connection and never answers
would hold it for good. TLS and proxies come from the same `Configuration`.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import certifi
from kubernetes.stream.ws_client import V4_CHANNEL_PROTOCOL, V5_CHANNEL_PROTOCOL, websocket_proxycare
from websocket import WebSocket, WebSocketBadStatusException

#: seconds without a word from the other end before it is asked whether it is still there, between two such questions,
#: and without an acknowledgement of what was sent before a connection counts as broken: balancers forget connections
_IDLE, _AGAIN, _UNACKNOWLEDGED = 15, 5, 15


def keepalive() -> list[tuple[int, int, int]]:
    """Socket options by which the kernel notices a connection whose other end, or whose way, is gone."""
    wanted = (
        ("TCP_KEEPIDLE", _IDLE),
        ("TCP_KEEPINTVL", _AGAIN),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED * 1000),
    )
    here = [
        (socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in wanted if hasattr(socket, name)
    ]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *here]


def connect(configuration: Any, url: str, headers: Mapping[str, str], timeout: float) -> WebSocket:
    """A connected WebSocket. `timeout` is seconds for each step: connection, TLS, and each read of the answer.

    Raises OSError or `websocket.WebSocketException`.
    """
    verify = url.startswith("wss://") and configuration.verify_ssl
    tls: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE}
    if verify:
        tls = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert or certifi.where()}
        if configuration.assert_hostname is not None:
            tls["check_hostname"] = configuration.assert_hostname
    for key, value in (
        ("certfile", configuration.cert_file),
        ("keyfile", configuration.key_file),
        ("server_hostname", configuration.tls_server_name),
    ):
        if value:
            tls[key] = value
    header = [f"sec-websocket-protocol: {V5_CHANNEL_PROTOCOL},{V4_CHANNEL_PROTOCOL}"]
    if "authorization" in headers:
        header.append(f"authorization: {headers['authorization']}")
    options: dict[str, Any] = {"header": header, "timeout": timeout}
    if configuration.proxy or configuration.proxy_headers:
        options = websocket_proxycare(options, configuration, url, headers)  # type: ignore[no-untyped-call]
    made = WebSocket(sslopt=tls, sockopt=keepalive(), skip_utf8_validation=False)
    made.connect(url, **options)  # type: ignore[no-untyped-call]
    return made


def status_message(error: WebSocketBadStatusException) -> str:
    """The message of the Status with which an API server refused a WebSocket; its HTTP status line without one."""
    try:
        return str(json.loads(error.resp_body or b"")["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status_code} {error.status_message or ''}".strip()
