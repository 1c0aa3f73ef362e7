"""A place that a command leads to: its name, which reports show, and the command, which may hold passwords."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from kubereach.model.errors import UsageError

#: programs that hand their words to a shell at the other end, which splits them again
REMOTE_SHELLS = frozenset({"ssh", "autossh"})
#: options of ssh that take a value: https://man.openbsd.org/ssh
_SSH_VALUES = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
#: programs that take what the command is to start in, an image or a container, before the command itself
_CONTAINERS = frozenset({"docker", "podman", "nerdctl", "kubectl", "oc"})
#: options of theirs that take no value
_SWITCHES = frozenset(
    {"-i", "-t", "-it", "-ti", "--interactive", "--tty", "--rm", "--init", "--privileged", "--"}
)
#: characters of a derived name
_LONGEST = 40
_PYTHON = re.compile(r"python[\d.]*")
_NAMED = re.compile(r"([A-Za-z0-9][\w.:/-]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Elsewhere:
    """A place named `name`, and the command line, as for a shell, that starts Python there."""

    name: str
    command: str = field(repr=False)
    words: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        """In the form that `elsewhere` reads; not for people."""
        return f"{self.name}={self.command}"


def elsewhere(given: str) -> Elsewhere:
    """Read ``NAME=COMMAND``, or a command alone, whose name is derived from where it leads.

    Raises `UsageError` for no command, and for quotes that do not close. Its text does not show the command.
    """
    named = _NAMED.fullmatch(given.strip())
    name, command = (named[1], named[2].strip()) if named else ("", given.strip())
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        of = name or PurePath(command.split()[0]).name
        raise UsageError(f"--outside-via {of}: {error}", "Quote the command as in a shell.") from None
    if not words:
        raise UsageError(
            "--outside-via: empty command",
            "Give a command that starts Python, such as 'edge1=ssh edge1 python3'.",
        )
    return Elsewhere(name or _place(words)[:_LONGEST], command, words)


def _place(words: Sequence[str]) -> str:
    """Where a command leads, by words that are no secret: a host of ssh, an image or a container, else the program."""
    programs = [PurePath(word).name for word in words]
    shell = next((index for index, program in enumerate(programs) if program in REMOTE_SHELLS), None)
    if shell is not None:
        return _host(words[shell + 1 :]) or programs[shell]
    where = list(words)
    while len(where) > 1 and (where[-1] in _SWITCHES or _PYTHON.fullmatch(PurePath(where[-1]).name)):
        where.pop()
    value = where[-2:-1] and where[-2].startswith("-") and where[-2] not in _SWITCHES  # of an option
    if programs[0] in _CONTAINERS and len(where) > 2 and not value and not where[-1].startswith("-"):
        return where[-1]
    return programs[0]


def _host(words: Sequence[str]) -> str:
    """The host of ssh's destination, ``[user@]host`` or ``ssh://[user@]host[:port]``; empty if there is none."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            host = word.removeprefix("ssh://").rpartition("@")[2]
            return host.partition(":")[0] if word.startswith("ssh://") else host
        if word[-1] in _SSH_VALUES and len(word) == 2:
            next(rest, "")
    return ""
