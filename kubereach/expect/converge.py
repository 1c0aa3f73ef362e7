"""Converge: try until it is as expected, or until it should have been."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tenacity import Retrying, retry_if_result, wait_exponential

from kubereach.model.address import SERVED
from kubereach.model.convergence import origin
from kubereach.model.outcome import UNANSWERED, SeriesResult
from kubereach.probe.group import run_each
from kubereach.probe.path import Path
from kubereach.probe.series import Series

#: seconds for which the first attempt of a path that may still converge waits for an answer
IMPATIENT = 0.25
#: a change may take so many times as long as the slowest before it, also where something is broken
SLOW = 3


def latest(path: Path, begun: float, within: float | None = None) -> float:
    """time.monotonic() until when a path that has been tried since `begun` may converge.

    Where something is broken already, every change would cost the whole deadline, and the run minutes. An answer that
    is only not the right one yet is still waited for: DNS may be cached for its whole time to live.
    """
    context = path.vantage.context
    limit = begun + within if within is not None else max(path.address.settled, begun)
    broken = path.result.outcomes.keys() & UNANSWERED
    since = context.troubled.get(path.vantage.name)
    if broken and since is not None:
        # whoever was under way when it broke has as long from then on; and what is slow is not broken
        longest = max(context.settings.troubled_deadline, SLOW * context.slowest)
        limit = min(limit, max(since, begun) + longest)
    return limit


def remaining(begun: float, within: float | None) -> float | None:
    """Seconds that are left of `within` of an expectation that began at `begun`; None without such a limit."""
    return None if within is None else max(0.0, begun + within - time.monotonic())


def converge(
    all_paths: Sequence[Path],
    series: Callable[[Path], Series],
    conforms: Callable[[Path, SeriesResult], bool],
    within: float | None = None,
    patient: bool = True,
) -> list[Path]:
    """Try all paths at the same time, one series each, again and again until each conforms; gives those that do not.

    A path has until its address has settled, or `within` seconds from now; it is always tried once. Between attempts
    come short exponential waits. `path.converged` is set to the seconds that it took: from the change that the path has
    yet to follow, which `path.change` then names, else from now.

    Unless `patient`, the time-out of probes begins at `IMPATIENT` and doubles: a packet that was lost because a rule
    was not there yet is not worth waiting for.
    """
    begun = time.monotonic()
    open_paths = list(all_paths)

    def deadline(path: Path) -> float:
        return latest(path, begun, within)

    timeout = [IMPATIENT]
    #: paths whose attempt before was not as patient as any probe
    hurried: set[int] = set()

    def impatient(path: Path) -> Series:
        requested = series(path)
        hurried.discard(id(path))
        # the last attempt that a path may make is as patient as any probe
        if patient or requested.timeout <= timeout[0] or time.monotonic() + timeout[0] >= deadline(path):
            return requested
        hurried.add(id(path))
        return replace(requested, timeout=timeout[0])

    def due(path: Path) -> bool:
        """Whether a path gets another attempt; where one has taken until the end, it was not to be in a hurry."""
        return time.monotonic() < deadline(path) or id(path) in hurried

    def attempt() -> bool:
        """Whether another attempt is worth it."""
        tried = time.monotonic()
        results = run_each([(path.vantage, impatient(path)) for path in open_paths])
        timeout[0] *= 2
        for path, result in list(zip(open_paths, results, strict=True)):
            path.result = result
            path.attempts += 1
            if conforms(path, result):
                path.change, since = origin(path.address.settled, begun)
                # what an attempt saw was so when it began, at the latest
                path.converged = tried - since
                if path.change:
                    context = path.vantage.context
                    context.slowest = max(context.slowest, path.converged)
                    # one that was as expected at the first attempt had converged before, nobody knows how long
                    if path.attempts > 1 and path.address.way in SERVED:
                        context.followed = max(context.followed, path.converged)
                open_paths.remove(path)
        return any(due(path) for path in open_paths)

    Retrying(retry=retry_if_result(bool), wait=wait_exponential(multiplier=0.02, max=0.5))(attempt)
    return open_paths
