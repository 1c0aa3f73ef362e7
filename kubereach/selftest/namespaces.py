"""Work in a network namespace of a running lab, from a process that is in the lab's user namespace."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from kubereach_lab import syscalls

T = TypeVar("T")


def within(namespace: Path, work: Callable[[], T]) -> T:
    """What `work` gives, done by a thread in that namespace. Sockets and links that it makes stay there.

    Raises what `work` raises, and `OSError` where the namespace cannot be entered.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            enter(namespace)
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done.result()


def enter(namespace: Path) -> None:
    """Move the calling thread there, for good. Raises `OSError`."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
    finally:
        os.close(descriptor)
