"""The two ways to a prober's standard streams: a pod's exec over WebSocket, and a process on this machine.

Nothing here waits but `close`: a stream that cannot take more keeps what is left until it can.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from websocket import ABNF, WebSocketException

#: channels of the v4.channel.k8s.io and v5.channel.k8s.io sub-protocols
STDIN, STDOUT, STDERR, ERROR = b"\x00", 1, 2, 3

#: bytes that may wait for a prober that does not read
MOST_WAITING = 8 << 20
#: WebSocket frames read in one go, so that a stream with much to read lets others have their turn
_FRAMES = 64
#: bytes that are kept of what a prober writes to standard error
_ERRORS = 1 << 16
#: seconds that a process may take to end once its standard input has
_PATIENCE = 2.0


class Broken(Exception):
    """The stream has ended; the text says why, and is empty where `Stream.close` knows better."""


class Stream(Protocol):
    """What the multiplexer needs of a stream. Its thread makes all calls but `close`, which comes after all others."""

    #: whether `receive` has left something for the next call
    more: bool

    def fileno(self) -> int:
        """The descriptor to read from."""

    def out_fileno(self) -> int:
        """The descriptor to write to, which may be the same."""

    def receive(self) -> bytes:
        """What the prober has written so far, without waiting; empty when there is nothing. Raises `Broken`."""

    def queue(self, data: bytes) -> None:
        """Keep `data` for the prober's standard input. Raises `Broken` when too much is waiting."""

    def flush(self) -> int:
        """Write what can be written without waiting, and give the number of bytes left. Raises `Broken`."""

    def close(self) -> str:
        """Close it, which may take some seconds, and give the reason why the prober ended; empty when unknown."""


class Outbox:
    """What waits to be written."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    @property
    def waiting(self) -> int:
        """Bytes that are not written yet."""
        return self._size

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_WAITING:
            raise Broken(f"the prober does not read its input: {self._size} bytes are pending")

    def flush(self, write: Callable[[bytes], int]) -> int:
        """Hand parts to `write` until it raises or all are written; gives the number of bytes left.

        OpenSSL must be given what it could not write once more, unchanged: a part is only cut by what was written.
        """
        try:
            while self._parts:
                written = write(self._parts[0])
                self._size -= written
                if written < len(self._parts[0]):
                    self._parts[0] = self._parts[0][written:]
                else:
                    self._parts.popleft()
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        return self._size


class ExecStream:
    """A prober started by pod exec: a connected WebSocket, read and written without blocking."""

    def __init__(self, websocket: Any) -> None:
        self.more = False
        self._websocket = websocket
        self._outbox = Outbox()
        self._message = b""
        self._errors = b""
        #: why it has ended, kept until all that came before is handed over
        self._end: Broken | None = None
        self._websocket.sock.settimeout(0)
        # kept, because a broken connection forgets its socket, and the multiplexer must still be able to let go of it
        self._number = int(websocket.sock.fileno())

    def fileno(self) -> int:
        return self._number

    def out_fileno(self) -> int:
        return self._number

    def receive(self) -> bytes:
        out: list[bytes] = []
        try:
            if self._end is not None:
                raise self._end
            for _ in range(_FRAMES):
                # websocket-client keeps what it has of an unfinished frame until the next call. Its recv_data_frame()
                # would answer pings by itself, and half a pong if it cannot write at once
                self._take(self._websocket.recv_frame(), out)
            self.more = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            self.more = False  # everything that has come is read
        except (OSError, WebSocketException, Broken) as error:
            reason = str(error) if isinstance(error, Broken) else self._reason() or str(error)
            self._end = Broken(reason or "the connection was closed")
            if not out:
                raise self._end from error
            self.more = True
        return b"".join(out)

    def _take(self, frame: ABNF, out: list[bytes]) -> None:
        if frame.opcode == ABNF.OPCODE_CLOSE:
            raise Broken(self._reason() or "the connection was closed")
        if frame.opcode == ABNF.OPCODE_PING:
            self._outbox.add(ABNF.create_frame(frame.data, ABNF.OPCODE_PONG).format())
        if frame.opcode not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT, ABNF.OPCODE_CONT):
            return
        self._message += frame.data if isinstance(frame.data, bytes) else frame.data.encode()
        if len(self._message) > MOST_WAITING:
            raise Broken("the prober sent a message that is too long")
        if not frame.fin:
            return
        message, self._message = self._message, b""
        if len(message) < 2:
            return
        if message[0] == STDOUT:
            out.append(message[1:])
        elif message[0] in (STDERR, ERROR):
            self._errors = (self._errors + message[1:])[-_ERRORS:]

    def _reason(self) -> str:
        """Standard error of the prober, or the message of the Status that ended the stream; empty without either."""
        text = self._errors.decode(errors="replace").strip()
        try:
            return str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            return text.splitlines()[-1] if text else ""

    def queue(self, data: bytes) -> None:
        self._outbox.add(ABNF.create_frame(STDIN + data, ABNF.OPCODE_BINARY).format())

    def flush(self) -> int:
        if self._websocket.sock is None:
            raise Broken(self._reason() or "the connection was closed")
        try:
            return self._outbox.flush(self._websocket.sock.send)
        except OSError as error:
            raise Broken(self._reason() or str(error)) from error

    def close(self) -> str:
        try:
            self._websocket.sock.settimeout(1)
            if not self._outbox.waiting:  # else a close frame would get into the middle of another
                self._websocket.send_close()
        except (OSError, AttributeError, WebSocketException):
            pass  # it is closed already
        self._websocket.shutdown()
        return self._reason()


class PipeStream:
    """A prober that is a process of ours, over pipes. Raises OSError when the process cannot be started."""

    def __init__(self, command: Sequence[str], first: bytes = b"", *, own_session: bool = False) -> None:
        """`first` is what standard input begins with; `own_session` takes the terminal and its signals away."""
        self.more = False
        # a file and no pipe: nobody reads meanwhile what is written to it
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=own_session,
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for number in (self._in, self._out):
            os.set_blocking(number, False)
        self._outbox = Outbox()
        if first:
            self._outbox.add(first)

    def fileno(self) -> int:
        return self._out

    def out_fileno(self) -> int:
        return self._in

    def receive(self) -> bytes:
        try:
            data = os.read(self._out, 1 << 20)
        except BlockingIOError:
            return b""
        if not data:
            raise Broken
        return data

    def queue(self, data: bytes) -> None:
        self._outbox.add(data)

    def flush(self) -> int:
        try:
            return self._outbox.flush(lambda data: os.write(self._in, data))
        except OSError as error:
            raise Broken from error

    def close(self) -> str:
        """Close its standard input, with which it ends; the last line of its standard error, else how it ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            how = f"the command ended with exit code {self._process.wait(_PATIENCE)} and no error message"
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            how = "the command closed its output"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        return lines[-1].strip() if lines else how


class ProcessStream(PipeStream):
    """A prober that is a process on this machine, for the outside vantage."""
