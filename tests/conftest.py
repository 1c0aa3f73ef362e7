"""What holds for all tests."""

from __future__ import annotations

import os
import signal
import sysconfig

pytest_plugins = ["prober_fixtures"]

# who starts the tests in the background has shells ignore SIGINT, also in what the tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis is for tests of our own; its plugin imports it at the end of every run that these tests start, which takes
# each of them half a second
os.environ["PYTEST_ADDOPTS"] = " ".join(
    [os.environ.get("PYTEST_ADDOPTS", ""), "-p no:hypothesispytest"]
).strip()

# kubectl comes with the extra `dev`, into the folder of this Python's programs
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
