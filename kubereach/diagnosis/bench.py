"""The probes that a diagnosis makes, each of them once for all the failures that come soon after one another."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import LOCAL, OK, SeriesResult, probes_in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_all

#: seconds for which a result is taken again
_FRESH = 25.0


class Bench:
    """Runs series and remembers what came of them for a while; may be used by several threads."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str], tuple[float, SeriesResult]] = {}
        self._lock = threading.Lock()

    def run(self, wanted: Sequence[tuple[Vantage, Series]], *, fresh: bool = False) -> list[SeriesResult]:
        """The results in order; all that are not known yet are made at the same time. Raises `CannotMeasure`.

        `fresh`: what is known is not enough, all are made.
        """
        now = time.monotonic()
        keys = [(vantage.name, _key(series)) for vantage, series in wanted]
        with self._lock:
            known = {
                key: recent[1]
                for key in keys
                if not fresh and (recent := self._recent.get(key)) and now - recent[0] < _FRESH
            }
        missing = {key: pair for key, pair in zip(keys, wanted, strict=True) if key not in known}
        known.update(zip(missing, run_all(list(missing.values())), strict=True))
        with self._lock:
            self._recent.update({key: (now, known[key]) for key in missing})
        for (vantage, _), key in zip(wanted, keys, strict=True):
            if known[key].outcomes[LOCAL]:
                raise CannotMeasure(f"{vantage.name} could not probe")
        return [known[key] for key in keys]


def _key(series: Series) -> str:
    request = series.request(0)
    return json.dumps({k: request[k] for k in request if k not in ("delay", "nonce")}, default=str)


def sound(result: SeriesResult) -> bool:
    """Every probe was answered, and no packet of theirs was sent again."""
    return all(probe.answer.outcome == OK and not probe.retransmits for probe in result.probes)


def counted(results: Sequence[SeriesResult]) -> str:
    """``405 of 405 probes answered``, or what became of them."""
    probes = tuple(probe for result in results for probe in result.probes)
    again = sum(probe.retransmits > 0 for probe in probes)
    outcomes = SeriesResult(probes, 0.0).outcomes
    suffix = f", {again} only after a retransmission" if again and outcomes[OK] == len(probes) else ""
    return probes_in_words(outcomes) + suffix
