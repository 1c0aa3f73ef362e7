"""What holds for all tests."""

from __future__ import annotations

import signal

# who starts the tests in the background has shells ignore SIGINT, also in what the tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
