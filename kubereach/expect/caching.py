"""DNS answers out of a cache: what was true when it was given may be kept for its time to live, whatever changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.convergence import ConvergenceDeadline
from kubereach.model.outcome import NODATA, NXDOMAIN, OK
from kubereach.probe import Series, dns_message
from kubereach.probe.dns_message import Reply
from kubereach.probe.group import run_all
from kubereach.probe.path import Path

#: queries that find out whether an answer ages, and seconds between them: times to live are whole seconds, and of
#: several replicas each has answers of its own, which are seen on both sides of a second
_QUERIES, _SPACING = 24, 0.1
#: seconds that an answer may have left which ends before it is seen to age
_ENDING = 2


@dataclass(frozen=True)
class Question:
    """What is asked, and whether a reply to it is as expected; without `name`, it is that of each path's address."""

    rdtype: str
    right: Callable[[Reply], bool]
    name: str = ""


def forgetting(late: Sequence[Path], question: Question) -> list[Path]:
    """Those of `late` that a cache is in the way of; their addresses settle when it must have forgotten its answer.

    A cache, such as that of CoreDNS in many clusters, says with an answer for how long it may still be kept: less with
    each second. It may hold what was true before the change, also that there is no such name, for that long, and no
    longer than a change may take. A server's own answers do not age: those that are wrong are wrong.
    Takes some two seconds where there are such paths, and what is left of the answer's life is not waited for here.
    """
    open_paths = [path for path in late if isinstance(path.address.settled, ConvergenceDeadline)]
    queries = [(path, series) for path in open_paths if (series := _series(path, question)) is not None]
    results = run_all([(path.vantage, series) for path, series in queries])
    now = time.monotonic()
    cached = []
    for (path, _), result in zip(queries, results, strict=True):
        details = [
            probe.answer.detail for probe in result.probes if probe.answer.outcome in (OK, NODATA, NXDOMAIN)
        ]
        left = {
            dns_message.kept(detail)
            for detail in details
            if (found := dns_message.read(detail, question.rdtype)) is not None and not question.right(found)
        }
        if not details or (len(left) == 1 and max(left) > _ENDING):
            continue
        longest = min(max(left, default=-1) + 1, path.vantage.context.settings.converge_deadline)
        settled = path.address.settled
        assert isinstance(settled, ConvergenceDeadline)
        path.address = replace(path.address, settled=settled.until(now + longest))
        cached.append(path)
    return cached


def _series(path: Path, question: Question) -> Series | None:
    """The queries of a path's own server, or of the first one that the vantage's resolver has; None if it has none."""
    host, port, name = path.address.host, path.address.port, question.name
    if path.address.kind == "resolve":
        servers = ResolvConf.parse(path.vantage.read_file("/etc/resolv.conf")).nameservers
        if not servers:
            return None
        host, port, name = servers[0], 53, name or path.address.host
    return Series(
        "dns",
        host,
        port,
        count=_QUERIES,
        in_flight=1,
        spacing=_SPACING,
        timeout=path.vantage.context.settings.dns_timeout,
        wanted=(OK, NODATA, NXDOMAIN),
        more={"message": dns_message.query(name, question.rdtype), "transport": "udp"},
    )
