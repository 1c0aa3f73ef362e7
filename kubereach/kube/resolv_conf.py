"""The resolver configuration of a machine or pod.

Source: resolv.conf(5), https://man7.org/linux/man-pages/man5/resolv.conf.5.html
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResolvConf:
    """A resolver's configuration, as resolv.conf(5) has it."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int

    @classmethod
    def parse(cls, text: str) -> ResolvConf:
        """Read the file's text: the last search line and the last ndots count, names without their final dot."""
        nameservers: list[str] = []
        search: tuple[str, ...] = ()
        ndots = 1
        for line in text.splitlines():
            word, *rest = line.split() or [""]
            if word == "nameserver" and rest:
                nameservers.append(rest[0])
            elif word in ("search", "domain"):
                search = tuple(name.rstrip(".") for name in rest)
            elif word == "options":
                for option in rest:
                    key, _, value = option.partition(":")
                    if key == "ndots" and value.isdigit():
                        ndots = int(value)
        return cls(tuple(nameservers), search, ndots)
