"""Run as a program, this enters a lab and gives what a process outside of it cannot make itself.

``python lab_inside.py INIT_PID sockets FD`` makes sockets in any network namespace of the lab and sends them over FD: a
socket stays where it was made, whoever uses it. ``... relay FD ADDRESS PORT`` connects those who come to the listening
socket FD, made outside, to an address inside.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from pyroute2.iproute.linux import IPRoute

from kubereach_lab import syscalls


def enter(init_pid: str) -> None:
    """Enter the lab's user, network and mount namespaces."""
    fds = []
    for kind in ("user", "net", "mnt"):
        theirs = f"/proc/{init_pid}/ns/{kind}"
        if Path(theirs).stat().st_ino != Path(f"/proc/self/ns/{kind}").stat().st_ino:
            fds.append(os.open(theirs, os.O_RDONLY))
    for fd in fds:
        syscalls.setns(fd)


def serve_sockets(control: socket.socket) -> None:
    """Make sockets, set sysctls and change routes where a request says: a namespace's path, or "" for the outside."""
    outside = os.open("/proc/1/ns/net", os.O_RDONLY)  # of the lab's first process
    while data := control.recv(65536):
        request = json.loads(data)
        there = os.open(request["where"], os.O_RDONLY) if request["where"] else os.dup(outside)
        syscalls.setns(there, syscalls.CLONE_NEWNET)
        os.close(there)
        if "sysctl" in request:
            Path("/proc/sys/net", request["sysctl"]).write_text(request["value"])
            control.send(b"{}")
            continue
        if "route" in request:
            with IPRoute() as ip:
                if request["gateway"]:
                    ip.route("replace", dst=request["route"], gateway=request["gateway"])
                else:
                    ip.route("del", dst=request["route"])
            control.send(b"{}")
            continue
        kind = socket.SOCK_DGRAM if request["udp"] else socket.SOCK_STREAM
        family = socket.AF_INET6 if request["ipv6"] else socket.AF_INET
        made = [socket.socket(family, kind) for _ in range(request["count"])]
        fds = array.array("i", [one.fileno() for one in made])
        control.sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for one in made:
            one.close()


async def relay(listener: socket.socket, address: str, port: int) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(address, port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(copy(reader, back), copy(there, writer))
        writer.close()
        back.close()

    server = await asyncio.start_server(serve, sock=listener)
    await server.serve_forever()


def main() -> None:
    init_pid, what, fd = sys.argv[1:4]
    syscalls.die_with_parent(9)
    enter(init_pid)
    given = socket.socket(fileno=int(fd))
    if what == "sockets":
        serve_sockets(given)
    else:
        asyncio.run(relay(given, sys.argv[4], int(sys.argv[5])))


if __name__ == "__main__":
    main()
