"""An HTTP proxy that knows CONNECT alone: connect_proxy.py PORT LOG [USER:PASSWORD]. It notes each request in LOG."""

from __future__ import annotations

import base64
import socket
import sys
import threading
from pathlib import Path


def copy(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other direction has ended it


def serve(client: socket.socket, log: Path, credentials: str) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        part = client.recv(65536)
        if not part:
            return
        head += part
    lines = head.decode().split("\r\n")
    verb, target, _ = lines[0].split()
    given = [
        line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("proxy-authorization:")
    ]
    wanted = "Basic " + base64.b64encode(credentials.encode()).decode()
    if credentials and given != [wanted]:
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
        client.close()
        return
    with log.open("a") as file:
        file.write(f"{verb} {target}\n")
    host, _, port = target.rpartition(":")
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)


def main(port: str, log: str, credentials: str = "") -> None:
    with socket.create_server(("127.0.0.1", int(port))) as listening:
        while True:
            client, _ = listening.accept()
            threading.Thread(target=serve, args=(client, Path(log), credentials), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
