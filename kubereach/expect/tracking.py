"""How much of the nodes' connection tracking is used.

Source: https://www.kernel.org/doc/html/latest/networking/nf_conntrack-sysctl.html
"""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.expect.notes import add_note
from kubereach.model.errors import CannotMeasure, Failure, NotConforming, Unsupported
from kubereach.model.finding import NODE
from kubereach.model.tally import judged
from kubereach.probe import Vantage

_FOLDER = "/proc/sys/net/netfilter/nf_conntrack_"


def to_have_room_for_connections(vantages: Sequence[Vantage]) -> None:
    """No more than ``settings.conntrack_share`` of the tracked connections that a node may have are in use.

    Raises `Unsupported` where no node shows how many there are.
    """
    share = vantages[0].context.settings.conntrack_share
    failures, unknown = [], []
    for vantage in vantages:
        try:
            count, limit = (int(vantage.read_file(_FOLDER + name)) for name in ("count", "max"))
        except CannotMeasure as error:
            unknown.append(error.message)
            continue
        judged()
        add_note(
            vantage, f"{vantage.name}: {count} of {limit} tracked connections, {count / max(1, limit):.1%}"
        )
        if count > share * limit:
            where = "connection tracking"
            failures.append(
                Failure(
                    vantage.name,
                    where,
                    f"at most {share:.0%} of {limit} used",
                    f"{count} connections",
                    layer=NODE,
                )
            )
    if failures:
        raise NotConforming(failures)
    if unknown:
        raise Unsupported(f"cannot read the conntrack table: {unknown[0]}")
