"""Runs that are killed while they have a kind cluster: the next one, or `kubereach clean`, deletes it, and no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools import ROOT, Tools

from kubereach.cli import main
from kubereach.model.errors import CannotMeasure
from kubereach.targets.kind.options import KindChoice

#: a run as far as its cluster is concerned; it tells when it has one, and then goes on for as long as it is let
_RUN = """
import sys
from pathlib import Path
from kubereach.targets.kind.options import KindChoice
from kubereach.model.settings import Settings
from kubereach.targets.kind.target import KindTarget
target = KindTarget(KindChoice(keep="keep" in sys.argv), Settings(), Path(sys.argv[1]), lambda _: None)
target.open()
print("open", flush=True)
sys.stdin.read()
target.close()
"""
_PATIENCE = 20.0
CLUSTER = "pytest-kind"


@contextmanager
def a_run(tools: Tools, *words: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PATH": f"{tools.bin}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _RUN, str(ROOT / "manifests/kind.yaml"), *words]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def kill(run: subprocess.Popen[str]) -> None:
    run.send_signal(signal.SIGKILL)
    run.wait()


def killed_with_its_cluster(tools: Tools, *words: str) -> None:
    """A run that has made its cluster, and is killed while it uses it."""
    with a_run(tools, *words) as run:
        assert run.stdout is not None and run.stdout.readline() == "open\n"
        kill(run)


def killed_while_kind_works(tools: Tools, mishap: str, *words: str) -> None:
    """A run that is killed while it waits for kind, which goes with it."""
    tools.mishap(create=mishap)
    file = tools.folder / "hangs"
    with a_run(tools, *words) as run:
        wait_until(lambda: file.exists() and file.read_text() != "", "kind got to where it hangs")
        if mishap == "hang-later":
            wait_until(lambda: bool(note(tools)["nodes"]), "the run noted the nodes")
        elif mishap == "hang":
            wait_until(lambda: note(tools)["begun"] > 0, "the run noted that nodes are made")
        kind = int(file.read_text())
        kill(run)
    wait_until(lambda: not Path(f"/proc/{kind}").exists(), "kind has gone with its run")
    tools.set(mishaps={})


def wait_until(holds, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not so: {what}"
        time.sleep(0.01)


def note(tools: Tools) -> dict:
    (file,) = (tools.notes / "kubereach/kind").glob("*.json")
    return json.loads(file.read_text())


def notes(tools: Tools) -> list[Path]:
    return list((tools.notes / "kubereach/kind").glob("*"))


def clean(tools: Tools, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setenv("PATH", str(tools.bin))
    return main.main(["clean", "--target", "kind", *words])


def test_the_next_run_deletes_what_a_killed_one_has_made(tools: Tools) -> None:
    killed_with_its_cluster(tools)
    assert CLUSTER in tools.state["clusters"]
    target = tools.target()
    assert "created for the run" in target.open().description
    assert any("left by a dead run" in line for line in tools.said)
    assert len(tools.calls("kind", "create", "cluster")) == 2
    target.close()
    assert tools.state["clusters"] == {} and notes(tools) == []


def test_a_run_with_another_name_deletes_it_too(tools: Tools) -> None:
    killed_with_its_cluster(tools)
    target = tools.target(KindChoice(name="another"))
    target.open()
    assert list(tools.state["clusters"]) == ["another"]
    target.close()


@pytest.mark.parametrize("mishap", ["hang", "hang-later", "hang-unheard"])
@pytest.mark.parametrize("words", [(), ("keep",)])
def test_a_half_made_cluster_is_deleted_even_if_it_was_to_be_kept(
    tools: Tools, mishap: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    killed_while_kind_works(tools, mishap, *words)
    assert CLUSTER in tools.state["clusters"]
    assert clean(tools, monkeypatch, "--dry-run") == 0
    assert capsys.readouterr().out == f"{CLUSTER}: left by a dead run\n"
    assert CLUSTER in tools.state["clusters"]
    assert clean(tools, monkeypatch) == 0
    assert f"{CLUSTER}: left by a dead run (process " in capsys.readouterr().out
    assert tools.state["clusters"] == {} and notes(tools) == []
    assert clean(tools, monkeypatch) == 0
    assert capsys.readouterr().out == "nothing to clean up\n"


def test_kind_goes_with_a_killed_command(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user has it, in whatever thread a run opens its target."""
    tools.mishap(create="hang")
    file = tools.folder / "hangs"
    command = [sys.executable, "-m", "kubereach", "run", "--target", "kind", "clusterip.from-pod"]
    environment = {**os.environ, "PATH": f"{tools.bin}", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as run:
        wait_until(lambda: file.exists() and file.read_text() != "", "kind got to where it hangs")
        wait_until(lambda: note(tools)["begun"] > 0, "the run noted that nodes are made")
        run.kill()
    wait_until(lambda: not Path(f"/proc/{file.read_text()}").exists(), "kind has gone with its run")
    assert CLUSTER in tools.state["clusters"]
    assert clean(tools, monkeypatch) == 0
    assert tools.state["clusters"] == {}


def test_keys_of_a_killed_run_go_with_its_cluster(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_with_its_cluster(tools)
    kubeconfig = Path(f".pytest-kind/{CLUSTER}/kubeconfig")
    assert kubeconfig.exists()
    monkeypatch.chdir("/")
    assert clean(tools, monkeypatch) == 0
    monkeypatch.undo()
    assert not kubeconfig.exists()


def test_a_cluster_that_was_there_before_stays(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.has(CLUSTER)
    killed_with_its_cluster(tools)
    assert notes(tools) == []
    assert clean(tools, monkeypatch) == 0
    assert CLUSTER in tools.state["clusters"] and not tools.calls("kind", "delete")


def test_a_cluster_that_is_kept_stays(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_with_its_cluster(tools, "keep")
    assert clean(tools, monkeypatch) == 0
    target = tools.target()
    assert "reused" in target.open().description
    target.close()
    assert CLUSTER in tools.state["clusters"] and not tools.calls("kind", "delete")


@pytest.mark.parametrize("mishap", ["", "hang", "hang-pulling"])
def test_a_cluster_that_somebody_has_made_since_stays(
    tools: Tools, mishap: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The name says nothing: whoever deletes the cluster and makes another one is not to lose that."""
    if mishap:
        killed_while_kind_works(tools, mishap)
    else:
        killed_with_its_cluster(tools)
    later = time.time() + (3600 if mishap == "hang" else 5)
    tools.set(clusters={})
    tools.has(CLUSTER, born=later)
    assert clean(tools, monkeypatch) == 0
    assert (
        f"{CLUSTER}: same name as the cluster of a dead run, but another cluster" in capsys.readouterr().out
    )
    assert CLUSTER in tools.state["clusters"] and notes(tools) == []
    assert not tools.calls("kind", "delete")


def test_a_run_that_goes_on_keeps_its_cluster(tools: Tools, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with a_run(tools) as run:
        assert run.stdout is not None and run.stdin is not None and run.stdout.readline() == "open\n"
        assert clean(tools, monkeypatch) == 0
        assert capsys.readouterr().out == f"{CLUSTER}: in use (process {run.pid})\n"
        target = tools.target()
        assert "reused" in target.open().description
        target.close()
        assert CLUSTER in tools.state["clusters"]
        run.stdin.close()
        assert run.wait(_PATIENCE) == 0
    assert tools.state["clusters"] == {} and notes(tools) == []


def test_two_runs_do_not_make_one_cluster(tools: Tools) -> None:
    tools.mishap(create="hang-pulling")
    with a_run(tools):
        wait_until(lambda: (tools.folder / "hangs").exists(), "the first run waits for kind")
        target = tools.target()
        with pytest.raises(CannotMeasure, match="another run is creating the kind cluster"):
            target.open()
        target.close()
        assert not tools.calls("kind", "delete")


def test_a_cluster_of_another_engine_is_left_for_later(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    killed_with_its_cluster(tools)
    tools.set(endpoint="ssh://elsewhere")
    assert clean(tools, monkeypatch) == 0
    assert "on another container engine" in capsys.readouterr().out
    tools.set(endpoint="unix:///var/run/docker.sock")
    assert CLUSTER in tools.state["clusters"]
    assert clean(tools, monkeypatch) == 0
    assert tools.state["clusters"] == {}


def test_what_cannot_be_deleted_is_said_and_tried_again(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    killed_with_its_cluster(tools)
    tools.mishap(delete="busy")
    assert clean(tools, monkeypatch) == 3
    assert f"`kind delete cluster --name {CLUSTER}`" in capsys.readouterr().out
    tools.set(mishaps={})
    assert clean(tools, monkeypatch) == 0
    assert tools.state["clusters"] == {}


def test_a_run_goes_on_where_nothing_can_be_noted(tools: Tools) -> None:
    tools.notes.write_text("no folder")
    target = tools.target()
    target.open()
    assert any("if this run is killed, the cluster remains" in line for line in tools.said)
    target.close()
    assert tools.state["clusters"] == {}


def test_options_of_other_clusters_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["clean", "--target", "kind", "--kept"]) == 2
    assert "--target kind does not take --kept" in capsys.readouterr().err
