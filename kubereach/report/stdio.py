"""Standard output and error that last: when nobody reads them any more, or their disk is full, work goes on.

What a run measures, removes and reports, and its exit code, must not depend on who watches it. A reader that goes away
(`kubereach run | head -1`), a terminal that is closed and a full disk each make a write fail at any place that writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter


class LastingStream:
    """A text stream whose `write` and `flush` never fail: after the first failure, its text goes nowhere.

    Everything else is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        #: why it cannot be written to any more
        self.failure: OSError | ValueError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        self._try(self._stream.flush)

    def close(self) -> None:
        self._try(self._stream.close)

    def _try(self, step: Any) -> None:
        if self.failure is None:
            try:
                step()
            except (OSError, ValueError) as error:  # ValueError: it is closed
                self.failure = error
                _discard(self._stream)


def lasting(stream: TextIO) -> TextIO:
    """`stream`, or a `LastingStream` around it."""
    return stream if isinstance(stream, LastingStream) else cast("TextIO", LastingStream(stream))


@contextlib.contextmanager
def standard_streams_last() -> Iterator[LastingStream]:
    """Within the block sys.stdout and sys.stderr are lasting streams, and nothing waits to be written after it.

    Those that were closed when this process began lead nowhere: else the next file or socket would get their number,
    and our text. Gives standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # it gets the lowest number that is free, and programs that we start have it too
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    out, err = (
        LastingStream(stream or open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end
        for stream in before
    )
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def keep_writing(writer: TerminalWriter) -> None:
    """Make pytest's terminal writer lasting. May be called twice."""
    if getattr(writer, "kubereach_lasts", False):
        return
    failed = False

    def careful(step: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> None:
            nonlocal failed
            if failed:
                return
            try:
                step(*arguments, **named)
            except (OSError, ValueError):
                failed = True
                _discard(sys.stdout)

        return run

    for name in ("write", "flush"):  # every other method writes by these
        setattr(writer, name, careful(getattr(writer, name)))
    writer.kubereach_lasts = True  # type: ignore[attr-defined]


def reader_left(failure: OSError | ValueError | None) -> bool:
    """Whether a stream failed because its reader has seen enough: `kubereach list | head`."""
    return isinstance(failure, OSError) and failure.errno == errno.EPIPE


def _discard(stream: TextIO) -> None:
    """Lead a stream's descriptor nowhere, with what the stream still holds: else it would fail again at the exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
        stream.flush()
