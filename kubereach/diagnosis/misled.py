"""Clients that a DNS replica leads astray: what they go to is no fault of what they find there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kubereach.diagnosis.bench import Bench
from kubereach.diagnosis.dns import addresses, question
from kubereach.diagnosis.replicas import REPLIES, TRIES, about, correct_answers, named
from kubereach.diagnosis.subject import Subject, subject_named
from kubereach.model.finding import DNS, Finding
from kubereach.model.ip import is_address
from kubereach.probe import Series
from kubereach.probe.path import Path
from kubereach.probe.vantage import OUTSIDE

if TYPE_CHECKING:
    from kubereach.world.world import World


def misled(
    world: World, bench: Bench, path: Path, subject: Subject | None, short: dict[str, str]
) -> Finding | None:
    """Of a path by a name that leads to an address: DNS replicas that give another address than the API has; else None.

    A replica that has lost its watch goes on giving what was true before. Whoever asks it goes astray, and neither the
    service proxy nor the network has done anything wrong.
    """
    host = path.address.host
    if (
        is_address(host)
        or path.vantage.kind == OUTSIDE
        or not (world.cluster.dns and world.cluster.dns.replicas)
    ):
        return None
    subject = subject_named(world, host, path.address.family) or subject
    exactly = _addresses_at(subject, host, "AAAA" if path.address.family == 6 else "A")
    if not exactly:
        return None
    message, right = question(world, replace(path, wanted=exactly, series=None, judged=None), subject)
    replicas = world.cluster.dns.replicas
    timeout = path.vantage.context.settings.dns_timeout / 2
    series = Series(
        "dns", count=TRIES, timeout=timeout, wanted=tuple(REPLIES), stop_after=3, more={"message": message}
    )
    results = bench.run([(path.vantage, replace(series, host=r.address, port=r.port)) for r in replicas])
    wrong = [
        replica
        for replica, one in zip(replicas, results, strict=True)
        if any(p.answer.outcome in REPLIES and not right(p.answer) for p in one.probes)
    ]
    # who is ready is seen a moment later here and there; which address a Service has is not
    certain = subject is not None and subject.service["spec"].get("clusterIP") != "None"
    if not wrong or (len(wrong) == len(replicas) and not certain):
        return None
    name, nodes = named(wrong, replicas, short)
    lines = [
        f"replica {r.pod} ({r.address}): {correct_answers(one, right)}"
        for r, one in zip(replicas, results, strict=True)
    ]
    what = f"its answers for {host} differ from the API objects, so that clients connect to wrong addresses"
    see = (
        *(f"dig @{r.address} -p {r.port} {host}" for r in wrong[:2]),
        about(world, "logs --tail=50 --prefix"),
    )
    return Finding(DNS, name, what, nodes, tuple(lines), see)


def _addresses_at(subject: Subject | None, host: str, rdtype: str) -> frozenset[str] | None:
    """What the API says that a name stands for: a Service, or a pod of a headless one; None if that is not known."""
    every = addresses(subject, rdtype)
    labels = host.rstrip(".").split(".")
    if subject is None or every is None or "svc" not in labels[3:]:
        return every
    of_pod = frozenset(endpoint.address for endpoint in subject.endpoints if endpoint.pod == labels[0])
    return (of_pod & every) or None
