"""Servers on loopback that answer as no backend does, and ports that nobody listens on."""

from __future__ import annotations

import socket
import struct
import threading

import dns.message


def unused_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Odd:
    """A TCP server that does with each connection what it is told."""

    def __init__(self, treat):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.kept = []
        threading.Thread(target=self._run, args=(treat,), daemon=True).start()

    def _run(self, treat):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            self.kept.append(connection)
            treat(connection)


def reset(connection):
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection):
    connection.recv(1000)
    connection.close()


def dns_server(answer):
    """A DNS server on UDP and TCP that answers each query with what `answer` makes of it; gives its port."""
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))

    def datagrams():
        while True:
            data, client = udp.recvfrom(4096)
            udp.sendto(answer(dns.message.from_wire(data)), client)

    def streams():
        while True:
            connection, _ = tcp.accept()
            data = connection.recv(4096)
            wire = answer(dns.message.from_wire(data[2:]))
            connection.sendall(struct.pack("!H", len(wire)) + wire)

    threading.Thread(target=datagrams, daemon=True).start()
    threading.Thread(target=streams, daemon=True).start()
    return port
