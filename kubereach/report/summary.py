"""The last lines of a run: the matrix, the failures, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from kubereach.model.percentile import percentile
from kubereach.model.plural import plural
from kubereach.model.verdicts import (
    CONFORMANT,
    ERROR,
    FAIL,
    NOT_CONFORMANT,
    NOTED,
    PARTIAL,
    PASS,
    UNSUPPORTED,
)
from kubereach.report import diagnosis, failures, matrix
from kubereach.report.json_report import Surroundings
from kubereach.report.record import Record
from kubereach.report.symbols import Symbols

_STYLES = {CONFORMANT: "bold green", PARTIAL: "bold yellow", NOT_CONFORMANT: "bold red"}
_NOUNS = (
    (PASS, "passed"),
    (FAIL, "failed"),
    (ERROR, "not measured"),
    (UNSUPPORTED, "unsupported"),
    (NOTED, "noted"),
)


def show(console: Console, marks: Symbols, record: Record, around: Surroundings, report: Path | None) -> None:
    """Print the matrix, each failure, and the verdict with its reason. `report` is where report.json is.

    A part that goes wrong costs only itself: the verdict is always there.
    """
    parts: dict[str, Callable[[], Iterable[RenderableType]]] = {
        "the matrix": lambda: _matrix(record, marks, console.width),
        "the notes on the cluster": lambda: [
            Text(line, "dim") for line in (*dns_notes(record), *left_out(record))
        ],
        "convergence": lambda: [Text(line, "dim") for line in convergence(record)],
        "the outliers": lambda: [Text(line, "yellow") for line in outliers(record)],
        "the notes of the checks": lambda: [Text(line, "dim") for line in notes(record)],
        "the causes": lambda: diagnosis.render(record.causes(), marks),
        "the failures": lambda: failures.render(record, marks),
    }
    for name, lines in parts.items():
        try:
            for line in lines():
                console.print(line, soft_wrap=isinstance(line, Text))
        except Exception as error:
            wrong = f"kubereach: cannot show {name}: {type(error).__name__}: {error}"
            console.print(Text(wrong, "bold magenta"), soft_wrap=True)
    console.print()
    if around.error:
        console.print(Text(f"kubereach: {around.error.message}", "bold magenta"), soft_wrap=True)
        if around.error.remedy:
            console.print(Text(f"  {around.error.remedy}"), soft_wrap=True)
    if around.error and not record.results:
        return  # one clear line and the remedy are all there is to say
    console.print(verdict_line(record, around), soft_wrap=True)
    if report:
        console.print(Text(f"report: {report}", "dim"), soft_wrap=True)


def _matrix(record: Record, marks: Symbols, width: int) -> Iterator[RenderableType]:
    folded = matrix.build(record)
    if folded.rows:
        yield Text()
        yield from matrix.render(folded, marks, width)
        yield Text(matrix.legend(folded, marks), "dim")


def left_out(record: Record) -> list[str]:
    """The nodes that took no part, a line for each reason."""
    lines = record.cluster.get("nodes left out")
    return ["nodes left out", *(f"  {line}" for line in lines)] if isinstance(lines, list) else []


def dns_notes(record: Record) -> list[str]:
    """What was unexpected about the cluster's DNS: where its ConfigMaps or labels say something else than its pods."""
    lines = record.cluster.get("dns notes")
    return ["cluster DNS", *(f"  {line}" for line in lines)] if isinstance(lines, list) else []


def convergence(record: Record) -> list[str]:
    """How long the data plane took to follow changes, a line for each kind of change: p50, p99 and the longest."""
    lines = []
    for what, seconds in record.convergence().items():
        spread = [percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)]
        p50, p99, longest = (f"{(value or 0.0) * 1000:.0f}" for value in spread)
        lines.append(
            f"  {what}: p50 {p50} ms, p99 {p99} ms, max {longest} ms until effective "
            f"({plural(len(seconds), 'path')})"
        )
    return ["convergence", *lines] if lines else []


def outliers(record: Record) -> list[str]:
    """What stands out though it conforms, a line each."""
    lines = [f"  {one.text}" for one in record.outliers()]
    return ["outliers", *lines] if lines else []


def notes(record: Record) -> list[str]:
    """What the run and its checks found out and want read, whatever their verdict."""
    lines = [f"  {note}" for note in record.notes]
    lines += [f"  {failures.name_of(result)}: {note}" for result in record.results for note in result.notes]
    return ["reported", *lines] if lines else []


def verdict_line(record: Record, around: Surroundings) -> Text:
    """``conformant: 51 passed in 9.1 s (world 1.2 s)``, with the reason where it is not conformant."""
    counts = ", ".join(f"{count} {noun}" for word, noun in _NOUNS if (count := record.count(word)))
    times = f" in {record.seconds:.1f} s"
    if record.world_seconds:
        times += f" (world {record.world_seconds:.1f} s)"
    line = Text.assemble(
        (record.verdict, _STYLES.get(record.verdict, "bold magenta")), f": {counts or 'no check ran'}{times}"
    )
    # an error has lines of its own above
    if around.reason and not (around.error and around.reason == around.error.message):
        line.append(f"; {around.reason}")
    return line
