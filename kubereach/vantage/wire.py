"""The wire: one thread that reads and writes all probers' streams.

One thread, because a TLS connection must not be read and written by two at the same time, and because a thread for
each of a dozen vantages would only take the interpreter from one another.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable

from kubereach.vantage.streams import Broken, Stream


class Wire:
    """Hands every line of every stream to its listener. `attach`, `send` and `detach` may be called from any thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._listeners: dict[Stream, tuple[Callable[[bytes], None], Callable[[str], None]]] = {}
        self._pending: dict[Stream, bytes] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="kubereach-wire", daemon=True)
        self._thread.start()

    def attach(
        self, stream: Stream, on_line: Callable[[bytes], None], on_broken: Callable[[str], None]
    ) -> None:
        """Begin to read `stream`: `on_line` gets each line, `on_broken` the reason when it ends, once."""

        def job() -> None:
            self._listeners[stream] = (on_line, on_broken)
            self._pending[stream] = b""
            self._selector.register(stream.fileno(), selectors.EVENT_READ, stream)
            # what came before the stream was registered may sit in TLS' own buffer, where no selector sees it
            self._read(stream)

        self._do(job)

    def send(self, stream: Stream, data: bytes) -> None:
        def job() -> None:
            if stream not in self._listeners:
                return  # broken meanwhile: its listener knows
            try:
                stream.send(data)
            except Broken as error:
                self._drop(stream, str(error))

        self._do(job)

    def stop(self) -> None:
        """Close all streams and end the thread."""
        self._stopped = True
        self._do(lambda: None)
        self._thread.join(10)

    def _do(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        os.write(self._wake_out, b"x")

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(key.fd, 4096)
                    while self._jobs:
                        self._jobs.popleft()()
                elif key.data in self._listeners:
                    self._read(key.data)
        for stream in list(self._listeners):
            self._drop(stream, "the run is over")
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _read(self, stream: Stream) -> None:
        on_line, _ = self._listeners[stream]
        try:
            data = stream.receive()
        except Broken as error:
            self._drop(stream, str(error))
            return
        if data:
            *lines, self._pending[stream] = (self._pending[stream] + data).split(b"\n")
            for line in lines:
                on_line(line)

    def _drop(self, stream: Stream, reason: str) -> None:
        _, on_broken = self._listeners.pop(stream)
        del self._pending[stream]
        self._selector.unregister(stream.fileno())
        stream.close()
        on_broken(reason)
