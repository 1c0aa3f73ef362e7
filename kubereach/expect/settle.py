"""What an expectation saw: events for the reports, failures for the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

from kubereach.expect.overload import not_measured, overloaded
from kubereach.expect.pairs import SAMPLE, pairs
from kubereach.expect.where import ByNode, Where, addresses_of
from kubereach.model.check import SCTP
from kubereach.model.errors import CannotMeasure, Failure, KubereachError, NotConforming, Unsupported
from kubereach.model.events import Note, Probed
from kubereach.model.finding import DNS, Finding
from kubereach.model.misses import ANSWERED, BACKENDS, FLOW, LOST, MISSING, PORT, RECORDS
from kubereach.model.outcome import LOCAL
from kubereach.model.tally import Tally, current_tally, judged, must_go_on
from kubereach.probe import Vantage
from kubereach.probe.path import Path

#: id of the check that is running; set by the plugin before each test
current_check: ContextVar[str] = ContextVar("current_check", default="")
#: whether that check only informs: what it misses says nothing about whether anything is broken
informing: ContextVar[bool] = ContextVar("informing", default=False)

#: where somebody wants to see what settles, besides the events
watched: ContextVar[list[Probed] | None] = ContextVar("watched", default=None)
#: how kernels say that they do not know a protocol
_NO_PROTOCOL = ("protocol not supported", "socket type not supported")


@contextmanager
def checking(check: str, informs: bool, tally: Tally) -> Iterator[None]:
    """What is expected within the block is expected by the check of that id, and counted in `tally`."""
    with ExitStack() as stack:
        stack.callback(current_check.reset, current_check.set(check))
        stack.callback(informing.reset, informing.set(informs))
        stack.callback(current_tally.reset, current_tally.set(tally))
        yield


#: paths of one expectation that are examined when they fail, and how many at least before one is put down to another
_EXAMINED, _ALIKE = 6, 2
#: misses of which each path has to be examined itself: who loses probes, and where, is not the same for all
_EACH_ITS_OWN = frozenset({LOST, MISSING, BACKENDS, PORT, FLOW})

#: misses that are an answer, and no silence
_PROVED_BY_ANSWER = frozenset({ANSWERED, RECORDS})
_Result = TypeVar("_Result")


def paths(vantages: Sequence[Vantage], where: Where | ByNode, sample: int = SAMPLE) -> list[Path]:
    """Every vantage with every address, or with those of its own and `sample` other nodes if they are given by node.

    Without any it is a mistake of the check: nothing would be measured.
    """
    must_go_on()
    if isinstance(where, Mapping):
        if not (found := pairs(vantages, where, most=sample)):
            raise CannotMeasure("an expectation without a pair of nodes measures nothing")
        return found
    addresses = addresses_of(where)
    if not vantages or not addresses:
        raise CannotMeasure("an expectation without a vantage or without an address measures nothing")
    return [Path(vantage, address) for vantage in vantages for address in addresses]


def patience(path: Path, timeout: float) -> float:
    """A probe's time-out, halved where something is broken already: the run is to end in time.

    A path that works answers within either; one that lost a packet (TCP sends again after 1 s) has failed with both.
    """
    return timeout / 2 if path.vantage.name in path.vantage.context.troubled else timeout


def measurable(path: Path) -> None:
    """Raise `CannotMeasure` when nothing was probed, or a probe failed on the vantage's own machine."""
    if path.result.error is not None:
        raise path.result.error
    if not path.result.probes:
        raise CannotMeasure(
            f"{path.vantage.name} sent no probe to {path.address}",
            "Its prober was not scheduled: check the load of its node.",
        )
    for probe in path.result.probes:
        if probe.answer.outcome == LOCAL:
            if path.address.kind == "sctp" and probe.answer.detail.lower().endswith(_NO_PROTOCOL):
                raise Unsupported(
                    f"the kernel of {path.vantage.name} lacks SCTP: {probe.answer.detail}",
                    "Load the kernel module sctp on every node.",
                    feature=SCTP,
                )
            raise CannotMeasure(
                f"{path.vantage.name} could not probe {path.address}: {probe.answer.detail}",
                "The node of the vantage has run out of ports, file descriptors or memory.",
            )


def was_measured(path: Path) -> bool:
    """Whether a path is `measurable`; if not, why is kept for `settle`, so that it hides no failure of another."""
    try:
        measurable(path)
    except KubereachError as error:
        path.unmeasured = path.unmeasured or error
    return path.unmeasured is None


def control_after(all_paths: Sequence[Path], control: Callable[[], _Result]) -> _Result:
    """What `control` gives, made just after a negative. Raises what it raises, `CannotMeasure` for one that fails.

    A control that fails makes silence mean nothing. An answer where there must be none means what it means without one:
    then the paths that were answered are settled.
    """
    try:
        return control()
    except CannotMeasure as error:
        answered = [path for path in all_paths if path.miss in _PROVED_BY_ANSWER]
        if answered:
            _note_unmeasured(answered[0], error)
            settle(answered)
        raise


