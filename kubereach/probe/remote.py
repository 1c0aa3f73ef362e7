"""An outside vantage wherever a command can start Python: on another machine, in a container, in another cluster.

The command's own words say where (``ssh edge1 python3``, ``docker run -i --rm IMAGE python3``); the prober comes over
its standard input, so that nothing has to be there but Python >= 3.8. A command may hold passwords, so it is in no name
and in no message.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from kubereach.model.errors import CannotMeasure
from kubereach.probe.context import RunContext
from kubereach.probe.elsewhere import REMOTE_SHELLS, elsewhere
from kubereach.probe.multiplexer import Multiplexer
from kubereach.probe.program import bundle
from kubereach.probe.streams import PipeStream
from kubereach.probe.vantage import OUTSIDE, OutsideVantage, StreamBroke

#: reads so many bytes from standard input, not one more, since requests follow; and becomes that program. It has no
#: line break and no single quote, so that any shell on the way can be given it in single quotes.
_BOOTSTRAP = (
    "import os,sys;"
    'r=lambda b:b if len(b)=={size} else r(b+(os.read(0,{size}-len(b)) or sys.exit("the program did not come")));'
    'exec(compile(r(b""),"peer","exec"))'
)


def further_outsides(
    commands: Sequence[str], multiplexer: Multiplexer, context: RunContext
) -> list[OutsideVantage]:
    """A vantage for each of `commands`, with names that differ. Raises `UsageError`."""
    found: list[OutsideVantage] = []
    for command in commands:
        name = f"{OUTSIDE}@{elsewhere(command).name}"
        same_name = sum(vantage.name.partition(" #")[0] == name for vantage in found)
        found.append(
            CommandVantage(
                command, multiplexer, context, label=f"{name} #{same_name + 1}" if same_name else name
            )
        )
    return found


def whole(words: Sequence[str], arguments: Sequence[str], size: int) -> list[str]:
    """The command that starts Python with a program of `size` bytes on its standard input, and the program's arguments.

    A remote shell at the other end splits words again, so what it gets is quoted for it.
    """
    ours = ["-u", "-c", _BOOTSTRAP.format(size=size), *arguments]
    if any(os.path.basename(word) in REMOTE_SHELLS for word in words):  # noqa: PTH119
        ours = [shlex.quote(word) for word in ours]
    return [*words, *ours]


def started(words: Sequence[str], arguments: Sequence[str]) -> PipeStream:
    """A prober that a command starts. Raises `CannotMeasure` when the command cannot be started at all."""
    program = bundle()
    try:
        # without a terminal nobody is asked for a password, and Ctrl-C is for us alone
        return PipeStream(whole(words, arguments, len(program)), program, own_session=True)
    except OSError as error:
        raise CannotMeasure(
            f"cannot start {os.path.basename(words[0])}: {error.strerror}",  # noqa: PTH119
            "Correct --outside-via.",
        ) from error


class CommandVantage(OutsideVantage):
    """A further outside: where ``[NAME=]COMMAND``, as for a shell, starts Python. Raises `UsageError`."""

    def __init__(
        self, command: str, multiplexer: Multiplexer, context: RunContext, *, label: str = ""
    ) -> None:
        place = elsewhere(command)
        arguments = ["probe", "--in-flight", str(context.settings.in_flight)]
        super().__init__(
            OUTSIDE,
            "",
            lambda: started(place.words, arguments),
            multiplexer,
            context,
            label=label or f"{OUTSIDE}@{place.name}",
        )

    def second_opinion(self, url: str, timeout: float) -> str:
        """None: an ordinary HTTP client there is not ours to ask."""
        return ""

    def broke(self, reason: str) -> StreamBroke:
        return StreamBroke(
            f"{self.name}: {reason}",
            "Run the command by hand: it must start Python >= 3.8 without a prompt and run as long "
            "as kubereach does.",
        )
