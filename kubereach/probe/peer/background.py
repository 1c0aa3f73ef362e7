"""What blocks by nature, each piece of it in a thread of its own; what comes of it goes back to the prober's thread."""

from __future__ import annotations

import os
import threading
from collections import deque

from .sockets import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .sockets import Poller

    T = TypeVar("T")


class Background:
    """Threads, and the calls that they have for the prober's own thread, which a pipe wakes up."""

    def __init__(self, poller: Poller) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        poller.add(self.fd, IN)

    def run(
        self, work: Callable[[], T], then: Callable[[T], object], failed: Callable[[Exception], object]
    ) -> None:
        """Do `work` in a thread; then call `then` with its result, or `failed`, in the prober's own."""

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # reported as the outcome of the probe
                self.call(failed, error)
            else:
                self.call(then, result)

        threading.Thread(target=run, daemon=True).start()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """From a thread: let the prober's call this."""
        self._calls.append((function, arguments))
        os.write(self._wake, b"x")

    def called(self) -> None:
        """Make the calls that there are; `fd` is readable when there are some."""
        os.read(self.fd, 4096)
        while self._calls:
            function, arguments = self._calls.popleft()
            function(*arguments)
