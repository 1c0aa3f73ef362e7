"""Connections to a pod's own localhost, which port-forward leads to as container runtimes do it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from pathlib import Path

from kubereach_lab import syscalls
from kubereach_lab.network import NodeNetwork
from kubereach_lab.runtime import PortClosed

_FAMILIES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect(network: NodeNetwork, namespace: Path, sandbox: str, port: int) -> socket.socket:
    """A connection to ``localhost:port`` in a pod's network namespace, by IPv4 or else by IPv6.

    Raises:
        PortClosed: nothing takes it; in the words of containerd.
    """
    loop = asyncio.get_running_loop()
    problems = []
    made = await network.do(_sockets, str(namespace))
    try:
        for connection, (_, address) in zip(made, _FAMILIES, strict=True):
            try:
                await loop.sock_connect(connection, (address, port))
            except OSError as error:
                problems.append(os.strerror(error.errno).lower() if error.errno else str(error))
            else:
                made.remove(connection)
                return connection
    finally:
        for connection in made:
            connection.close()
    identity = hashlib.sha256(sandbox.encode()).hexdigest()
    raise PortClosed(
        f"error forwarding port {port} to pod {identity}, uid : failed to execute portforward in network namespace "
        f'"/var{namespace}": failed to connect to localhost:{port} inside namespace "{identity}", '
        f"IPv4: dial tcp4 127.0.0.1:{port}: connect: {problems[0]} "
        f"IPv6 dial tcp6 [::1]:{port}: connect: {problems[1]} "
    )


def _sockets(namespace: str) -> list[socket.socket]:
    """A socket of each family that belongs to `namespace`; the thread is back in its own afterwards."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(there, syscalls.CLONE_NEWNET)
        made = [socket.socket(family, socket.SOCK_STREAM) for family, _ in _FAMILIES]
    finally:
        syscalls.setns(home, syscalls.CLONE_NEWNET)
        os.close(there)
        os.close(home)
    for one in made:
        one.setblocking(False)
    return made
