"""A transparent proxy beyond the nodes, as some networks have one: it answers for whatever address packets go to."""

from __future__ import annotations

import asyncio
import contextlib

from kubereach_lab.config import AddressPlan
from kubereach_lab.network import nft

#: where the proxy listens, on the outside's own addresses
_PORT = 3128
_PAGE = b"<h1>404 Not Found</h1>"
_HEAD = (
    b"HTTP/1.1 404 Not Found\r\nServer: middlebox\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
)
#: seconds that a client may take to ask
_PATIENCE = 10.0


def catch(plan: AddressPlan) -> None:
    """Lead to the proxy what nodes send to addresses that are not of their own network; runs in the outside's thread.

    Connections alone, as such proxies do: datagrams are lost on their way.
    """
    ip = plan.nft
    proxy = plan.outside if plan.version == 4 else f"[{plan.outside}]"
    nft(f"""
        table {ip} kubereach-middlebox {{
            chain prerouting {{
                type nat hook prerouting priority dstnat;
                iifname != "lo" meta l4proto tcp {ip} daddr != {plan.underlay} dnat to {proxy}:{_PORT}
            }}
        }}
    """)


async def serve(plan: AddressPlan) -> None:
    """Be the proxy of a family: there is never anybody behind it. Must be called where the outside is."""
    await asyncio.start_server(_answer, plan.outside, _PORT)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        if await asyncio.wait_for(reader.read(65536), _PATIENCE):
            writer.write(_HEAD % len(_PAGE) + _PAGE)
            await writer.drain()
    writer.close()
