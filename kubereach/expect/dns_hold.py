"""What expectations of DNS answers share: converge, then hold, with caches waited for; what a wrong answer means."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from kubereach.expect.caching import Question, forgetting
from kubereach.expect.converge import converge, latest, remaining
from kubereach.expect.hold import held, longer, note_flaps
from kubereach.expect.reach import CONVERGED
from kubereach.expect.settle import names, was_measured
from kubereach.model.misses import LOST, RECORDS
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, Answer, SeriesResult, in_words
from kubereach.probe import Series
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: outcomes that a server told, right or wrong: nothing was lost
TOLD = frozenset({OK, NODATA, NXDOMAIN})


def hold(
    all_paths: Sequence[Path],
    series: Callable[[Path, int], Series],
    right: Callable[[Path, Answer], bool],
    length: int,
    within: float | None,
    question: Question | None = None,
) -> None:
    """Converge and then hold, where `right` says whether an answer is as expected.

    With `question`, what a cache may still hold is waited for, see `kubereach.expect.caching`.

    Replicas of a server follow a change one after the other: one right answer says nothing of the next. A first attempt
    that was as long as the hold, and right, is the hold.
    """

    def all_right(path: Path, result: SeriesResult) -> bool:
        return all(right(path, probe.answer) for probe in result.probes)

    def is_wrong(path: Path) -> bool:
        answers = [probe.answer for probe in path.result.probes]
        return any(answer.outcome in TOLD and not right(path, answer) for answer in answers)

    begun = time.monotonic()

    def converged(some: Sequence[Path]) -> list[Path]:
        return converge(
            some, lambda path: series(path, min(length, CONVERGED)), all_right, remaining(begun, within)
        )

    late = converged([path for path in all_paths if within is not None or path.address.settled > begun])
    wrong = [path for path in late if is_wrong(path)]
    cached = forgetting(wrong, question) if wrong and question and within is None else []
    if cached:
        still = converged(cached)
        late = [path for path in late if path not in cached or path in still]
    open_paths = [
        path for path in all_paths if path not in late and not (path.attempts == 1 and length <= CONVERGED)
    ]

    def run(some: Sequence[Path], again: int) -> list[SeriesResult]:
        count = longer(all_paths[0].vantage.context.settings, length, again)
        return run_each([(path.vantage, replace(series(path, count), patient=True)) for path in some])

    late += held(
        open_paths,
        run,
        lambda path: "" if all_right(path, path.result) else in_words(path.result.outcomes),
        converged,
        lambda path: latest(path, begun, within),
        is_wrong,
    )
    for path in all_paths:
        if path not in late:
            path.converged, path.least = max(path.converged, 0.0), length
        was_measured(path)
    note_flaps([path for path in all_paths if all_right(path, path.result)])


def wrong_ones(path: Path, right: Callable[[Path, Answer], bool]) -> list[Answer]:
    """The answers that are not `right`, those that a server gave first.

    A wrong answer is wrong whatever else was lost. Where not every probe could be made there are only such ones: one
    that could not is no lost one.
    """
    wrong = [probe.answer for probe in path.result.probes if not right(path, probe.answer)]
    given = [answer for answer in wrong if answer.outcome in TOLD]
    return given if path.unmeasured else [*given, *(answer for answer in wrong if answer not in given)]


def miss_of(answer: Answer) -> str:
    """What was missed by an answer that is not right."""
    return RECORDS if answer.outcome in TOLD else LOST


def difference(wanted: frozenset[str], got: frozenset[str]) -> list[str]:
    lines = []
    if wanted - got:
        lines.append(f"missing: {names(wanted - got)}")
    if got - wanted:
        lines.append(f"unexpected: {names(got - wanted)}")
    return lines
