"""kind clusters that dead runs have left, and their deletion. None is touched that is not known to be such a one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from kubereach.model.errors import CannotMeasure
from kubereach.targets.kind import notes
from kubereach.targets.kind.commands import TICK, run
from kubereach.targets.kind.engine import Engine
from kubereach.targets.kind.failures import error_of
from kubereach.targets.kind.notes import HeldNote

#: seconds that `kind delete cluster` may take
_PATIENCE = 120.0
#: seconds after kind's word that it prepares nodes within which it has made all of their containers
_PREPARED = 60.0
#: seconds by which clocks may be apart, and that a container may take to be made
_SLACK = 2.0
DEAD, ALIVE, OTHER, GONE, ELSEWHERE = (
    "left by a dead run",
    "in use",
    "same name as the cluster of a dead run, but another cluster: not deleted",
    "left by a dead run, already deleted",
    "left by a dead run on another container engine",
)


def clean(environment: Mapping[str, str], say: Callable[[str], None], *, dry: bool = False) -> bool:
    """`sweep` by itself: says of all clusters that runs have made and not deleted what becomes of them."""
    where = notes.folder(environment)
    in_use = notes.alive(where)
    for note in in_use:
        say(f"{note.cluster}: {ALIVE} (process {note.pid})")
    left = list(notes.dead(where))
    for held in left:
        held.release()
    if not left:
        if not in_use:
            say("nothing to clean up")
        return True
    engine = Engine(environment)
    engine.check()
    return sweep(engine, environment, say, dry=dry)


def sweep(
    engine: Engine, environment: Mapping[str, str], say: Callable[[str], None], *, dry: bool = False
) -> bool:
    """Delete what dead runs have left on this engine, and say so; `dry` says it only.

    False if some could not be deleted, which is said with kind's reason. Whoever deletes by hand, or makes a cluster of
    that name again, is heeded: only the very containers that the run has made count.
    """
    all_went = True
    for held in notes.dead(notes.folder(environment)):
        note, state = held.note, _state(held, engine)
        if dry or state == ELSEWHERE:
            say(f"{note.cluster}: {state}")
            held.release()
        elif state == DEAD:
            say(f"{note.cluster}: {state} (process {note.pid}), will be deleted")
            all_went = _delete(held, environment, say) and all_went
        elif state == GONE:
            say(f"{note.cluster}: {state}")
            _forget(held)
        else:
            say(f"{note.cluster}: {state}")
            held.remove()
    return all_went


def _state(held: HeldNote, engine: Engine) -> str:
    note = held.note
    if note.engine != engine.identity:
        return ELSEWHERE
    there = engine.kind_nodes(note.cluster)
    if not there:
        return GONE
    if note.nodes:
        return DEAD if {one for one, _ in there} <= set(note.nodes) else OTHER
    # Killed before it could look what kind had made, maybe before it had heard that kind makes them; kind went with it.
    begin = (note.begun or note.requested_at) - _SLACK
    end = note.begun + _PREPARED if note.begun else held.last_touched + TICK + _SLACK
    return DEAD if all(begin <= _seconds(created) <= end for _, created in there) else OTHER


def _seconds(created: str) -> float:
    """An engine's time of a container's creation, in seconds since the epoch; -1 if it cannot be read."""
    found = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.\d+)?(Z|[+-]\d+:\d+)$", created)
    return datetime.fromisoformat(found[1] + found[2].replace("Z", "+00:00")).timestamp() if found else -1.0


def _delete(held: HeldNote, environment: Mapping[str, str], say: Callable[[str], None]) -> bool:
    note = held.note
    found = note.kind if Path(note.kind).exists() else shutil.which("kind", path=environment.get("PATH"))
    by_hand = f"`kind delete cluster --name {note.cluster}`"
    try:
        if not found:
            raise CannotMeasure(f"{note.kind} no longer exists")
        words = ["delete", "cluster", f"--name={note.cluster}", f"--kubeconfig={note.kubeconfig}"]
        done = run([found, *words], _PATIENCE)
        if not done.ok:
            raise error_of(done, by_hand)
    except CannotMeasure as error:
        say(f"cannot delete {note.cluster}: {error.message}; run {by_hand}")
        held.release()
        return False
    _forget(held)
    return True


def _forget(held: HeldNote) -> None:
    """Remove the note, and what went with the cluster: its keys open nothing any more."""
    for file in held.note.files:
        Path(file).unlink(missing_ok=True)
    held.remove()
