"""The readiness, and the end, of the backend in the prober's own pod."""

from __future__ import annotations

import socket
import time

from .outcomes import empty_row, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outcomes import Rows
    from .series import Series


def set_ready(series: Series) -> Rows:
    """Turn the readiness of the backend in this pod on or off, or end it; it is reached over the loopback."""
    request, begun = series.request, time.monotonic()
    path = "/end" if request.get("end") else "/ready?on=" + ("1" if request["on"] else "0")
    ask = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nKubereach-Secret: {}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", series.port), series.timeout) as sock:
        sock.sendall(ask.format(path, request.get("secret", "")).encode())
        status = shown(sock.recv(65536).split(b"\r\n", 1)[0])
    row = empty_row("ok" if " 200 " in status else "protocol", "", status)
    return [(row, time.monotonic() - begun, begun)]
