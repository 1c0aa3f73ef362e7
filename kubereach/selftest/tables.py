"""What the selftest shows: the progress of its runs, the table of faults, its inverse, and what is wrong."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Sequence

from kubereach.report.symbols import symbols_for
from kubereach.selftest.inverse import Catches
from kubereach.selftest.judging import Judgement
from kubereach.selftest.table import ABSENT

_WIDTH = 100


class Screen:
    """Writes to standard output; on a terminal its last line is the progress."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._live = sys.stdout.isatty()
        self._marks = symbols_for(sys.stdout.encoding)
        self._width = shutil.get_terminal_size((_WIDTH, 24)).columns

    def say(self, text: str = "") -> None:
        """A line, or several."""
        self._clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def tick(self, running: Sequence[str]) -> None:
        """Show how far it is."""
        if self._live:
            passed = int(time.monotonic() - self._began)
            text = f"{self._done}/{self._total}  {passed // 60}:{passed % 60:02}  {', '.join(running)}"
            sys.stdout.write("\r\x1b[K" + text[: self._width - 1])
            sys.stdout.flush()

    def _clear(self) -> None:
        if self._live:
            sys.stdout.write("\r\x1b[K")

    def ended(self, judgement: Judgement) -> None:
        """One trial is over: its problems at once, or, where there is no live line, that it is done."""
        self._done += 1
        if judgement.problems:
            self._problems(f"{self._marks.failed} {judgement.name}", judgement.problems)
        elif not self._live:
            self.say(f"{self._marks.reached} {judgement.name}  {judgement.seconds:.0f} s")

    def shared(self, names: Sequence[str], seconds: float, problems: Sequence[str]) -> None:
        """A run with several faults is over; if anything in it is not as expected, each will be run alone."""
        self._done += 1
        listed = ", ".join(names)
        if problems:
            self._total += len(names)
            self._problems(f"  {listed}: not as expected together, running each alone", problems)
        elif not self._live:
            self.say(f"{self._marks.reached} {listed}  {seconds:.0f} s")

    def _problems(self, title: str, problems: Sequence[str]) -> None:
        lines = [title]
        for problem in problems:
            wrapped = textwrap.wrap(problem, self._width, initial_indent="    ", subsequent_indent="      ")
            lines += wrapped
        self.say("\n".join(lines))

    def faults(self, judgements: Sequence[Judgement]) -> None:
        """The table fault x (detected, attributed, located, seconds), by name."""
        width = max(len(judgement.name) for judgement in judgements)
        self.say(f"\n{'fault':{width}}  detected  attributed  located  seconds")
        for one in sorted(judgements, key=lambda judgement: judgement.name):
            cells = (self._mark(one.detected), self._mark(one.attributed), self._mark(one.located))
            line = f"{one.name:{width}}  {cells[0]:8}  {cells[1]:10}  {cells[2]:7}  {one.seconds:7.1f}"
            note = one.unmeasurable or one.note
            self.say(f"{line}  {note}" if note else line)

    def often(self, judgements: Sequence[Judgement]) -> None:
        """The table fault x how many of its runs came out as they must, by name."""
        runs = defaultdict(list)
        for one in judgements:
            runs[one.name].append(one)
        width = max(len(name) for name in [*runs, "fault"])
        self.say(f"\n{'fault':{width}}  runs  detected  attributed  located")
        for name, mine in sorted(runs.items()):
            counts = (
                sum(bool(one.detected) for one in mine),
                sum(bool(one.attributed) for one in mine),
                sum(bool(one.located) for one in mine),
            )
            self.say(f"{name:{width}}  {len(mine):4}  {counts[0]:8}  {counts[1]:10}  {counts[2]:7}")

    def checks(self, catches: Sequence[Catches]) -> None:
        """The inverse: each check with how many faults it catches, and which only it does."""
        width = max(len(one.check.id) for one in catches)
        self.say(f"\n{'check':{width}}  faults  caught only by this check")
        for one in catches:
            alone = ", ".join(one.alone)
            if one.needs in one.check.needs and one.check.id in ABSENT:
                alone += f" (not measured on this machine: {ABSENT[one.check.id]})"
            margin = " " * (width + 10)
            text = textwrap.fill(
                alone, max(self._width, width + 40), initial_indent=margin, subsequent_indent=margin
            )
            self.say(f"{one.check.id:{width}}  {len(one.faults):6}  {text.strip()}".rstrip())

    def _mark(self, value: bool | None) -> str:
        return "-" if value is None else self._marks.reached if value else self._marks.failed
