"""An outside vantage wherever a command can start Python: on another machine, in a container, in another cluster.

The command's own words say where (``ssh edge1 python3``, ``docker run -i --rm IMAGE python3``); the prober comes over
its standard input, so that nothing has to be there but Python >= 3.8.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from kubereach import peer
from kubereach.context import RunContext
from kubereach.errors import CannotMeasure, UsageError
from kubereach.vantage.streams import PipeStream
from kubereach.vantage.vantage import OUTSIDE, OutsideVantage, StreamBroke
from kubereach.vantage.wire import Wire

#: reads so many bytes from standard input, not one more, since requests follow; and becomes that program. It has no
#: line break and no single quote, so that any shell on the way can be given it in single quotes.
_BOOTSTRAP = (
    "import os,sys;"
    'r=lambda b:b if len(b)=={size} else r(b+(os.read(0,{size}-len(b)) or sys.exit("the program did not come")));'
    'exec(compile(r(b""),"peer.py","exec"))'
)
#: programs that join their words and hand them to a shell at the other end
_REMOTE_SHELLS = frozenset({"ssh", "autossh"})
#: characters of a vantage's name
_LABEL = 40


def words_of(command: str) -> list[str]:
    """The words of a command line. Raises `UsageError` for none, and for quotes that do not close."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--outside-via {command}: {error}", "Quote it as for a shell.") from None
    if not words:
        raise UsageError(
            "--outside-via: no command", "Name one that starts Python, such as 'ssh edge1 python3'."
        )
    return words


def further_outsides(commands: str | None, wire: Wire, context: RunContext) -> list[OutsideVantage]:
    """A vantage for each line of `commands`, with names that differ. Raises `UsageError`."""
    found: list[OutsideVantage] = []
    for command in (commands or "").splitlines():
        name = label_of(words_of(command))
        alike = sum(vantage.name.partition(" #")[0] == name for vantage in found)
        found.append(CommandVantage(command, wire, context, label=f"{name} #{alike + 1}" if alike else name))
    return found


def label_of(words: Sequence[str]) -> str:
    """A vantage's name: the command without what every such command ends with."""
    where = list(words)
    while len(where) > 1 and os.path.basename(where[-1]).startswith("python"):  # noqa: PTH119 - a word, not a path
        where.pop()
    text = " ".join(where)
    return f"{OUTSIDE}@{text if len(text) <= _LABEL else text[: _LABEL - 3] + '...'}"


def whole(words: Sequence[str], arguments: Sequence[str], size: int) -> list[str]:
    """The command that starts Python with a program of `size` bytes on its standard input, and the program's arguments.

    A remote shell at the other end splits words again, so what it gets is quoted for it.
    """
    ours = ["-u", "-c", _BOOTSTRAP.format(size=size), *arguments]
    if any(os.path.basename(word) in _REMOTE_SHELLS for word in words):  # noqa: PTH119
        ours = [shlex.quote(word) for word in ours]
    return [*words, *ours]


def started(words: Sequence[str], arguments: Sequence[str]) -> PipeStream:
    """A prober that a command starts. Raises `CannotMeasure` when the command cannot be started at all."""
    program = Path(peer.__file__).read_bytes()
    try:
        # without a terminal nobody is asked for a password, and Ctrl-C is for us alone
        return PipeStream(whole(words, arguments, len(program)), program, own_session=True)
    except OSError as error:
        raise CannotMeasure(
            f"{os.path.basename(words[0])} cannot be started: {error.strerror}",  # noqa: PTH119
            "Correct --outside-via.",
        ) from error


class CommandVantage(OutsideVantage):
    """A further outside: where `command`, a command line as for a shell, starts Python. Raises `UsageError`."""

    def __init__(self, command: str, wire: Wire, context: RunContext, *, label: str = "") -> None:
        words = words_of(command)
        self.command = command
        arguments = ["probe", "--in-flight", str(context.settings.in_flight)]
        super().__init__(
            OUTSIDE,
            "",
            lambda: started(words, arguments),
            wire,
            context,
            label=label or label_of(words),
        )

    def second_opinion(self, url: str, timeout: float) -> str:
        """None: an ordinary HTTP client there is not ours to ask."""
        return ""

    def broke(self, reason: str) -> StreamBroke:
        return StreamBroke(
            f"{self.command}: {reason}",
            "Try it by hand: it must start Python >= 3.8 without asking, and live as long as the run.",
        )
