"""A name server that knows no name."""

from __future__ import annotations

import contextlib
import socket

import dns.exception
import dns.message
import dns.rcode

_LARGEST = 4096


def answer_falsely(address: str, port: int) -> None:
    """Say of every name that is asked for over UDP that there is none, for ever. Raises `OSError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, port))
        while True:
            query, client = listener.recvfrom(_LARGEST)
            with contextlib.suppress(dns.exception.DNSException):
                answer = dns.message.make_response(dns.message.from_wire(query))
                answer.set_rcode(dns.rcode.NXDOMAIN)
                listener.sendto(answer.to_wire(), client)
