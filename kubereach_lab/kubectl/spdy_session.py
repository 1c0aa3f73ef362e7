"""Many streams over one SPDY connection, as the server of port-forward sees them.

Kubernetes' SPDY has no flow control of its own: when a stream's reader is slow, the whole connection waits, as it does
in kubelets. A stream may be ahead of its reader by `_AHEAD` bytes before that happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from kubereach_lab.kubectl.spdy import FIN, Decoder, Encoder, Frame, Kind, Reason

_AHEAD = 1024 * 1024
#: streams that one client may have open
_MOST_STREAMS = 4096


class Pipe(Protocol):
    """What carries the bytes of a session."""

    async def read(self) -> bytes:
        """The next bytes; empty when the client has closed. Raises `OSError`."""

    async def write(self, data: bytes) -> None:
        """Sends bytes, and waits while the client takes none. Raises `OSError`."""


class Stream:
    """One stream that a client has opened. Its two directions end separately."""

    def __init__(self, session: Session, number: int, headers: Mapping[str, str], *, ended: bool) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._data = bytearray()
        self._changed = asyncio.Condition()
        self._ended = ended
        self._finished = False
        self._reset = False

    async def accept(self) -> None:
        """Tells the client that the stream is taken. Raises `OSError`."""
        await self._session.send(Frame(Kind.SYN_REPLY, self.number))

    async def read(self) -> bytes:
        """What has come; empty when nothing more will come. Raises `ConnectionResetError` when it was reset."""
        async with self._changed:
            while not self._data and not self._ended:
                await self._changed.wait()
            if self._reset:
                raise ConnectionResetError("the client has reset the stream")
            data = bytes(self._data)
            self._data.clear()
            self._changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        """Sends data. Raises `OSError` when the client has reset the stream or is gone."""
        if self._reset or self._finished:
            raise ConnectionResetError("the stream is closed")
        await self._session.send(Frame(Kind.DATA, self.number, data=data))

    async def finish(self) -> None:
        """Says that nothing more will be sent. Nothing happens if that was said, or the client is gone."""
        if self._reset or self._finished:
            return
        self._finished = True
        await self._session.send_if_open(Frame(Kind.DATA, self.number, FIN))
        self._session.forget_if_over(self)

    async def reset(self, reason: Reason = Reason.CANCEL) -> None:
        """Ends both directions at once."""
        if not self._reset:
            over = self._finished and self._ended
            await self.end(reset=True)
            if not over:
                frame = Frame(Kind.RST_STREAM, self.number, data=reason.to_bytes(4, "big"))
                await self._session.send_if_open(frame)

    @property
    def over(self) -> bool:
        return self._reset or (self._finished and self._ended)

    async def deliver(self, data: bytes) -> None:
        """What the client has sent; waits while the reader is too far behind."""
        async with self._changed:
            while len(self._data) > _AHEAD and not self._ended:
                await self._changed.wait()
            if not self._ended:
                self._data += data
                self._changed.notify_all()

    async def end(self, *, reset: bool = False) -> None:
        """The client will send nothing more; with `reset`, it takes nothing more either."""
        async with self._changed:
            self._ended = True
            self._reset = self._reset or reset
            if reset:
                self._data.clear()
            self._changed.notify_all()
        self._session.forget_if_over(self)


class Session:
    """The server's end of a SPDY connection. `run` must be running for anything to happen."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._new: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._closed = False

    async def run(self) -> None:
        """Reads until the client is gone; then every stream has ended. Raises `SpdyError` for what is not SPDY."""
        try:
            while data := await self._pipe.read():
                for frame in self._decoder.feed(data):
                    if frame.kind is Kind.GOAWAY:
                        return
                    await self._handle(frame)
        except ConnectionResetError:
            return
        finally:
            self._closed = True
            for stream in list(self._streams.values()):
                await stream.end(reset=True)
            self._new.put_nowait(None)

    async def opened(self) -> AsyncIterator[Stream]:
        """The streams that the client opens, until it is gone. Each is to be accepted or reset."""
        while (stream := await self._new.get()) is not None:
            yield stream

    async def send(self, frame: Frame) -> None:
        """Sends a frame, and waits while the client takes none. Raises `OSError` when it is gone."""
        if self._closed:
            raise ConnectionResetError("the client has closed the connection")
        async with self._sending:
            await self._pipe.write(self._encoder.encode(frame))

    async def send_if_open(self, frame: Frame) -> None:
        """Sends a frame that a client which is gone does not need."""
        try:
            await self.send(frame)
        except ConnectionError:
            self._closed = True

    def forget_if_over(self, stream: Stream) -> None:
        if stream.over:
            self._streams.pop(stream.number, None)

    async def _handle(self, frame: Frame) -> None:
        if frame.kind is Kind.SYN_STREAM:
            await self._open(frame)
        elif frame.kind is Kind.PING:
            # even ones would be answers to ours, and we send none
            if frame.number % 2:
                await self.send_if_open(frame)
        elif (stream := self._streams.get(frame.number)) is not None:
            if frame.kind is Kind.RST_STREAM:
                await stream.end(reset=True)
                return
            if frame.kind is Kind.DATA and frame.data:
                await stream.deliver(frame.data)
            if frame.kind in (Kind.DATA, Kind.HEADERS) and frame.fin:
                await stream.end()

    async def _open(self, frame: Frame) -> None:
        number = frame.number
        reason: Reason | None = None
        if number % 2 == 0 or number <= self._last:
            reason = Reason.PROTOCOL_ERROR
        elif len(self._streams) >= _MOST_STREAMS:
            reason = Reason.REFUSED_STREAM
        if reason is not None:
            await self.send_if_open(Frame(Kind.RST_STREAM, number, data=reason.to_bytes(4, "big")))
            return
        self._last = number
        stream = Stream(self, number, frame.headers, ended=frame.fin)
        self._streams[number] = stream
        self._new.put_nowait(stream)
