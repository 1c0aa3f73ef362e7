"""The pod's own resolver, and how soon it asks again."""

from __future__ import annotations

import os
import socket
import time


def resolve(host: str, family: int) -> tuple[str, list[str]]:
    """Ask the pod's own resolver: outcome and sorted addresses.

    getaddrinfo does not tell NXDOMAIN from a name without such addresses on every libc (EAI_NONAME), nor a time-out
    from SERVFAIL (EAI_AGAIN): the former counts as nxdomain, the latter as timeout when it took longer than a
    resolver's shortest time-out, else as servfail.
    """
    wanted = {4: socket.AF_INET, 6: socket.AF_INET6}.get(family, socket.AF_UNSPEC)
    begun = time.monotonic()
    try:
        found = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return "nxdomain", []
        if error.errno == getattr(socket, "EAI_NODATA", None) or error.errno == getattr(
            socket, "EAI_ADDRFAMILY", None
        ):
            return "nodata", []
        if error.errno == socket.EAI_AGAIN and time.monotonic() - begun > 0.9:
            return "timeout", []
        return "servfail", []
    except UnicodeError:
        return "nxdomain", []
    return "ok", sorted({str(item[4][0]) for item in found})


def libc() -> str:
    """The C library's name and version where it is glibc; empty for musl and others."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def resolver_options() -> str:
    """The text of /etc/resolv.conf, with what glibc takes from the environment; empty if it cannot be read."""
    try:
        with open("/etc/resolv.conf", "rb") as file:  # noqa: PTH123 - pathlib takes 10 ms to load
            return file.read().decode(errors="replace") + "\noptions " + os.environ.get("RES_OPTIONS", "")
    except OSError:
        return ""


def resends_after(c_library: str, text: str) -> float:
    """Seconds after which a resolver sends a query again that was not answered, by what resolv.conf says.

    glibc: ``timeout``, 5 s by default, 30 at most and 1 at least (resolv.conf(5), res_send.c). musl: ``timeout`` by
    ``attempts``, by default 5 s by 2, at most 60 s and 10 (res_msend.c, resolvconf.c). Others count as musl, whose time
    is the shorter one.
    """
    options = {"timeout": 5, "attempts": 2}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "options":
            for option in rest.split():
                name, _, number = option.partition(":")
                if name in options and number.isdigit():
                    options[name] = int(number)
    if c_library.startswith("glibc"):
        return float(min(max(options["timeout"], 1), 30))
    return min(options["timeout"], 60) / min(max(options["attempts"], 1), 10)
