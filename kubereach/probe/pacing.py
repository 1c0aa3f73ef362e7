"""Pacing of probes that expect a refusal.

A refusal of a rejecting service proxy is an ICMP error, and Linux sends one client at most about one a second after a
burst of six (net.ipv4.icmp_ratelimit; seen with nftables and iptables alike). Asking faster makes a healthy cluster
look as if it dropped packets. Each vantage has one bucket for the whole run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """`burst` tokens at once, then one each `interval` seconds. Thread-safe."""

    def __init__(self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._at = clock()
        self._lock = threading.Lock()

    def take(self, count: int = 1) -> float:
        """Take `count` tokens, into debt if need be, and give the seconds to wait until they are there."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
            self._at = now
            self._tokens -= count
            return max(0.0, -self._tokens * self._interval)

    def spent(self, count: int) -> None:
        """So many refusals came that nobody had taken tokens for. There were tokens for them: this makes no debt."""
        with self._lock:
            self._tokens = max(min(self._tokens, 0.0), self._tokens - count)

    def empty(self) -> None:
        """There is none left now: somebody else may have had the client's refusals."""
        self.take(0)
        with self._lock:
            self._tokens = min(self._tokens, 0.0)
