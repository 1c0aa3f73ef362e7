"""An outside vantage wherever a command can start Python: on another machine, in a container, in another cluster.

The command's own words say where (``ssh edge1 python3``, ``docker run -i --rm IMAGE python3``); the prober comes over
its standard input, so that nothing has to be there but Python >= 3.8. A command may hold passwords, so it is in no name
and in no message.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kubereach import peer
from kubereach.context import RunContext
from kubereach.errors import CannotMeasure
from kubereach.vantage.elsewhere import REMOTE_SHELLS, elsewhere
from kubereach.vantage.streams import Broken, PipeStream
from kubereach.vantage.vantage import OUTSIDE, OutsideVantage, StreamBroke
from kubereach.vantage.wire import Wire

#: reads so many bytes from standard input, not one more, since requests follow; and becomes that program. It has no
#: line break and no single quote, so that any shell on the way can be given it in single quotes.
_BOOTSTRAP = (
    "import os,sys;"
    'r=lambda b:b if len(b)=={size} else r(b+(os.read(0,{size}-len(b)) or sys.exit("the program did not come")));'
    'exec(compile(r(b""),"peer.py","exec"))'
)
#: seconds that a command may take to begin to read, a connection to another machine included
_PATIENCE = 20.0


def further_outsides(commands: Sequence[str], wire: Wire, context: RunContext) -> list[OutsideVantage]:
    """A vantage for each of `commands`, with names that differ. Raises `UsageError`."""
    found: list[OutsideVantage] = []
    for command in commands:
        name = f"{OUTSIDE}@{elsewhere(command).name}"
        alike = sum(vantage.name.partition(" #")[0] == name for vantage in found)
        found.append(CommandVantage(command, wire, context, label=f"{name} #{alike + 1}" if alike else name))
    return found


def whole(words: Sequence[str], arguments: Sequence[str], size: int) -> list[str]:
    """The command that starts Python with a program of `size` bytes on its standard input, and the program's arguments.

    A remote shell at the other end splits words again, so what it gets is quoted for it.
    """
    ours = ["-u", "-c", _BOOTSTRAP.format(size=size), *arguments]
    if any(os.path.basename(word) in REMOTE_SHELLS for word in words):  # noqa: PTH119
        ours = [shlex.quote(word) for word in ours]
    return [*words, *ours]


class CommandStream(PipeStream):
    """A prober that a command has started. Raises `CannotMeasure` when the command cannot be started at all."""

    def __init__(self, words: Sequence[str], arguments: Sequence[str]) -> None:
        program = Path(peer.__file__).read_bytes()
        # a file and no pipe: nobody reads what ssh and docker may have to say meanwhile
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
        try:
            process = subprocess.Popen(
                whole(words, arguments, len(program)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                # without a terminal nobody is asked for a password, and Ctrl-C is for us alone
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise CannotMeasure(
                f"{os.path.basename(words[0])} cannot be started: {error.strerror}",  # noqa: PTH119
                "Correct --outside-via.",
            ) from error
        super().__init__(process)
        os.set_blocking(self._in, False)
        try:
            self.send(program)
        except Broken as error:
            self.close()
            raise CannotMeasure(
                f"the command of --outside-via: {error}",
                "Try it by hand: it must start Python >= 3.8 without asking.",
            ) from error

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + _PATIENCE
        try:
            while data:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self._in], [], left)[1]:
                    raise Broken(f"it reads nothing for {_PATIENCE:.0f} s")
                data = data[os.write(self._in, data) :]
        except OSError as error:
            raise Broken(self._said() or str(error)) from error

    def _said(self) -> str:
        try:
            code: int | None = self._process.wait(2)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if lines:
            return lines[-1].strip()
        return "it ended" if code is None else f"it ended with exit code {code} and said nothing"

    def close(self) -> None:
        super().close()
        self._errors.close()


class CommandVantage(OutsideVantage):
    """A further outside: where ``[NAME=]COMMAND``, as for a shell, starts Python. Raises `UsageError`."""

    def __init__(self, command: str, wire: Wire, context: RunContext, *, label: str = "") -> None:
        place = elsewhere(command)
        arguments = ["probe", "--in-flight", str(context.settings.in_flight)]
        super().__init__(
            OUTSIDE,
            "",
            lambda: CommandStream(place.words, arguments),
            wire,
            context,
            label=label or f"{OUTSIDE}@{place.name}",
        )

    def second_opinion(self, url: str, timeout: float) -> str:
        """None: an ordinary HTTP client there is not ours to ask."""
        return ""

    def broke(self, reason: str) -> StreamBroke:
        return StreamBroke(
            f"{self.name}: {reason}",
            "Try it by hand: it must start Python >= 3.8 without asking, and live as long as the run.",
        )
