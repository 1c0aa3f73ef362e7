"""Whether nodes know SCTP: a kernel without it is no failure of the Services."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.expect.reach import series_for
from kubereach.expect.settle import measurable, paths
from kubereach.model.address import Address
from kubereach.model.check import SCTP
from kubereach.model.errors import Unsupported
from kubereach.model.outcome import OK, in_words
from kubereach.probe import Vantage
from kubereach.probe.group import run_all


def to_speak_sctp(backends: Sequence[Vantage], port: int) -> None:
    """The vantages, which are backends, serve SCTP on `port`, as they see it themselves. Raises `Unsupported`."""
    all_paths = [
        path for one in backends for path in paths([one], [Address("pod", "sctp", one.address, port)])
    ]
    results = run_all([(path.vantage, series_for(path)) for path in all_paths])
    for path, result in zip(all_paths, results, strict=True):
        path.result = result
        measurable(path)
        if not result.outcomes[OK]:
            raise Unsupported(
                f"{path.vantage.name} cannot connect to itself over SCTP: {in_words(result.outcomes)}",
                "Load the kernel module sctp on its node.",
                feature=SCTP,
            )
