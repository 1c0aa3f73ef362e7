"""The cluster's DNS as pods have it: what the run took it for before it had any pods is corrected."""

from __future__ import annotations

from collections.abc import Iterable

from kubereach.kube.client import ApiError
from kubereach.kube.cluster import Cluster
from kubereach.kube.cluster_dns import Resolving, as_pods_have_it
from kubereach.model.errors import CannotMeasure
from kubereach.model.outcome import OK
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_all
from kubereach.world.connection import Connection


def corrected(connection: Connection, pods: Iterable[Vantage]) -> Cluster | None:
    """The cluster with the domain and the DNS Service of pods' resolv.conf; None if it had them already.

    Raises `CannotMeasure` if the API server does not tell of that Service.
    """
    before = connection.cluster
    wanted = [(vantage, Series("file", more={"path": "/etc/resolv.conf"})) for vantage in pods]
    answers = [result.probes[0].answer for result in run_all(wanted)]
    files = [
        (vantage.namespace, answer.detail)
        for (vantage, _), answer in zip(wanted, answers, strict=True)
        if answer.outcome == OK
    ]
    idea = Resolving(before.domain, before.dns, before.domain_source)
    try:
        found = as_pods_have_it(connection.api, connection.context.settings, idea, files)
    except ApiError as error:
        raise CannotMeasure(f"cannot read the cluster's DNS Service: {error}") from error
    if (found.domain, found.dns, found.notes) == (before.domain, before.dns, ()):
        return None
    return before.resolving(found)