def _note_unmeasured(path: Path, error: KubereachError) -> None:
    """Put into the report what could not be measured beside something that failed."""
    path.vantage.context.bus.emit(Note(current_check.get(), f"also not measured: {error.message}"))


def settle(all_paths: Sequence[Path]) -> None:
    """Emit one `Probed` for each path and count its probes as judged, then raise what there is to raise.

    That is `NotConforming` with all failures there are: what is proved at one path is a failure, whatever could not be
    measured at another, which is told. Without any it is `CannotMeasure` where an overloaded machine explains a failure
    or a path has fewer probes than it takes, or what kept a path from being measured.
    """
    late = [(path, why) for path in all_paths if path.failures and (why := overloaded(path))]
    all_paths = [path for path in all_paths if all(path is not other for other, _ in late)]
    _examine(all_paths)
    failures: list[Failure] = []
    short: list[Path] = []
    watching = watched.get()
    for path in all_paths:
        result, lateness = path.result, path.vantage.context.lateness
        judged(len(result.probes), path.least)
        if not path.failures and not path.unmeasured and len(result.probes) < path.least:
            short.append(path)
        probed = Probed(
            check=current_check.get(),
            vantage=path.vantage.name,
            vantage_kind=path.vantage.kind,
            node=path.vantage.node,
            way=path.address.way,
            address=str(path.address),
            conforming=not path.failures and path not in short and path.unmeasured is None,
            outcomes=dict(result.outcomes),
            latencies=result.latencies,
            converged=path.converged,
            change=path.change,
            attempts=path.attempts,
            probe=_probe(path),
            answered=result.answered,
            late=lateness.since(path.vantage.name, path.began).longest,
            latest=lateness.worst_since(path.began)[1].longest,
        )
        path.vantage.context.bus.emit(probed)
        if watching is not None:
            watching.append(probed)
        if path.failures:
            failures += path.failures
            if not informing.get():
                path.vantage.context.troubled.setdefault(path.vantage.name, time.monotonic())
    lacking: list[tuple[Path, KubereachError]] = [(path, not_measured(path, why)) for path, why in late]
    lacking += [(path, path.unmeasured) for path in all_paths if path.unmeasured]
    lacking += [(path, _too_few(path)) for path in short]
    for path, error in lacking:
        if not failures:
            raise error
        _note_unmeasured(path, error)
    if failures:
        raise NotConforming(failures)


def _probe(path: Path) -> str:
    """What was asked, for who compares how long it took; what waits for itself (a burst) compares with nothing."""
    series = path.series
    if series is None:
        return path.address.kind
    if series.burst:
        return "burst"
    size = series.more.get("size")
    return f"{series.kind} of {size} bytes" if size else series.kind


def _too_few(path: Path) -> KubereachError:
    return CannotMeasure(
        f"{path.vantage.name} sent {len(path.result.probes)} of at least {path.least} probes to "
        f"{path.address}",
        "Its prober was rarely scheduled: check the load of its node.",
    )


def _examine(all_paths: Sequence[Path]) -> None:
    """Say of each failure which layer is broken. What fails from one vantage in one way has one cause.

    A diagnosis that fails costs only itself: the failures stand, and say why they have no cause.
    """
    found: dict[tuple[str, str, str], Finding | None] = {}
    for path in all_paths:
        examine = path.vantage.context.examine
        if not path.failures or examine is None:
            continue
        key = (path.vantage.name, path.address.way, path.miss)
        if key not in found:
            try:
                most = _EXAMINED if path.miss in _EACH_ITS_OWN else _ALIKE
                found[key] = examine(path) if len(found) < most else _same_on_own_node(found, key)
            except Exception as error:
                found[key] = None
                why = str(error).partition("\n")[0] if isinstance(error, KubereachError) else repr(error)
                line = f"diagnosis failed: {why}"
                path.failures = [replace(f, evidence=(*f.evidence, line)) for f in path.failures]
        finding = found[key]
        path.failures = [replace(failure, finding=finding) for failure in path.failures]


def _same_on_own_node(
    found: dict[tuple[str, str, str], Finding | None], key: tuple[str, str, str]
) -> Finding | None:
    """What was found of another vantage that missed the same, if the place is that vantage's own node."""
    name, *missed = key
    for (other, *same), finding in found.items():
        # a DNS replica that is on the node of who asked it is there for all others too
        if finding and same == missed and finding.layer != DNS and finding.nodes == (_node(other),):
            return replace(finding, nodes=(_node(name),))
    return None


def _node(vantage: str) -> str:
    return vantage.rpartition("@")[2]


def names(words: Sequence[str] | frozenset[str], most: int = 6) -> str:
    """``a, b and 3 more``; ``none``."""
    ordered = sorted(words)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more if ordered else "none"
