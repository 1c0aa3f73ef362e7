"""The multiplexer: one thread that reads and writes all probers' streams.

One thread, because a TLS connection must not be read and written by two at the same time, and because a thread for
each of a dozen vantages would only take the interpreter from one another. It never waits for a single stream: what one
cannot take is written when it can, and a stream is closed in a thread of its own. Whatever goes wrong with a stream, or
with who listens to it, ends that stream alone.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from kubereach.probe.streams import Broken, Stream

_LOG = logging.getLogger(__name__)

#: why the streams end when the multiplexer is stopped
OVER = "the run has ended"
#: seconds without a byte taken by a prober that has something to read, after which its stream is given up
STALL = 20.0
#: bytes of one line: no answer is that long
_LONGEST_LINE = 32 << 20
#: seconds for all streams to be closed in
_CLOSING = 10.0


@dataclass(eq=False)
class _Attached:
    """A stream, who listens to it, and what is under way on it."""

    stream: Stream
    on_line: Callable[[bytes], None]
    on_broken: Callable[[str], None]
    #: the beginning of a line
    pending: bytearray = field(default_factory=bytearray)
    #: bytes that wait to be written, and when that last became fewer
    waiting: int = 0
    moved: float = 0.0
    #: what the selector watches for it, by descriptor
    watched: dict[int, int] = field(default_factory=dict)


class Multiplexer:
    """Hands every line of every stream to its listener. All methods may be called from any thread, at any time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._jobs: deque[Callable[[], None]] = deque()
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ, None)
        self._attached: dict[Stream, _Attached] = {}
        #: those that have more to read than they were read last time
        self._more: set[_Attached] = set()
        #: held while a job is handed over or the thread comes to its end
        self._lock = threading.Lock()
        self._stopping = self._ended = False
        self._closers: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, name="kubereach-multiplexer", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether no stream can be attached any more."""
        return self._stopping or self._ended

    def attach(
        self, stream: Stream, on_line: Callable[[bytes], None], on_broken: Callable[[str], None]
    ) -> None:
        """Begin to read `stream`: `on_line` gets each line, `on_broken` the reason when it ends, once.

        A multiplexer that has been stopped closes the stream.
        """
        attached = _Attached(stream, on_line, on_broken)

        def job() -> None:
            if self._ended:
                self._close(attached, OVER)
                return
            self._attached[stream] = attached
            # what came before the stream was registered may sit in TLS' own buffer, where no selector sees it
            self._guarded(attached, partial(self._read, attached))

        self._do(job)

    def send(self, stream: Stream, data: bytes) -> None:
        """Write `data` to the prober as soon as it takes it. Of a stream that has ended its listener knows."""

        def job() -> None:
            if attached := self._attached.get(stream):
                self._guarded(attached, partial(self._write, attached, data))

        self._do(job)

    def detach(self, stream: Stream, reason: str) -> None:
        """Close a stream; its listener gets the reason."""

        def job() -> None:
            if attached := self._attached.get(stream):
                self._drop(attached, reason)

        self._do(job)

    def stop(self) -> None:
        """Close all streams and end the thread. May be called twice."""
        self._stopping = True
        self._do(lambda: None)
        deadline = time.monotonic() + _CLOSING
        self._thread.join(_CLOSING)
        for thread in list(self._closers):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _do(self, job: Callable[[], None]) -> None:
        with self._lock:
            if not self._ended:
                self._jobs.append(job)
                with contextlib.suppress(BlockingIOError):  # so much is there that it wakes anyway
                    self._waker.send(b"x")
                return
        job()

    # all that follows is the thread's

    def _run(self) -> None:
        reason = OVER
        try:
            while not self._stopping:
                self._turn()
        except Exception as error:
            _LOG.exception("the thread of all streams failed")
            reason = f"the thread that reads all streams failed: {type(error).__name__}: {error}"
        finally:
            with self._lock:
                self._ended = True
                self._waker.close()
            for attached in list(self._attached.values()):
                self._drop(attached, reason)
            while self._jobs:
                self._jobs.popleft()()
            self._selector.close()
            self._wakes.close()

    def _turn(self) -> None:
        stalling = any(attached.waiting for attached in self._attached.values())
        events = self._selector.select(0 if self._more else 1.0 if stalling else None)
        again, self._more = self._more, set[_Attached]()
        for key, event in events:
            attached: _Attached | None = key.data
            if attached is None:
                self._wakes.recv(4096)
            elif self._attached.get(attached.stream) is attached:
                if event & selectors.EVENT_WRITE:
                    self._guarded(attached, partial(self._write, attached))
                if event & selectors.EVENT_READ:
                    again.add(attached)
        for ready in again:
            self._guarded(ready, partial(self._read, ready))
        while self._jobs:
            self._jobs.popleft()()
        for slow in list(self._attached.values()) if stalling else ():
            if slow.waiting and time.monotonic() - slow.moved > STALL:
                self._drop(slow, f"the prober has not read its input for {STALL:.0f} s")

    def _guarded(self, attached: _Attached, work: Callable[[], object]) -> None:
        """Do `work` for a stream; whatever comes of it concerns that stream alone."""
        if self._attached.get(attached.stream) is not attached:
            return
        try:
            work()
            self._watch(attached)
        except Broken as error:
            self._drop(attached, str(error))
        except Exception as error:
            self._drop(attached, f"{type(error).__name__}: {error}")

    def _read(self, attached: _Attached) -> None:
        data = attached.stream.receive()
        if attached.stream.more:
            self._more.add(attached)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(attached.pending) + lines[0]
            attached.pending.clear()
        attached.pending += rest
        if len(attached.pending) > _LONGEST_LINE:
            raise Broken("the prober sent a line that is too long")
        for line in lines:
            try:
                attached.on_line(line)
            except Exception as error:
                text = line[:80].decode(errors="replace")
                raise Broken(
                    f"invalid answer of a prober: {text} ({type(error).__name__}: {error})"
                ) from error
        self._write(attached)  # a WebSocket's pongs

    def _write(self, attached: _Attached, data: bytes = b"") -> None:
        """Write `data`, and what waits before it, as far as the stream takes it."""
        if data:
            attached.stream.queue(data)
        left = attached.stream.flush()
        if left < attached.waiting or not attached.waiting:
            attached.moved = time.monotonic()
        attached.waiting = left

    def _watch(self, attached: _Attached) -> None:
        """Have the selector watch what this stream waits for."""
        wanted = {attached.stream.fileno(): selectors.EVENT_READ}
        if attached.waiting:
            number = attached.stream.out_fileno()
            wanted[number] = wanted.get(number, 0) | selectors.EVENT_WRITE
        for number in attached.watched.keys() - wanted.keys():
            self._selector.unregister(number)
        for number, events in wanted.items():
            if number not in attached.watched:
                self._selector.register(number, events, attached)
            elif attached.watched[number] != events:
                self._selector.modify(number, events, attached)
        attached.watched = wanted

    def _drop(self, attached: _Attached, reason: str) -> None:
        if self._attached.pop(attached.stream, None) is None:
            return  # two were to drop it, at the end of everything
        self._more.discard(attached)
        for number in attached.watched:
            with contextlib.suppress(KeyError, ValueError, OSError):  # one that has been closed already
                self._selector.unregister(number)
        self._close(attached, reason)

    def _close(self, attached: _Attached, reason: str) -> None:
        """Close a stream, which may take seconds, and tell its listener."""

        def close() -> None:
            known = ""
            try:
                known = attached.stream.close()
            except Exception:
                _LOG.exception("a stream could not be closed")
            try:
                attached.on_broken(reason or known or "the connection was closed")
            except Exception:
                _LOG.exception("the listener of a stream failed")

        self._closers = [thread for thread in self._closers if thread.is_alive()]
        closer = threading.Thread(target=close, name="kubereach-close", daemon=True)
        self._closers.append(closer)
        closer.start()
