"""Hold: so many probes in a row as expected that a path which loses some is caught, also where it is held again.

A path that has just followed a change may miss once more before it has settled: the rules of who had its address
before go, or a proxy programs it a second time. Convergence is not monotone. A path that misses before it has settled
had not converged yet: it converges again and is held anew, and the report notes it. Each further series is longer: the
chances that the series overlook a loss add up to no more than ``loss_miss``, however many there are (alpha spending,
see docs/verdicts.md). Once a path has settled, one miss fails.

So is a series of which an overloaded machine has lost some, see `kubereach.expect.overload`: a few times, whether the
path has settled or not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from kubereach.expect.notes import add_note
from kubereach.expect.overload import overloaded
from kubereach.model.misses import LOST
from kubereach.model.outcome import SeriesResult
from kubereach.model.settings import Settings
from kubereach.probe.path import Flap, Path

#: times that a path is held again after a series whose machine had too much to do: it said nothing
OVERLOADED = 3
#: share of ``loss_miss`` that the first series of a path takes which may be held again; the others share the rest, each
#: half of what the one before had
FIRST = 0.9


def spent(settings: Settings, again: int) -> float:
    """The chance of overlooking a loss that a path's series may take which is held for the `again`-th time, from 0."""
    if again == 0:
        return settings.loss_miss * FIRST
    return float(settings.loss_miss * (1 - FIRST) * 0.5**again)


def hold_length(settings: Settings, endpoints: int = 0, miss: float | None = None) -> int:
    """Probes in a row that must all succeed.

    The smallest n with ``(1 - loss)**n < miss`` (the setting ``loss_miss`` where none is given), and so many that a
    uniform balancer over `endpoints` leaves one unseen with a probability below ``endpoint_miss`` (by the union bound:
    ``k * (1 - 1/k)**n``).
    """
    chance = settings.loss_miss if miss is None else miss
    length = math.floor(math.log(chance) / math.log(1 - settings.loss)) + 1
    if endpoints > 1:
        needed = math.log(settings.endpoint_miss / endpoints) / math.log(1 - 1 / endpoints)
        length = max(length, math.floor(needed) + 1)
    return length


def longer(settings: Settings, length: int, again: int) -> int:
    """The length of a series, otherwise of `length`, that is held for the `again`-th time, from 0."""
    if not again:
        return length
    return math.ceil(length * hold_length(settings, miss=spent(settings, again)) / hold_length(settings))


def held(
    all_paths: Sequence[Path],
    run: Callable[[Sequence[Path], int], Sequence[SeriesResult]],
    missed: Callable[[Path], str],
    converged: Callable[[Sequence[Path]], Sequence[Path]],
    limit: Callable[[Path], float],
    wrong: Callable[[Path], bool],
    tried: int = 0,
) -> list[Path]:
    """Hold each path until a series of it is as expected or it has settled; `path.result` is the last series.

    `run` makes a series of each path, held for the given time, from 0; `missed` says what a path's last series missed,
    "" if nothing; `converged` waits until paths converge again and gives those that do not; `limit` is the
    time.monotonic() at which a path must have settled; `wrong` whether an answer that came in its last series is one
    that must not come, which no overload explains. `tried` series have been held before. What a path missed in between
    is its `flap`. Gives the paths that did not converge again.
    """
    late: list[Path] = []
    again, waiting = tried, list(all_paths)
    while waiting:
        began = time.monotonic()
        for path, result in zip(waiting, run(waiting, again), strict=True):
            path.result = result
        unsettled = [
            path
            for path in waiting
            if missed(path)
            and (
                began < limit(path)
                or (again - tried < OVERLOADED and not wrong(path) and overloaded(path, LOST, began))
            )
        ]
        for path in unsettled:
            ended = began + path.result.seconds
            path.flap = Flap(missed(path), path.flap.began if path.flap else began, ended)
        left = converged(unsettled) if unsettled else ()
        late += left
        waiting = [path for path in unsettled if path not in left]
        again += 1
    return late


def note_flaps(all_paths: Sequence[Path]) -> None:
    """Note in the report what these paths, which are as expected now, missed before they had settled."""
    for path in all_paths:
        if path.flap:
            add_note(path.vantage, f"{path.vantage.name} at {path.address}: {path.flap}")
