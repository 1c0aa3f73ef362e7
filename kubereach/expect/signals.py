"""The four golden signals of a path: latency, traffic, errors and saturation.

Source: https://sre.google/sre-book/monitoring-distributed-systems/#xref_monitoring_golden-signals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.expect.notes import add_note
from kubereach.expect.reach import series_for
from kubereach.expect.settle import paths, settle, was_measured
from kubereach.expect.where import Where
from kubereach.model.outcome import OK, in_words
from kubereach.model.percentile import percentile
from kubereach.model.plural import plural
from kubereach.probe import Vantage
from kubereach.probe.group import run_each
from kubereach.probe.path import Path

#: the share of errors after which the path is broken, not slow: more of them say nothing new, and each costs a time-out
BROKEN = 0.1


def to_signal(vantages: Sequence[Vantage], where: Where) -> None:
    """The report has latency, traffic, errors and saturation of each path; errors stay below ``settings.loss``."""
    all_paths = paths(vantages, where)
    requests = []
    for path in all_paths:
        count = path.vantage.context.settings.signal_requests
        requests.append(replace(series_for(path, count), stop_after=max(1, round(BROKEN * count))))
    results = run_each([(path.vantage, series) for path, series in zip(all_paths, requests, strict=True)])
    for path, series, result in zip(all_paths, requests, results, strict=True):
        path.result, path.least = result, series.count
        if not was_measured(path):
            continue
        errors = len(result.probes) - result.outcomes[OK]
        add_note(
            path.vantage,
            f"{path.vantage.name} at {path.address.way}: {_words(path, errors, series.in_flight)}",
        )
        if errors > len(result.probes) * path.vantage.context.settings.loss:
            path.fail(f"less than {path.vantage.context.settings.loss:.0%} errors", in_words(result.outcomes))
    settle(all_paths)


def _words(path: Path, errors: int, in_flight: int) -> str:
    result = path.result
    rate = len(result.probes) / max(result.seconds, 1e-6)
    # how busy the places for probes were: near 1 the prober, or what it probes, could take no more
    busy = sum(probe.seconds for probe in result.probes) / max(result.seconds * in_flight, 1e-6)
    again = sum(probe.retransmits for probe in result.probes)
    traffic = (
        f"traffic {rate:.0f}/s, errors {errors} of {len(result.probes)}, {plural(again, 'retransmission')}"
    )
    saturation = f"saturation {min(busy, 1.0):.0%} of {in_flight} concurrent requests"
    p50, p99 = (percentile(result.latencies, share) for share in (0.5, 0.99))
    if p50 is None or p99 is None:
        return f"{traffic}, {saturation}"
    return f"latency p50 {1000 * p50:.1f}, p99 {1000 * p99:.1f} ms, {traffic}, {saturation}"
