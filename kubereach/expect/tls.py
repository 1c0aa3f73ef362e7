"""Expectations about TLS servers."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.expect.dns_hold import hold
from kubereach.expect.reach import STOP_AFTER
from kubereach.expect.settle import paths, settle
from kubereach.expect.where import Where
from kubereach.model.outcome import OK, in_words
from kubereach.probe import Series, Vantage
from kubereach.probe.path import Path

#: handshakes in a row: each costs both sides milliseconds, and the path itself is held by other checks
HANDSHAKES = 5


def to_trust(vantages: Sequence[Vantage], where: Where, *, ca: str, within: float | None = None) -> None:
    """A TLS server has a certificate for the name or address that it is called by, signed by `ca` (PEM)."""
    all_paths = paths(vantages, where)

    def series(path: Path, count: int) -> Series:
        # a handshake on a busy machine takes several times as long as a plain connection
        timeout = 2 * path.vantage.context.settings.connect_timeout
        more = {"ca": ca, "server_name": path.address.server_name or path.address.host}
        return Series(
            "tls",
            path.address.host,
            path.address.port,
            count=count,
            in_flight=2,
            timeout=timeout,
            stop_after=STOP_AFTER,
            more=more,
        )

    hold(all_paths, series, lambda _, answer: answer.outcome == OK, HANDSHAKES, within)
    for path in all_paths:
        wrong = [p.answer for p in path.result.probes if p.answer.outcome != OK]
        if wrong:
            name = path.address.server_name or path.address.host
            expected = f"a certificate for {name}, signed by the cluster's certificate authority"
            path.fail(
                expected, in_words(path.result.outcomes), *([wrong[0].detail] if wrong[0].detail else [])
            )
    settle(all_paths)
