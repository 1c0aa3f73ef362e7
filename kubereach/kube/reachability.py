"""Which addresses react to TCP connections from this machine, and how."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence


def reacting(addresses: Sequence[str], ports: Sequence[int], timeout: float) -> dict[str, str]:
    """The first reaction of each address that has one, in words; all ports of all are tried at the same time.

    Takes at most `timeout` seconds. Any answer, an error too, proves that an address can be reached.
    """
    reactions: dict[str, str] = {}
    waiting: dict[int, tuple[socket.socket, str, int]] = {}
    poll = select.poll()
    for address in dict.fromkeys(addresses):
        for port in ports:
            attempt = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            attempt.setblocking(False)
            result = attempt.connect_ex((address, port))
            if result == errno.EINPROGRESS:
                waiting[attempt.fileno()] = (attempt, address, port)
                poll.register(attempt, select.POLLOUT)
                continue
            _note(reactions, address, port, result)
            attempt.close()
    deadline = time.monotonic() + timeout
    while waiting and len(reactions) < len(set(addresses)) and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            attempt, address, port = waiting.pop(descriptor)
            poll.unregister(descriptor)
            _note(reactions, address, port, attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            attempt.close()
    for attempt, _, _ in waiting.values():
        attempt.close()
    return reactions


def _note(reactions: dict[str, str], address: str, port: int, result: int) -> None:
    if result in (0, errno.ECONNREFUSED, errno.ECONNRESET):
        word = {0: "answers", errno.ECONNREFUSED: "refuses"}.get(result, "resets")
        reactions.setdefault(address, f"{word} on {port}")
