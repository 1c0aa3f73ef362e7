"""The two ways to a prober's standard streams: a pod's exec over WebSocket, and a process on this machine."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Sequence
from typing import Any, Protocol

from websocket import ABNF, WebSocketConnectionClosedException, WebSocketException

#: channels of the v4.channel.k8s.io and v5.channel.k8s.io sub-protocols
STDIN, STDOUT, STDERR, ERROR = b"\x00", 1, 2, 3


class Broken(Exception):
    """The stream has ended; the text says why, as far as anybody told."""


class Stream(Protocol):
    """What the wire needs of a stream. All calls but the constructor come from the wire's thread."""

    def fileno(self) -> int: ...

    def receive(self) -> bytes:
        """What the prober has written so far, without waiting; empty when there is nothing. Raises `Broken`."""

    def send(self, data: bytes) -> None:
        """Write to the prober's standard input. Raises `Broken`."""

    def close(self) -> None: ...


class ExecStream:
    """A prober started by pod exec: the official client's WebSocket, read without blocking."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self._errors = b""
        # kept, because a broken connection forgets its socket, and the wire must still be able to let go of it
        self._number = int(websocket.sock.fileno())

    def fileno(self) -> int:
        return self._number

    def receive(self) -> bytes:
        out = []
        # non-blocking: TLS may have something to read (a session ticket, half a record) that is no frame yet.
        # websocket-client keeps what it has of an unfinished frame until the next call.
        self._websocket.sock.settimeout(0)
        try:
            while True:
                opcode, frame = self._websocket.recv_data_frame(True)
                if opcode == ABNF.OPCODE_CLOSE:
                    raise Broken(self._reason())
                data = frame.data
                if opcode not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or len(data) < 2:
                    continue
                if data[0] == STDOUT:
                    out.append(bytes(data[1:]))
                elif data[0] in (STDERR, ERROR):
                    self._errors += bytes(data[1:])
        except (ssl.SSLWantReadError, BlockingIOError):
            pass  # everything that has come is read
        except (WebSocketConnectionClosedException, OSError, WebSocketException) as error:
            raise Broken(self._reason() or str(error)) from error
        return b"".join(out)

    def _reason(self) -> str:
        """Standard error of the prober, or the message of the Status that ended the stream."""
        text = self._errors.decode(errors="replace").strip()
        try:
            return str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            return text.splitlines()[-1] if text else "the connection was closed"

    def send(self, data: bytes) -> None:
        self._websocket.sock.settimeout(10)
        try:
            self._websocket.send(STDIN + data, ABNF.OPCODE_BINARY)
        except (OSError, WebSocketException) as error:
            raise Broken(str(error)) from error

    def close(self) -> None:
        try:
            self._websocket.sock.settimeout(1)
            self._websocket.send_close()
            self._websocket.shutdown()
        except (OSError, AttributeError, WebSocketException):
            return  # it is closed already


class PipeStream:
    """What streams over the pipes of a process have in common; a subclass sends, and says how the process ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._out, False)

    def fileno(self) -> int:
        return self._out

    def receive(self) -> bytes:
        try:
            data = os.read(self._out, 1 << 20)
        except BlockingIOError:
            return b""
        if not data:
            raise Broken(self._said())
        return data

    def _said(self) -> str:
        """The last line of its standard error, else how it ended."""
        raise NotImplementedError

    def close(self) -> None:
        """The prober ends when its standard input does."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ProcessStream(PipeStream):
    """A prober that is a process on this machine, for the outside vantage."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        super().__init__(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0))

    def _said(self) -> str:
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return said[-1] if said else "the process ended"

    def send(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except OSError as error:
            raise Broken(str(error)) from error
