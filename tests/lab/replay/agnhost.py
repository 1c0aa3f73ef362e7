"""Stands for the image that the recorded pods ran, as far as the recordings use it.

``agnhost.py netexec [--http-port=8080]`` answers HTTP, ``agnhost.py pause`` waits. Only light modules are imported,
because dozens of pods start it.

Source: https://github.com/kubernetes/kubernetes/tree/master/test/images/agnhost (netexec, pause).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 418: "I'm a teapot", 500: "Internal Server Error"}

_BEGUN = time.monotonic()


def _unquoted(text: str) -> str:
    parts = text.replace("+", " ").encode().split(b"%")
    return b"".join([parts[0], *(bytes([int(part[:2], 16)]) + part[2:] for part in parts[1:])]).decode()


def _answer(path: str, query: dict[str, str], client: str) -> tuple[int, list[str], str]:
    """(status, headers, body) of a request."""
    plain = ["Content-Type: text/plain; charset=utf-8"]
    if path == "/hostname":
        return 200, plain, socket.gethostname()
    if path == "/clientip":
        return 200, plain, client
    if path == "/echo":
        code = int(query.get("code") or 200)
        return code, plain if query.get("msg") else [], query.get("msg", "")
    if path == "/header":
        return 200, plain, ""
    if path == "/healthz":
        return 200, [], ""
    if path == "/redirect":
        where, code = query.get("location", "/"), int(query.get("code") or 302)
        html = [f"Location: {where}", "Content-Type: text/html; charset=utf-8"]
        return code, html, f'<a href="{where}">{_REASONS.get(code, "Found")}</a>.\n\n'
    if path == "/exit":
        os._exit(int(query.get("code") or 0))
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    since = time.monotonic() - _BEGUN
    return 200, plain, f"NOW: {now}.{time.time_ns() % 10**9:09} +0000 UTC m=+{since:.9f}"


def _serve(connection: socket.socket, client: str) -> None:
    with connection, connection.makefile("rb") as reader:
        while request := reader.readline().decode("latin-1").split():
            if len(request) != 3 or not request[2].startswith("HTTP/"):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
                return
            length, keep = 0, request[2] != "HTTP/1.0"
            while line := reader.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
                elif name.lower() == "connection":
                    keep = value.strip().lower() != "close"
            reader.read(length)
            path, _, text = request[1].partition("?")
            pairs = (pair.partition("=") for pair in text.split("&") if pair)
            query = {_unquoted(key): _unquoted(value) for key, _, value in pairs}
            status, headers, body = _answer(path, query, client)
            content = body.encode()
            head = [
                f"{request[2]} {status} {_REASONS.get(status, 'Status')}",
                time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
                f"Content-Length: {len(content)}",
                *headers,
            ]
            connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
            if not keep:
                return


def netexec(port: int) -> None:
    """Serve HTTP until the process is told to end."""
    listener = socket.create_server(("", port))
    now = time.strftime("%m%d %H:%M:%S", time.gmtime())
    for number, text in enumerate(
        (f"Started HTTP server on port {port}", "Started UDP server on port  8081")
    ):
        sys.stderr.write(f"I{now}.{number:06}{os.getpid():8} log.go:244] {text}\n")
    while True:
        connection, address = listener.accept()
        threading.Thread(target=_serve, args=(connection, f"{address[0]}:{address[1]}"), daemon=True).start()


def end_after(code: int, message: str = "") -> None:
    """End some tenths of a second after SIGTERM: stopping a real container takes as long at least."""

    def end(*_: object) -> None:
        if message:
            with open("/dev/termination-log", "w") as file:  # noqa: PTH123 pathlib is slow to import
                file.write(message)
        threading.Timer(0.3, os._exit, (code,)).start()

    signal.signal(signal.SIGTERM, end)


def main(words: list[str]) -> int:
    if words[:1] == ["netexec"]:
        end_after(0)
        ports = [word.partition("=")[2] for word in words if word.startswith("--http-port=")]
        netexec(int(ports[0]) if ports else 8080)
    if words[:1] not in ([], ["pause"]):
        return 1  # it knows no such command; kubectl's recorded `run --rm -i` asks for one
    # without a subcommand the image pauses
    sys.stdout.write("Paused\n")
    sys.stdout.write("Signals registered\n")
    sys.stdout.flush()
    end_after(2, 'exiting because of signal "terminated"\n')
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
