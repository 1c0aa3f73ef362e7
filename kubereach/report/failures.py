"""Each failure in a few lines: the requirement, from where, to where, what was expected and what was seen."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from kubereach.model.check import Check
from kubereach.model.errors import Failure
from kubereach.model.verdicts import ERROR, FAIL, NOTED, UNSUPPORTED, Verdict
from kubereach.report.record import CheckRecord, Record
from kubereach.report.symbols import ASCII, STYLES, Symbols

#: failures of one check that are shown; report.json has all of them
_MOST = 6
_MOST_EVIDENCE = 4


def render(record: Record, marks: Symbols) -> Iterator[Text]:
    """Lines for every check that did not pass."""
    for result in record.with_verdict(FAIL, ERROR, NOTED):
        yield Text()
        yield _title(result, marks)
        if result.check:
            yield Text(f"  {result.check.requirement}")
        if result.defect:
            yield Text(f"  {result.defect}", "yellow")
        yield from _reasons(result, marks)
        if result.check and result.verdict != ERROR:
            yield Text(f"  {result.check.source}", "dim")
    unsupported = record.with_verdict(UNSUPPORTED)
    if unsupported:
        yield Text()
    for result in unsupported:
        yield _title(result, marks).append(f"  unsupported: {result.message}", "not bold default")


def name_of(result: CheckRecord) -> str:
    """``nodeport.every-node``, with the case in brackets where a check has several."""
    return f"{result.id}[{result.case}]" if result.case else result.id


def _title(result: CheckRecord, marks: Symbols) -> Text:
    style = STYLES.get(result.verdict, "")
    level = f"  ({result.check.level})" if result.check and result.verdict != UNSUPPORTED else ""
    return Text.assemble((f"{marks.of(result.verdict)} {name_of(result)}", style), (level, "dim"))


def _reasons(result: CheckRecord, marks: Symbols) -> Iterator[Text]:
    if result.verdict == ERROR:
        yield Text(f"  not measured: {result.message}")
    elif not result.failures:
        yield Text(f"  {result.message}")
    for failure in result.failures[:_MOST]:
        yield from _failure(failure, marks)
    if len(result.failures) > _MOST:
        yield Text(f"  ... and {len(result.failures) - _MOST} more, all in report.json", "dim")


def _failure(failure: Failure, marks: Symbols) -> Iterator[Text]:
    yield Text(f"  {failure.vantage} {marks.arrow} {failure.address}")
    yield Text.assemble(("    expected ", "dim"), failure.expected)
    yield Text.assemble(("    got      ", "dim"), failure.got)
    for line in failure.evidence[:_MOST_EVIDENCE]:
        yield Text(f"             {line}", "dim")


def plain(check: Check, verdict: Verdict) -> str:
    """The failure as text for JUnit and for pytest's own output, all of it."""
    lines = [f"{check.id}: {verdict.word}: {check.requirement}"]
    if not verdict.failures:
        lines.append(verdict.message)
    for failure in verdict.failures:
        lines += [line.plain for line in _failure(failure, ASCII)]
    return "\n".join([*lines, check.source])
