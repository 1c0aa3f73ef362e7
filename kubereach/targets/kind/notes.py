"""Which kind clusters runs are making or have made and not deleted yet, noted where later runs find it.

A note is a file that is written before kind is asked for the cluster and removed when the cluster has gone. Its run
holds a lock on it, which the kernel lets go however the run ends: who can lock a note knows that its run has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: what `Note.requested_at` is called in the file, which runs of other versions read too
_REQUESTED_AT = "asked"


@dataclass
class Note:
    """What is needed to delete a cluster, and to know that it is still the one that the run has made."""

    cluster: str
    #: the engine that it is on, in words that are the same for the same engine
    engine: str
    #: the kind that makes it
    kind: str
    kubeconfig: str
    #: files that go with the cluster
    files: list[str] = field(default_factory=list)
    #: the run's process, for people
    pid: int = 0
    #: when kind was told to make the cluster, in seconds since the epoch
    requested_at: float = 0.0
    #: when kind said that it makes the nodes, in seconds since the epoch; 0: not yet
    begun: float = 0.0
    #: ids of the nodes' containers, as soon as all are there
    nodes: list[str] = field(default_factory=list)


class HeldNote:
    """A note's file, locked by this process for as long as it is not closed."""

    def __init__(self, path: Path, fd: int, note: Note) -> None:
        self._path = path
        self._fd = fd
        self.note = note

    def write(self) -> None:
        """Write down what the note says now. A file is never seen half written: one call writes it all."""
        content = asdict(self.note)
        content[_REQUESTED_AT] = content.pop("requested_at")
        text = json.dumps(content).encode()
        os.pwrite(self._fd, text + b"\n", 0)
        os.ftruncate(self._fd, len(text) + 1)

    def touch(self) -> None:
        """Its run goes on."""
        with contextlib.suppress(OSError):
            os.utime(self._fd)

    @property
    def last_touched(self) -> float:
        """When its run was last known to go on, in seconds since the epoch."""
        return os.fstat(self._fd).st_mtime

    def release(self) -> None:
        """The note stays for others to find."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def remove(self) -> None:
        """There is nothing left to delete."""
        self._path.unlink(missing_ok=True)
        self.release()


def folder(environment: Mapping[str, str]) -> Path:
    """Where notes are: https://specifications.freedesktop.org/basedir-spec/ calls it the user's state."""
    given = environment.get("XDG_STATE_HOME", "")
    state = Path(given) if given.startswith("/") else Path.home() / ".local/state"
    return state / "kubereach/kind"


def begin(where: Path, note: Note) -> HeldNote | None:
    """Note a cluster that is about to be made; None if a run that goes on has noted it. Raises `OSError`."""
    where.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(note.engine.encode()).hexdigest()[:8]
    path = where / f"{note.cluster}.{digest}.json"
    fd = _locked(path, create=True)
    if fd is None:
        return None
    held = HeldNote(path, fd, note)
    held.write()
    return held


def dead(where: Path) -> Iterator[HeldNote]:
    """The notes of runs that have died, each locked until whoever gets it lets it go or removes it."""
    for path in sorted(where.glob("*.json")) if where.is_dir() else ():
        with contextlib.suppress(OSError):
            if (fd := _locked(path)) is None:
                continue
            note = _read(path)
            if note is None:
                os.close(fd)
            else:
                yield HeldNote(path, fd, note)


def alive(where: Path) -> list[Note]:
    """The notes of runs that go on."""
    found = []
    for path in sorted(where.glob("*.json")) if where.is_dir() else ():
        with contextlib.suppress(OSError):
            if (fd := _locked(path)) is not None:
                os.close(fd)
            elif note := _read(path):
                found.append(note)
    return found


def _locked(path: Path, *, create: bool = False) -> int | None:
    """The file, open and locked; None when somebody else has it."""
    while True:
        fd = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass  # removed between opening and locking
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _read(path: Path) -> Note | None:
    """None for what is no note."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Note(requested_at=content.pop(_REQUESTED_AT, 0.0), **content)
    except (ValueError, TypeError, AttributeError):
        return None
