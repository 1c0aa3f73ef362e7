"""The fork server's client, against a fork server that answers as slowly and as fast as it likes."""

from __future__ import annotations

import asyncio
import json
import os
import socket

from kubereach_lab.kubelet.processes import Command, Processes


def test_a_process_may_have_ended_before_its_start_is_known() -> None:
    async def main() -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            processes = Processes(ours)
            processes.begin()
            starting = asyncio.create_task(processes.start(Command(["true"], {})))
            request = await asyncio.get_running_loop().run_in_executor(None, receive, theirs)
            theirs.send(json.dumps({"id": request["id"], "pid": 7}).encode())
            theirs.send(json.dumps({"exit": 7, "code": 3}).encode())
            process = await asyncio.wait_for(starting, 30)
            code = await asyncio.wait_for(process.exited, 30)
            asyncio.get_running_loop().remove_reader(ours)
            return code

    assert asyncio.run(main()) == 3


def test_a_process_whose_start_is_cancelled_is_killed() -> None:
    async def main(answer_first: bool) -> dict[str, int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        loop = asyncio.get_running_loop()
        with ours, theirs:
            processes = Processes(ours)
            processes.begin()
            starting = asyncio.create_task(processes.start(Command(["true"], {})))
            data, fds, _, _ = await loop.run_in_executor(None, socket.recv_fds, theirs, 65536, 8)
            answer = json.dumps({"id": json.loads(data)["id"], "pid": 7}).encode()
            if answer_first:
                theirs.send(answer)
                await asyncio.wait([starting], timeout=0.05)  # it now waits for the program to be executed
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if not answer_first:
                theirs.send(answer)
            request: dict[str, int] = json.loads(await loop.run_in_executor(None, theirs.recv, 65536))
            loop.remove_reader(ours)
            for fd in fds:
                os.close(fd)
            return request

    for answer_first in (False, True):
        request = asyncio.run(main(answer_first))
        assert (request["op"], request["pid"], request["signal"]) == ("signal", 7, 9)


def receive(control: socket.socket) -> dict[str, int]:
    """A request; its descriptors are closed, as when the program has started."""
    data, fds, _, _ = socket.recv_fds(control, 65536, 8)
    for fd in fds:
        os.close(fd)
    request: dict[str, int] = json.loads(data)
    return request
