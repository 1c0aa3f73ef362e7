"""`kubereach clean`: what runs have left in a cluster, and its removal. What kubereach has not made is not touched."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubereach.api import Api, Object
from kubereach.errors import CannotMeasure, UsageError
from kubereach.options import namespaces_of
from kubereach.targets.existing import ExistingTarget
from kubereach.world.board import Board
from kubereach.world.leftovers import NAMESPACES, is_dead, is_kept
from kubereach.world.manifests import MANAGED_BY
from kubereach.world.removal import remove_run, runs_in

#: seconds that namespaces may take to go
_PATIENCE = 120.0
DEAD, KEPT, ALIVE, GOING = "left by a run that has died", "kept on purpose", "of a run that goes on", "going"


@dataclass(frozen=True)
class Leftover:
    """A namespace of a run; `state` says what became of that run."""

    name: str
    state: str


def leftovers(namespaces: Sequence[Object], now: float) -> list[Leftover]:
    """What is ours among namespaces, by name; `now` is seconds since the epoch."""
    found = []
    for namespace in namespaces:
        meta = namespace["metadata"]
        labels = meta.get("labels") or {}
        if labels.get(MANAGED_BY) != "kubereach":
            continue
        state = GOING if meta.get("deletionTimestamp") else _state(namespace, now)
        found.append(Leftover(meta["name"], state))
    return sorted(found, key=lambda one: one.name)


def _state(obj: Object, now: float) -> str:
    """What became of the run that made the object."""
    if is_kept(obj):
        return KEPT
    return DEAD if is_dead(obj, now) else ALIVE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Removes the namespaces of runs that have died, as the next run would. Everything that kubereach makes is in "
        "namespaces of its own, with the label app.kubernetes.io/managed-by: kubereach."
    )
    parser.add_argument(
        "--target",
        choices=("existing", "kind"),
        default="existing",
        help="kind: delete the kind clusters themselves that runs which have died made on this container engine",
    )
    parser.add_argument("--context", metavar="NAME", help="the context of the kubeconfig")
    parser.add_argument("--kubeconfig", metavar="FILE", type=Path, help="the kubeconfig to use")
    parser.add_argument(
        "--namespace",
        metavar="NAME[,..]",
        action="append",
        default=[],
        help="remove what is left in namespaces that were given to runs, and nothing else in them",
    )
    parser.add_argument("--kept", action="store_true", help="remove what runs with --keep have left too")
    parser.add_argument("--dry-run", action="store_true", help="say what is there and remove nothing")


def main(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Remove leftovers and wait until they are gone; gives the exit code. Raises `CannotMeasure`, `UsageError`."""
    if arguments.target == "kind":
        return _clean_kind(arguments, say)
    target = ExistingTarget(arguments.kubeconfig, arguments.context)
    api = Api(target.open())
    given = namespaces_of(tuple(arguments.namespace))
    try:
        if given:
            return clean_given(api, say, given, kept=arguments.kept, dry=arguments.dry_run)
        return clean(api, say, kept=arguments.kept, dry=arguments.dry_run)
    finally:
        api.close()
        target.close()


def _clean_kind(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Delete kind clusters that dead runs left; those that were to be kept are nobody's leftovers."""
    from kubereach.targets.kind import leftovers as kind_leftovers

    for option in ("context", "kubeconfig", "namespace", "kept"):
        if getattr(arguments, option):
            raise UsageError(
                f"--{option} is for a cluster that exists, not for --target kind",
                "A kind cluster that was kept is deleted by `kind delete cluster --name NAME`.",
            )
    return 0 if kind_leftovers.clean(os.environ, say, dry=arguments.dry_run) else CannotMeasure.exit_code


def clean(
    api: Api,
    say: Callable[[str], None],
    *,
    kept: bool = False,
    dry: bool = False,
    patience: float = _PATIENCE,
) -> int:
    """See `main`; a run that goes on is left alone. Raises `CannotMeasure` when some are not gone in time."""
    selector = f"{MANAGED_BY}=kubereach"
    found = leftovers(api.items(NAMESPACES, labelSelector=selector), time.time())
    wanted = [one for one in found if one.state == DEAD or (kept and one.state == KEPT)]
    for one in found:
        say(f"{one.name}: {one.state}" + (", to be removed" if one in wanted else ""))
    if not found:
        say("nothing is left of any run")
    if dry:
        return 0
    for one in wanted:
        api.delete(f"{NAMESPACES}/{one.name}")
    going = {one.name for one in (*wanted, *(one for one in found if one.state == GOING))}
    if going:
        _await(api, selector, going, patience)
        say(f"gone: {', '.join(sorted(going))}")
    return 0


def clean_given(
    api: Api,
    say: Callable[[str], None],
    namespaces: Sequence[str],
    *,
    kept: bool = False,
    dry: bool = False,
    patience: float = _PATIENCE,
) -> int:
    """The same in namespaces that are not ours: what carries a dead run's label goes. Raises as `clean`."""
    found = {run: obj for namespace in namespaces for run, obj in runs_in(api, namespace).items()}
    wanted = []
    for run, obj in sorted(found.items()):
        state = _state(obj, time.time())
        if state == DEAD or (kept and state == KEPT):
            wanted.append(run)
        say(f"run {run}: {state}" + (", to be removed" if run in wanted else ""))
    if not found:
        say("nothing is left of any run")
    for run in () if dry else wanted:
        if left := remove_run(api, namespaces, run, patience):
            raise CannotMeasure(
                f"still there after {patience:.0f} s: {', '.join(left)}", "See `kubectl describe` of them."
            )
        say(f"gone: run {run}")
    return 0


def _await(api: Api, selector: str, names: set[str], patience: float) -> None:
    board = Board(api, selector)
    board.follow(NAMESPACES)

    def left() -> list[str]:
        return sorted(names & {namespace["metadata"]["name"] for namespace in board.all("Namespace")})

    gone = board.wait(lambda: not left(), patience)
    board.stop()
    if not gone:
        raise CannotMeasure(
            f"still there after {patience:.0f} s: {', '.join(left())}",
            "See `kubectl describe namespace`: its conditions say what keeps it.",
        )
