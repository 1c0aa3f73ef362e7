"""What was seen of a path, in a sentence that gives share and place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kubereach.diagnosis.subject import Subject
from kubereach.model import misses
from kubereach.model.outcome import OK, REFUSED, RESET, TIMEOUT, in_words, ranked
from kubereach.probe.path import Path

if TYPE_CHECKING:
    from kubereach.world.world import World

_VERBS = {TIMEOUT: "timed out", REFUSED: "were refused", RESET: "were reset"}
_MISSES = {
    misses.LOST: "does not answer every probe",
    misses.BACKENDS: "gets answers from pods that are not its endpoints",
    misses.MISSING: "gets no answer from some of its endpoints",
    misses.PORT: "reaches another port than its target port",
    misses.SOURCE: "does not preserve the client source IP",
    misses.SPREAD: "does not follow the Service's session affinity",
    misses.SHARE: "does not balance connections evenly over its endpoints",
    misses.ANSWERED: "answers but must not",
    misses.NO_REFUSAL: "neither answers nor refuses connections",
    misses.FLOW: "breaks or misdirects an open connection or UDP flow",
    misses.RECORDS: "answers with the wrong records",
    misses.STATUS: "answers with the wrong HTTP status",
}


def describe(world: World, path: Path, subject: Subject | None) -> str:
    """``2 of 60 connections from pod@worker2 to clusterip 10.96.3.7:80 (Service a/web) timed out``."""
    address = path.address
    place = f"{address.way} {address.host}:{address.port}" + (f" (Service {subject.name})" if subject else "")
    whole = len(path.result.probes)
    things = "datagrams" if address.kind == "udp" else "connections"
    start = f"of {whole} {things} from {path.vantage.name} to {place}"
    if path.miss == misses.LOST:
        lost = {word: count for word, count in path.result.outcomes.items() if word != OK and count}
        if lost:
            verb = _VERBS.get(next(iter(lost)), "") if len(lost) == 1 else ""
            itself = ", from an endpoint to its own Service (hairpin)" if _is_endpoint(path, subject) else ""
            return f"{sum(lost.values())} {start} {verb or 'were lost: ' + in_words(lost)}{itself}"
        again = sum(probe.retransmits > 0 for probe in path.result.probes)
        if again:
            return f"{again} {start} needed a retransmission"
    if path.miss == misses.BACKENDS and subject is not None:
        others = _other_backends(world, path, subject)
        if others:
            return (
                f"{sum(others.values())} {start} were answered by {_names(others)}, not among its endpoints"
            )
    return f"{place} {_MISSES.get(path.miss, 'fails')}"


def _is_endpoint(path: Path, subject: Subject | None) -> bool:
    """Whether a pod was to reach itself by its own Service (hairpin)."""
    return subject is not None and path.vantage.pod in {endpoint.pod for endpoint in subject.endpoints}


def _other_backends(world: World, path: Path, subject: Subject) -> Counter[str]:
    """Who answered and is no endpoint, with the address: ``web-1 (10.244.1.7)``."""
    own = {endpoint.pod for endpoint in subject.endpoints}
    addresses = {
        pod["metadata"]["name"]: pod.get("status", {}).get("podIP", "")
        for pod in world.watch_cache.all("Pod")
    }
    return Counter(
        {
            f"{pod} ({addresses.get(pod) or 'gone'})": count
            for pod, count in path.result.backends.items()
            if pod not in own
        }
    )


def _names(counts: Counter[str]) -> str:
    return " and ".join(name for name, _ in ranked(counts)[:2])
