"""Reads a streamed answer in a thread that has ended when whoever asked for it goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx

#: longest wait for an answer to begin, and for the thread to end, seconds: a busy machine, not a slow lab
PATIENCE = 15.0


class Listener:
    """The lines of an answer: `heard` is told each of them, in the listener's thread.

    A client that is closed while another thread reads from one of its connections frees the number of a socket that
    is still read: what TLS reads next may be another connection's. So `close` before the client is closed.
    """

    def __init__(
        self,
        http: httpx.Client,
        path: str,
        query: Any,
        heard: Callable[[str], None],
        *,
        headers: Mapping[str, str] | None = None,
        ended: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`ended` is told once, when nothing more comes: how, or "" for an end as it should be."""
        self.path = path
        #: None until it has begun, and if it never does
        self.answer: httpx.Response | None = None
        self._heard, self._ended = heard, ended
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(http, query, headers), daemon=True)
        self._thread.start()

    def _read(self, http: httpx.Client, query: Any, headers: Mapping[str, str] | None) -> None:
        reason = ""
        try:
            times = httpx.Timeout(PATIENCE, read=None)
            with http.stream("GET", self.path, params=query, headers=headers, timeout=times) as answer:
                self.answer = answer
                self._begun.set()
                for line in answer.iter_lines():
                    self._heard(line)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            reason = str(error) or type(error).__name__
        finally:
            self._begun.set()
            self._ended(reason)

    def begun(self) -> httpx.Response:
        """Wait for the head of the answer."""
        assert self._begun.wait(PATIENCE) and self.answer, f"{self.path} was not answered"
        return self.answer

    def close(self) -> None:
        """Hang up and wait for the thread."""
        if self._begun.wait(PATIENCE) and self.answer is not None:
            connection = self.answer.extensions["network_stream"].get_extra_info("socket")
            with contextlib.suppress(OSError):  # the server was first
                # not the TLS socket's own shutdown, which would have the thread read on without TLS
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"{self.path} is still being read"
