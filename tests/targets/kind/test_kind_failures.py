"""Whatever keeps a kind cluster from coming up: one clear line that names it, and the remedy; and nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import ROOT, Tools

from kubereach.model.errors import CannotMeasure, KubereachError, UsageError
from kubereach.model.settings import Settings
from kubereach.targets.kind import failures
from kubereach.targets.kind.commands import Done
from kubereach.targets.kind.options import KindChoice


def error_of(
    tools: Tools, *, choice: KindChoice | None = None, settings: Settings | None = None
) -> KubereachError:
    """The error of `open`, after a `close`, as in a run."""
    target = tools.target(choice, settings)
    with pytest.raises(KubereachError) as caught:
        target.open()
    target.close()
    assert "\n" not in caught.value.message and "\n" not in caught.value.remedy
    assert caught.value.remedy
    return caught.value


def test_docker_is_not_installed(tools: Tools) -> None:
    (tools.bin / "docker").unlink()
    error = error_of(tools)
    assert isinstance(error, CannotMeasure)
    assert error.message == "kind needs a container engine, but docker or nerdctl or podman is not installed"
    assert "docs.docker.com/engine/install" in error.remedy and "KIND_EXPERIMENTAL_PROVIDER" in error.remedy
    assert not tools.calls("kind")


def test_an_engine_that_is_named_is_not_installed(tools: Tools) -> None:
    with pytest.raises(CannotMeasure, match="but podman is not installed"):
        tools.target(KIND_EXPERIMENTAL_PROVIDER="podman").open()


def test_the_daemon_is_down(tools: Tools) -> None:
    tools.set(daemon="down")
    error = error_of(tools)
    assert error.message == "the container engine does not answer at unix:///var/run/docker.sock"
    assert "systemctl start docker" in error.remedy
    assert not tools.calls("kind")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if "
            "the daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory",
            "the container engine does not answer at unix:///var/run/docker.sock",
        ),
        (
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
            "this user is not allowed to connect to the container engine at unix:///var/run/docker.sock",
        ),
        (
            'error during connect: Get "http://docker.example.com/v1.50/info": command [ssh -l u -- h docker system '
            "dial-stdio] has exited with exit status 255",
            'cannot reach the container engine: Get "http://docker.example.com/v1.50/info": command '
            "[ssh -l u ",
        ),
        (
            "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system "
            "connection list`, or try `podman machine init` and `podman machine start`",
            "the container engine does not answer",
        ),
        (
            'cannot access containerd socket "/run/containerd/containerd.sock": no such file or directory',
            "the container engine does not answer at /run/containerd/containerd.sock",
        ),
        (
            "ERROR: running kind with rootless provider requires cgroup v2, see https://kind.sigs.k8s.io/docs/user/rootless/",
            "a rootless container engine cannot run kind here: it requires cgroup v2",
        ),
        ("ERROR: unknown flag: --kubeconfig", "this kind version is too old: it lacks --kubeconfig"),
        ("", "`docker info` failed: exit code 3"),
    ],
)
def test_words_of_other_engines_and_versions(words: str, message: str) -> None:
    error = failures.error_of(Done(("docker", "info"), 3, "", words), "A remedy.")
    assert error.message.startswith(message)
    assert error.remedy


def test_the_user_may_not_speak_to_the_daemon(tools: Tools) -> None:
    tools.set(daemon="permission")
    error = error_of(tools)
    assert error.message == (
        "this user is not allowed to connect to the container engine at unix:///var/run/docker.sock"
    )
    assert "usermod -aG docker" in error.remedy


@pytest.mark.parametrize(
    ("mishap", "message", "remedy"),
    [
        ("disk-full", "the container engine's disk is full", "docker system prune"),
        (
            "no-node-image",
            "the node image kindest/node:v9 is missing and cannot be pulled: manifest for "
"kindest/node:v9 not found",
            "--kind-image",
        ),
        ("kubeadm", "failed to init node with kubeadm", "memory"),
        ("systemd", "the node containers do not start", "fs.inotify.max_user_instances"),
        ("port", "a port that the cluster needs is in use: Bind for 0.0.0.0:80 failed", "hostPort"),
        ("strange", "`kind create cluster` failed: failed to create cluster: something that nobody", "--retain"),
    ],
)  # fmt: skip
def test_kind_cannot_make_the_cluster(tools: Tools, mishap: str, message: str, remedy: str) -> None:
    tools.mishap(create=mishap)
    error = error_of(tools, choice=KindChoice(image="kindest/node:v9"))
    assert isinstance(error, CannotMeasure)
    assert message in error.message and remedy in error.remedy
    assert tools.state["clusters"] == {}


def test_a_cluster_that_somebody_else_is_making_is_not_deleted(tools: Tools) -> None:
    tools.mishap(create="race")
    error = error_of(tools)
    assert (
        error.message
        == "another process is creating the cluster pytest-kind, or its creation was interrupted"
    )
    assert not tools.calls("kind", "delete")


@pytest.mark.parametrize(
    ("mishap", "message"),
    [
        ("stopped", "container 5f0c is not running"),
        ("no-admin-conf", "cat: /etc/kubernetes/admin.conf: No such file or directory"),
        ("no-control-plane", "could not locate any control plane nodes"),
        (
            "api-down",
            "its API does not answer: `kubectl get nodes` failed: The connection to the server 127.0.0.1:",
        ),
    ],
)
def test_a_cluster_that_is_half_made(tools: Tools, mishap: str, message: str) -> None:
    tools.has("pytest-kind", mishap)
    error = error_of(tools)
    assert isinstance(error, CannotMeasure)
    assert error.message.startswith("the kind cluster pytest-kind exists, but ")
    assert message in error.message
    assert "kind delete cluster --name pytest-kind" in error.remedy
    assert "pytest-kind" in tools.state["clusters"], "it may be somebody's"


def test_workers_that_never_joined(tools: Tools) -> None:
    tools.has("pytest-kind", joined=1)
    error = error_of(tools)
    assert "pytest-kind-worker, pytest-kind-worker2 did not join the cluster" in error.message


def test_nodes_that_do_not_get_ready(tools: Tools) -> None:
    tools.mishap(wait="node")
    error = error_of(tools)
    assert error.message.startswith("the nodes of kind cluster pytest-kind are not ready: ")
    assert "timed out waiting for the condition on nodes/pytest-kind-worker2" in error.message
    assert "known-issues" in error.remedy
    assert tools.state["clusters"] == {}
    tools.mishap(wait="pod")
    assert error_of(tools).message.startswith("the system pods of kind cluster pytest-kind are not ready: ")


def test_a_cluster_without_a_network_of_its_own(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "no-cni.yaml"
    file.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {disableDefaultCNI: true}\n"
    )
    tools.mishap(wait="node")
    assert "install a CNI" in error_of(tools, choice=KindChoice(config=file)).remedy


def test_an_api_that_listens_on_another_machine(tools: Tools) -> None:
    tools.mishap(api="down")
    error = error_of(tools)
    assert error.message.startswith("kind created the cluster pytest-kind, but `kubectl get nodes` failed: ")
    assert "was refused" in error.message
    assert "networking.apiServerAddress" in error.remedy
    assert tools.state["clusters"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "mine.yaml:2: not a kind configuration: malformed YAML"),
        ("a: b", "mine.yaml: not a kind configuration"),
        (
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1",
            "kind rejects the configuration: unknown apiVersion: ",
        ),
        (
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodez: []",
            "kind rejects the configuration: unable to decode config: ",
        ),
    ],
)
def test_a_configuration_that_is_none(tools: Tools, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text + "\n")
    error = error_of(tools, choice=KindChoice(config=file))
    assert isinstance(error, UsageError)
    assert message in error.message


def test_nodes_whose_disk_is_full_and_nodes_that_pull_the_image_themselves(tools: Tools) -> None:
    tools.mishap(load="disk-full")
    assert error_of(tools).message == "the container engine's disk is full"
    tools.mishap(load="digest")
    tools.target().open()
    assert any("failed, the nodes will pull it: " in text for text in tools.said)


def test_the_image_of_the_outside_cannot_be_pulled(tools: Tools) -> None:
    tools.set(images=[], info={"OperatingSystem": "Docker Desktop"})
    tools.mishap(pull="unknown")
    error = error_of(tools, settings=Settings(image="nobody/nothing:1"))
    assert error.message.startswith("cannot pull the image nobody/nothing:1: ")
    assert "--image" in error.remedy


def test_a_cluster_that_cannot_be_deleted(tools: Tools) -> None:
    target = tools.target()
    target.open()
    tools.mishap(delete="busy")
    with pytest.raises(CannotMeasure) as caught:
        target.close()
    assert caught.value.message.startswith("cannot delete the kind cluster pytest-kind: ")
    assert "device or resource busy" in caught.value.message
    assert caught.value.remedy == "`kind delete cluster --name pytest-kind`"


def test_kind_takes_too_long(tools: Tools) -> None:
    tools.mishap(create="hang")
    error = error_of(tools, settings=Settings(cluster_deadline=1.5))
    assert error.message == "`kind create cluster` did not end within 2 s"
    assert "cluster_deadline" in error.remedy
    assert tools.state["clusters"] == {}, "what it has made until then is gone"


def test_kind_is_no_program(tools: Tools) -> None:
    (tools.bin / "kind").write_bytes(b"\x7fELF of another machine")
    error = error_of(tools)
    assert "kind: Exec format error" in error.message


def test_nothing_can_be_downloaded(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools.bin / "kind").unlink()
    monkeypatch.setenv("KIND_DOWNLOAD_URL", "http://127.0.0.1:1/kind")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    error = error_of(tools)
    assert error.message.startswith("kind is not in PATH, and downloading http://127.0.0.1:1/kind failed: ")
    assert "--kind-bin" in error.remedy
    assert os.environ["KIND_DOWNLOAD_URL"] == "http://127.0.0.1:1/kind"


def test_a_working_folder_that_cannot_be_written_to(tools: Tools) -> None:
    Path(".pytest-kind").write_text("in the way")
    error = error_of(tools)
    assert ".pytest-kind" in error.message
    assert "working folder" in error.remedy


def interrupted(tools: Tools, begun: Callable[[], bool], number: signal.Signals) -> str:
    """What a run says that gets a signal as soon as `begun`; it must say that nothing was measured."""
    run = subprocess.Popen(
        [sys.executable, "-m", "kubereach", "run", "--target", "kind", "--quick", "--report-dir", "report"],
        env={**os.environ, "PATH": f"{tools.bin}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not begun() and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(number)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == 3, output
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_no_half_a_cluster(tools: Tools, number: signal.Signals) -> None:
    tools.mishap(create="hang")
    output = interrupted(tools, lambda: bool(tools.state["clusters"]), number)
    assert tools.state["clusters"] == {}, output


def test_who_does_not_wait_for_logs_gets_rid_of_the_cluster_all_the_same(tools: Tools) -> None:
    tools.mishap(wait="node", logs="hang")
    output = interrupted(tools, (tools.folder / "hangs").exists, signal.SIGINT)
    assert "the nodes of kind cluster pytest-kind are not ready" in output
    assert tools.state["clusters"] == {}, output


def test_who_does_not_wait_for_the_end_is_told_what_is_left(tools: Tools) -> None:
    tools.mishap(create="kubeadm", delete="hang")
    output = interrupted(tools, (tools.folder / "hangs").exists, signal.SIGINT)
    assert "Kubernetes does not start on the nodes" in output, "the first failure is the run's"
    target = tools.target()
    tools.mishap(create="")
    target.open()
    hangs = tools.folder / "hangs"
    hangs.unlink()

    def press() -> None:
        while not hangs.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(
        CannotMeasure, match="interrupted during the deletion of the kind cluster pytest-kind"
    ):
        target.close()
