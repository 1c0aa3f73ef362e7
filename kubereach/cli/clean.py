"""`kubereach clean`: what runs have left in a cluster, and its removal. What kubereach has not made is not touched."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubereach.kube.client import Api, Object
from kubereach.kube.watch_cache import WatchCache
from kubereach.model.errors import CannotMeasure, UsageError
from kubereach.run.options import namespaces_of
from kubereach.targets.existing import ExistingTarget
from kubereach.world.cleanup import remove_run, runs_of
from kubereach.world.deletion import delete_all, not_removed, stuck
from kubereach.world.heartbeat import LOOK, NAMESPACES, dead, is_kept, silence
from kubereach.world.manifests import MANAGED_BY

#: seconds that namespaces may take to go
_PATIENCE = 120.0
DEAD, KEPT, ALIVE, DELETING = "left by a dead run", "kept on purpose", "in use", "being deleted"


def _states(
    found: Mapping[str, Object],
    api: Api,
    again: Callable[[], Mapping[str, Object]],
    say: Callable[[str], None],
) -> dict[str, str]:
    """What became of the runs that made these objects, by the objects' keys."""
    deleting = {key for key, obj in found.items() if obj["metadata"].get("deletionTimestamp")}
    others = {key: obj for key, obj in found.items() if key not in deleting}
    now = api.server_time
    if unknown := [key for key, obj in others.items() if not is_kept(obj) and silence(obj, now) is None]:
        say(f"watching for {LOOK:.0f} s whether a live run renews {', '.join(sorted(unknown))}")
    died = dead(others, now, again)
    states = {}
    for key, obj in sorted(found.items()):
        alive = KEPT if is_kept(obj) else ALIVE
        states[key] = DELETING if key in deleting else DEAD if key in died else alive
    return states


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Deletes the namespaces of dead runs, as the next run would. kubereach creates all "
        "objects in its own namespaces, which have the label app.kubernetes.io/managed-by: "
        "kubereach."
    )
    parser.add_argument(
        "--target",
        choices=("existing", "kind"),
        default="existing",
        help="kind: delete the kind clusters that dead runs created on this container engine",
    )
    parser.add_argument("--context", metavar="NAME", help="kubeconfig context to use")
    parser.add_argument("--kubeconfig", metavar="FILE", type=Path, help="kubeconfig to use")
    parser.add_argument(
        "--namespace",
        metavar="NAME[,..]",
        action="append",
        default=[],
        help="delete the objects of dead runs in these namespaces, and nothing else in them",
    )
    parser.add_argument("--kept", action="store_true", help="also delete what runs with --keep left")
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be deleted and delete nothing"
    )


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
    from kubereach.targets.kind import leftovers as kind_leftovers  # for kind alone

    for option in ("context", "kubeconfig", "namespace", "kept"):
        if getattr(arguments, option):
            raise UsageError(
                f"--target kind does not take --{option}",
                "To delete a kept kind cluster: `kind delete cluster --name NAME`.",
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
    """See `main`; a living run is left alone. Raises `CannotMeasure` when some are not gone in time."""
    selector = f"{MANAGED_BY}=kubereach"

    def there() -> dict[str, Object]:
        found = api.items(NAMESPACES, labelSelector=selector)
        return {one["metadata"]["name"]: {"apiVersion": "v1", "kind": "Namespace", **one} for one in found}

    found = there()
    states = _states(found, api, there, say)
    wanted = [name for name, state in states.items() if state == DEAD or (kept and state == KEPT)]
    for name, state in states.items():
        say(f"{name}: {state}" + (", will be deleted" if name in wanted else ""))
    if not states:
        say("nothing to clean up")
    if dry:
        return 0
    refused = delete_all(api, [found[name] for name in wanted])
    deleting = {*wanted, *(name for name, state in states.items() if state == DELETING)}
    deleting -= {failure.partition(" (")[0].partition(" ")[2] for failure in refused}
    if deleting:
        refused += _await(api, selector, deleting, patience)
    if refused:
        raise not_removed(refused, patience)
    if deleting:
        say(f"deleted: {', '.join(sorted(deleting))}")
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
    found = runs_of(api, namespaces)
    by_run: dict[str, set[str]] = {}
    for key, state in _states(found, api, lambda: runs_of(api, namespaces), say).items():
        by_run.setdefault(key.partition("/")[2], set()).add(state)
    wanted = []
    for run, states in sorted(by_run.items()):
        # one that lives, or was kept, in one of its namespaces does so in all
        state = next(one for one in (ALIVE, KEPT, DEAD, DELETING) if one in states)
        if state == DEAD or (kept and state == KEPT):
            wanted.append(run)
        say(f"run {run}: {state}" + (", will be deleted" if run in wanted else ""))
    if not by_run:
        say("nothing to clean up")
    for run in () if dry else wanted:
        if left := remove_run(api, namespaces, run, patience):
            raise not_removed(left, patience)
        say(f"deleted: run {run}")
    return 0


def _await(api: Api, selector: str, names: set[str], patience: float) -> list[str]:
    """Wait until these namespaces are gone; gives those that are not, with the reasons."""
    watch_cache = WatchCache(api, selector)
    watch_cache.follow(NAMESPACES)

    def left() -> list[Object]:
        return [one for one in watch_cache.all("Namespace") if one["metadata"]["name"] in names]

    watch_cache.wait(lambda: not left(), patience)
    watch_cache.stop()
    return [stuck(one) for one in left()]
