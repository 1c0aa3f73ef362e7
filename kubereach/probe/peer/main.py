"""The commands, ``serve``, ``probe`` and ``idle``, and how the process ends.

A backend and a prober each import their own modules only when they are asked for: where the folder is read-only Python
compiles what it imports at every start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time


def write_all(data: bytes) -> None:
    """Write to standard output, all of it; a reader that has gone means that nobody needs us any more."""
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        os._exit(0)


def probe(arguments: list[str]) -> None:
    """Take requests on standard input until it ends."""
    from .prober import Prober
    from .resolver import libc, resends_after, resolver_options
    from .sockets import IN

    limit = int(arguments[arguments.index("--in-flight") + 1]) if "--in-flight" in arguments else 16
    prober = Prober(write_all, limit)
    pending = [b""]
    os.set_blocking(0, False)

    def readable(fd: int) -> None:
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            os._exit(0)
        *lines, pending[0] = (pending[0] + data).split(b"\n")
        for line in lines:
            if line.strip():
                prober.submit_line(line)

    prober.readable = readable  # type: ignore[method-assign]
    prober.poller.add(0, IN)
    hello = {
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "pid": os.getpid(),
        "resends_after": resends_after(libc(), resolver_options()),
    }
    write_all(json.dumps({"hello": hello}).encode() + b"\n")
    while True:
        prober.step()


def serve(arguments: list[str]) -> None:
    """``serve [--http PORT]... [--tcp PORT]... [--udp PORT]... [--sctp PORT]... [--not-ready] [--linger SECONDS]
    [--if-free]``.

    Any number of ports; a machine without SCTP serves the others. `--linger`: go on for so long after SIGTERM.
    `--if-free`: a port that somebody else on this machine has is not served.

    Who it is comes from the environment: POD_NAME, NODE_NAME, NONCE; and what whoever changes it has to know: SECRET.
    """
    from .server import CONNECTIONS, Server

    server = Server(
        os.environ.get("POD_NAME") or socket.gethostname(),
        os.environ.get("NODE_NAME", ""),
        os.environ.get("NONCE", ""),
        ready="--not-ready" not in arguments,
        secret=os.environ.get("SECRET", ""),
        limit=max(16, min(CONNECTIONS, descriptors(2 * CONNECTIONS) - 64)),
    )
    for option, value in zip(arguments, arguments[1:]):  # noqa: B905, RUF007 - both need Python 3.10
        if option in ("--http", "--tcp", "--udp"):
            try:
                server.listen(option[2:], int(value))
            except OSError as error:
                if "--if-free" not in arguments:
                    raise
                sys.stderr.write(f"port {value} is not served: {error}\n")
        elif option == "--sctp":
            try:
                server.listen("sctp", int(value))
            except OSError as error:
                sys.stderr.write(f"no SCTP on this machine: {error}\n")
    server.run()


def descriptors(wanted: int) -> int:
    """The files and sockets that this process may have open, of `wanted` as many as it may take for itself."""
    import resource  # probers need none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted:
        most = wanted if hard < 0 else min(hard, wanted)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            return soft  # a sandbox that does not let us
        return most
    return soft if soft >= 0 else wanted


def idle() -> None:
    """Only be there, for a vantage's exec."""
    while True:
        time.sleep(3600)


def end_at_sigterm(linger: float = 0.0) -> None:
    """End when asked to, after `linger` seconds: process 1 of a pod has no default action for the signal.

    A thread waits for the signal. A handler would run only between two steps of the interpreter, and so not at all
    when the signal comes just before a wait for packets.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        signal.sigwait([signal.SIGTERM])
        time.sleep(linger)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> None:
    end_at_sigterm(float(arguments[arguments.index("--linger") + 1]) if "--linger" in arguments else 0.0)
    command = arguments[0] if arguments else ""
    if command == "serve":
        serve(arguments[1:])
    elif command == "probe":
        probe(arguments[1:])
    elif command == "idle":
        idle()
    else:
        sys.stderr.write("usage: python3 FOLDER serve|probe|idle ...\n")
        sys.exit(2)
