"""A proxy before an API server that does what networks, balancers and restarting control planes do.

``faulty_proxy.py FOLDER JOBS SEED:RATE... -- COMMAND...`` runs COMMAND once for each seed, JOBS at a time, with
``{kubeconfig}`` and ``{report}`` filled in, each behind a proxy of its own, and writes a line of JSON for each: what
came of it, and which faults there were. ``SEED:0:METHOD/PART`` is one whose only fault is that the server restarts
once, with the first request of this method whose path has that part. The API server is that of $KUBECONFIG. TLS ends
in the proxy, so that it can answer for the server: the kubeconfig that it writes trusts an authority of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
import ssl
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from kubereach_lab.pki import Pki

#: what may happen to a connection, at one of its chunks
TCP = ("reset", "half-open", "cut", "slow", "close")
#: what may happen to a request
HTTP = ("429", "503", "reset before", "reset after", "500")
#: seconds after which a command counts as hanging
_HANGS = 240.0


@dataclass
class Faults:
    """Draws faults. `rate` is the chance of one for each request, and for each connection; `seed` decides which."""

    seed: int
    rate: float
    #: the method and a part of the path of the request with which the server restarts
    restarts_at: tuple[str, str] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, kinds: tuple[str, ...]) -> str:
        kind = self._random.choice(kinds) if self._random.random() < self.rate else ""
        if kind:
            self.counts[kind] += 1
        return kind

    def number(self, most: int) -> int:
        return self._random.randrange(most)


class Proxy:
    """One proxy before `server` (host, port), which is spoken to as `upstream` says; `own` is its own side of TLS."""

    def __init__(
        self, server: tuple[str, int], upstream: ssl.SSLContext, own: ssl.SSLContext, faults: Faults
    ) -> None:
        self._server, self._upstream, self._own, self.faults = server, upstream, own, faults
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self._port = 0
        self._restarting: asyncio.Task[None] | None = None
        self._used = asyncio.Event()

    async def listen(self, port: int = 0) -> int:
        """Begin; gives the port."""
        self._listening = await asyncio.start_server(
            self._accepted, "127.0.0.1", port, ssl=self._own, limit=1 << 22
        )
        self._port = int(self._listening.sockets[0].getsockname()[1])
        return self._port

    def close(self) -> None:
        """Refuse further connections and drop all that there are."""
        if self._listening is not None:
            self._listening.close()
        for task in list(self._tasks):
            task.cancel()

    async def restarts(self, port: int) -> None:
        """Now and then be away for some seconds, as an API server that restarts, once there was an answer."""
        await self._used.wait()
        while self.faults.rate:
            await asyncio.sleep(1 + self.faults.number(15))
            self.faults.counts["restart"] += 1
            self.close()
            await asyncio.sleep(0.5 + self.faults.number(4))
            await self.listen(port)

    async def _restart(self) -> None:
        self.faults.counts["restart"] += 1
        await asyncio.sleep(0.1)  # the request has been taken
        self.close()
        await asyncio.sleep(2)
        await self.listen(self._port)

    def _is_the_moment(self, head: str) -> bool:
        method, path, *_ = head.split(" ", 2)
        at = self.faults.restarts_at
        if at is None or method.upper() != at[0] or at[1] not in path:
            return False
        self.faults.restarts_at = None
        return True

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connection(reader, writer)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(*self._server, ssl=self._upstream, limit=1 << 22)
        fault = self.faults.draw(TCP)
        # a number of chunks from the server, after which it strikes
        back = asyncio.create_task(self._copy(there, writer, fault, self.faults.number(30)))
        try:
            await self._requests(reader, writer, to, back)
        finally:
            back.cancel()
            to.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to: asyncio.StreamWriter,
        back: asyncio.Task[None],
    ) -> None:
        """Requests, one after the other, until one is upgraded: what follows belongs to no request."""
        while head := await self._until(reader.readuntil(b"\r\n\r\n"), back):
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            fault = self.faults.draw(HTTP)
            if fault in ("429", "503", "500"):
                text = b'{"kind":"Status","reason":"Busy","message":"the proxy says so"}'
                writer.write(
                    f"HTTP/1.1 {fault} No\r\nContent-Length: {len(text)}\r\n".encode()
                    + (b"Retry-After: 1\r\n" if fault == "429" else b"")
                    + b"\r\n"
                    + text
                )
                continue
            if fault == "reset before":
                reset(writer)
                return
            to.write(head + body)
            if self._is_the_moment(lines[0]):
                self._restarting = asyncio.create_task(self._restart())
            if fault == "reset after":
                await asyncio.sleep(0.2)  # the server has it, and its answer gets lost
                reset(writer)
                return
            if any(line.startswith("upgrade:") for line in lines):
                while data := await self._until(reader.read(65536), back):
                    to.write(data)
                    await to.drain()
                return

    async def _until(self, work: Any, back: asyncio.Task[None]) -> bytes:
        """The bytes that `work` gives; none when the way back has ended."""
        reading = asyncio.ensure_future(work)
        await asyncio.wait({reading, back}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            with contextlib.suppress(asyncio.IncompleteReadError):
                return bytes(reading.result())
        reading.cancel()
        return b""

    async def _copy(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str, after: int
    ) -> None:
        """What the server sends, until the fault strikes after so many chunks."""
        chunks = 0
        while data := await there.read(16384):
            chunks += 1
            if fault and chunks > after:
                if fault == "slow":
                    for start in range(0, len(data), 97):
                        writer.write(data[start : start + 97])
                        await asyncio.sleep(0.01)
                    continue
                if fault == "half-open":
                    await asyncio.sleep(3600)
                if fault == "cut":
                    writer.write(data[: len(data) // 2])
                    await asyncio.sleep(0.05)
                if fault != "close":
                    reset(writer)
                return
            writer.write(data)
            await writer.drain()
            self._used.set()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset, without a word of TLS."""
    there: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def access(folder: Path) -> tuple[tuple[str, int], ssl.SSLContext]:
    """Where the API server of $KUBECONFIG is, and how it is spoken to."""
    file = Path(os.environ["KUBECONFIG"])
    config = yaml.safe_load(file.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def path(where: dict[str, str], key: str) -> Path:
        if key in where:
            return file.parent / where[key]
        written = folder / key
        written.write_bytes(base64.b64decode(where[f"{key}-data"]))
        return written

    context = ssl.create_default_context(cafile=str(path(cluster, "certificate-authority")))
    context.load_cert_chain(path(user, "client-certificate"), path(user, "client-key"))
    url = urlsplit(cluster["server"])
    return (url.hostname or "", url.port or 443), context


async def attempt(folder: Path, faults: Faults, command: list[str]) -> dict[str, Any]:
    """Run `command` behind a proxy with these faults."""
    where = folder / str(faults.seed)
    where.mkdir(parents=True)
    pki = Pki(["127.0.0.1"], ["localhost"])
    server, upstream = access(where)
    proxy = Proxy(server, upstream, pki.server_context(), faults)
    port = await proxy.listen()
    config = yaml.safe_load(pki.kubeconfig(f"https://127.0.0.1:{port}"))
    config["users"][0]["user"] = {}  # the proxy has the client's certificate
    (where / "kubeconfig").write_text(yaml.safe_dump(config))
    words = [
        word.replace("{kubeconfig}", str(where / "kubeconfig")).replace("{report}", str(where))
        for word in command
    ]
    restarts = asyncio.create_task(proxy.restarts(port))
    with (where / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            code: int | str = await asyncio.wait_for(process.wait(), _HANGS)
        except asyncio.TimeoutError:
            code = "hangs"
            process.kill()
            await process.wait()
    restarts.cancel()
    proxy.close()
    return {"seed": faults.seed, "code": code, "faults": dict(faults.counts)}


async def main(folder: str, jobs: str, *words: str) -> None:
    end = words.index("--")
    width = asyncio.Semaphore(int(jobs))

    async def one(text: str) -> None:
        seed, rate, *at = text.split(":")
        method, _, part = at[0].partition("/") if at else ("", "", "")
        faults = Faults(int(seed), float(rate), (method, part) if at else None)
        async with width:
            result = await attempt(Path(folder), faults, list(words[end + 1 :]))
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()

    await asyncio.gather(*map(one, words[:end]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
