"""The file of a note: other versions of kubereach read and write it too."""

from __future__ import annotations

import json
from pathlib import Path

from kubereach.targets.kind import notes
from kubereach.targets.kind.notes import Note

_CONTENT = {
    "cluster": "one",
    "engine": "docker",
    "kind": "/usr/bin/kind",
    "kubeconfig": "/tmp/kubeconfig",
    "files": [],
    "pid": 7,
    "begun": 0.0,
    "nodes": [],
    "asked": 12.5,
}


def test_the_file_has_the_keys_that_it_always_had(tmp_path: Path) -> None:
    held = notes.begin(
        tmp_path, Note("one", "docker", "/usr/bin/kind", "/tmp/kubeconfig", pid=7, requested_at=12.5)
    )
    assert held is not None
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text()) == _CONTENT
    held.release()
    (found,) = notes.dead(tmp_path)
    assert found.note == held.note
    found.remove()


def test_what_is_no_note_is_none(tmp_path: Path) -> None:
    for name, text in {"list": "[]", "words": "{", "other": '{"asked": 1}'}.items():
        (tmp_path / f"{name}.json").write_text(text)
    assert list(notes.dead(tmp_path)) == []
