"""What is broken, before the list of failed checks: layer, place and object, evidence, and the next commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from kubereach.diagnosis.causes import Cause
from kubereach.report.symbols import Symbols

#: causes that are shown; report.json has all of them
_MOST = 4
_EVIDENCE, _NEXT, _ALSO, _CHECKS = 4, 3, 2, 6


def render(causes: Sequence[Cause], marks: Symbols) -> Iterator[Text]:
    """A few lines for each cause."""
    for cause in causes[:_MOST]:
        yield Text()
        yield Text.assemble((f"{cause.layer}: ", "bold red"), (cause.sentence, "bold"))
        for line in cause.what[1 : 1 + _ALSO]:
            yield Text(f"  also      {line}")
        for line in cause.evidence[:_EVIDENCE]:
            yield Text(f"  evidence  {line}", "dim")
        for line in cause.next[:_NEXT]:
            yield Text(f"  next      {line}")
        more = f" and {len(cause.checks) - _CHECKS} more" if len(cause.checks) > _CHECKS else ""
        yield Text(f"  {marks.arrow} {', '.join(cause.checks[:_CHECKS])}{more}", "red")
    if len(causes) > _MOST:
        yield Text(f"... and {len(causes) - _MOST} more causes, all in report.json", "dim")
