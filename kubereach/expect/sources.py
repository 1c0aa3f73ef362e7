"""Expectations that report what they see: as whom backends see their clients, and where vantages agree."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.expect.converge import converge
from kubereach.expect.notes import add_note
from kubereach.expect.reach import CONVERGED, series_for
from kubereach.expect.settle import names, paths, settle, was_measured
from kubereach.expect.where import Where, addresses_of
from kubereach.model.outcome import ANSWERED, OK, any_of, in_words
from kubereach.probe import Vantage
from kubereach.probe.group import run_all, run_each
from kubereach.probe.path import Path


def to_report_source(vantages: Sequence[Vantage], where: Where) -> None:
    """Every connection is answered; the report has the addresses that the backends saw the vantages as."""
    all_paths = paths(vantages, where)
    converge(
        all_paths,
        lambda path: series_for(path, CONVERGED),
        lambda _, result: result.outcomes[OK] == len(result.probes),
        patient=False,
    )
    for path in all_paths:
        path.least = CONVERGED
        if not was_measured(path):
            continue
        if path.result.outcomes[OK] != len(path.result.probes):
            path.fail(f"{CONVERGED} answers in a row", in_words(path.result.outcomes))
            continue
        clients = frozenset(probe.answer.client for probe in path.result.probes)
        add_note(path.vantage, f"backends of {path.address} see {path.vantage.name} as {names(clients)}")
    settle(all_paths)


def to_agree(vantages: Sequence[Vantage], where: Where) -> None:
    """All vantages are answered there, or none is; the report says which."""
    all_paths = paths(vantages, where)
    for path, result in zip(
        all_paths, run_each([(path.vantage, series_for(path, CONVERGED)) for path in all_paths]), strict=True
    ):
        path.result = result
        was_measured(path)
    by_place: dict[str, list[Path]] = {}
    for path in [path for path in all_paths if not path.unmeasured]:
        by_place.setdefault(f"{path.address.way} {path.address.host}", []).append(path)
    for place, found in by_place.items():
        answered = [path for path in found if path.result.outcomes.keys() & ANSWERED]
        silent = [path for path in found if path not in answered]
        if answered and silent:
            others = names([path.vantage.name for path in answered])
            silent[0].fail(
                "the same as at other vantages",
                in_words(silent[0].result.outcomes),
                f"answers at {others}",
            )
        else:
            words = "answers" if answered else any_of(frozenset(found[0].result.outcomes))
            add_note(vantages[0], f"{place}: {words} at each of {len(found)} vantages")
    settle(all_paths)


def to_report(vantages: Sequence[Vantage], where: Where) -> None:
    """Nothing is demanded: the report says whether the vantages are answered there."""
    for address in addresses_of(where):
        all_paths = paths(vantages, [address])
        results = run_all([(path.vantage, series_for(path)) for path in all_paths])
        words = {
            path.vantage.name: in_words(result.outcomes)
            for path, result in zip(all_paths, results, strict=True)
        }
        same = len(set(words.values())) == 1
        text = next(iter(words.values())) if same else ", ".join(f"{w} from {v}" for v, w in words.items())
        add_note(vantages[0], f"{address}: {text}")
