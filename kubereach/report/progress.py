"""Progress while a run is under way: one live line on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kubereach.model.events import CheckFinished, CheckStarted, Event, Progress, RunStarted, WorldReady
from kubereach.model.plural import plural
from kubereach.model.verdicts import ERROR, FAIL, NOTED, PASS, UNSUPPORTED
from kubereach.report.record import Record
from kubereach.report.symbols import STYLES, Symbols

_PLAIN_INTERVAL = 2.0


class PlainProgress:
    """A line for each check as it finishes, and for a step of the preparation at most every two seconds."""

    def __init__(self, console: Console, marks: Symbols) -> None:
        self._console = console
        self._marks = marks
        self._in_check = False
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case CheckStarted():
                self._in_check = True
            case CheckFinished():
                self._in_check = False
                self._console.print(finished_line(event, self._marks), soft_wrap=True)
            # pytest captures output while a check runs, and the check's own line says enough
            case Progress() if not self._in_check and time.monotonic() - self._last > _PLAIN_INTERVAL:
                self._last = time.monotonic()
                self._console.print(f"{self._marks.dot} {event.text}", soft_wrap=True)
            case RunStarted() | WorldReady():
                self._console.print(milestone(event), soft_wrap=True)

    def threads_allowed(self) -> None:
        """Plain progress has no thread."""

    def stop(self) -> None:
        """Nothing is left on the screen to clear."""


class LiveProgress:
    """One line at the bottom with the current step and counts; what went wrong scrolls by above it."""

    def __init__(
        self, console: Console, marks: Symbols, record: Record, total: int, every_check: bool
    ) -> None:
        self._console = console
        self._marks = marks
        self._record = record
        self._total = total
        self._every_check = every_check
        self._step = "starting"
        self._spinner = Spinner("dots" if marks.dot == "·" else "line")
        # no refreshing thread yet: the lab moves this process into namespaces, which needs a single thread
        self._live = self._start(threaded=False)

    def threads_allowed(self) -> None:
        """The target is open: from here on the line keeps moving by itself."""
        self._live.stop()
        self._live = self._start(threaded=True)

    def __call__(self, event: Event) -> None:
        match event:
            case Progress():
                self._step = event.text
            case CheckStarted():
                self._step = f"{event.id}[{event.case}]" if event.case else event.id
            case CheckFinished() if self._every_check or event.verdict not in (PASS, UNSUPPORTED):
                self._live.console.print(finished_line(event, self._marks), soft_wrap=True)
            case RunStarted() | WorldReady():
                self._live.console.print(milestone(event), soft_wrap=True)
            case _:
                return
        if not self._live.auto_refresh:
            self._live.refresh()

    def stop(self) -> None:
        """Clear the line."""
        self._live.stop()

    def __rich__(self) -> Spinner:
        done = sum(bool(result.verdict) for result in self._record.results)
        line = Text.assemble((f"{done}/{self._total} ", "bold"), self._step)
        for verdict in (FAIL, ERROR, NOTED, UNSUPPORTED):
            if count := self._record.count(verdict):
                line.append(f"  {self._marks.of(verdict)} {count}", STYLES[verdict])
        line.truncate(self._console.width - 3, overflow="ellipsis")
        self._spinner.update(text=line)
        return self._spinner

    def _start(self, threaded: bool) -> Live:
        live = Live(
            self,
            console=self._console,
            auto_refresh=threaded,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        return live


def finished_line(event: CheckFinished, marks: Symbols) -> Text:
    """``✓ nodeport.every-node  0.31 s``, with the reason for anything but a pass."""
    name = f"{event.id}[{event.case}]" if event.case else event.id
    line = Text.assemble(
        (f"{marks.of(event.verdict)} {name}", STYLES.get(event.verdict, "")),
        (f"  {event.seconds:.2f} s", "dim"),
    )
    if event.verdict != PASS:
        line.append(f"  {event.verdict}: {event.message}")
        if len(event.failures) > 1:
            line.append(f" (and {len(event.failures) - 1} more)")
    return line


def milestone(event: RunStarted | WorldReady) -> Text:
    """The two lines that say that the preparation is getting on."""
    if isinstance(event, WorldReady):
        return Text(
            f"world ready in {event.seconds:.1f} s: {plural(event.pods, 'pod')}, "
            f"{plural(len(event.vantages), 'vantage')}"
        )
    version, nodes = event.cluster.get("version"), event.cluster.get("nodes")
    facts = [f"Kubernetes {version}"] if version else []
    facts += [plural(len(nodes), "node")] if isinstance(nodes, (list, tuple)) else []
    line = Text(f"target {event.target}: {', '.join([*facts, plural(len(event.checks), 'check')])}")
    if note := event.cluster.get("version note"):
        line.append(f"\n{note}", "yellow")
    return line
