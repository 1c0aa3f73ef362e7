"""The options of the kind target: pytest-kind's by its names, ours beside them, and mistakes in either."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from kubereach.cli import main
from kubereach.model.errors import UsageError
from kubereach.run import options
from kubereach.targets.kind import balancer
from kubereach.targets.kind import options as kind_options
from kubereach.targets.kind.cluster import KIND_VERSION, Cluster
from kubereach.targets.kind.engine import Engine
from kubereach.targets.kind.options import KindChoice


def chosen(**values: Any) -> options.RunOptions:
    """The options after validation; dashes are underscores."""
    by_dest = {o.dest: values[key] for o in options.OPTIONS if (key := o.name.replace("-", "_")) in values}
    return options.validated(by_dest.get)


def test_the_choice_of_a_kind_cluster(tmp_path: Path) -> None:
    assert chosen(target="kind").kind == KindChoice()
    assert KindChoice().name == "pytest-kind"
    kind = tmp_path / "kind"
    kind.touch()
    choice = chosen(
        target="kind",
        cluster_name="mine",
        keep_cluster=True,
        kubeconfig=str(tmp_path / "config"),
        kind_image="kindest/node:v1.30.0",
        kind_bin=str(kind),
        kind_proxy_mode="nftables",
        nodes="2",
        dual_stack=True,
    ).kind
    assert choice == KindChoice(
        "mine", True, tmp_path / "config", "kindest/node:v1.30.0", kind, None, None, "nftables", 2, True
    )
    assert chosen(target="kind", keep=True).kind.keep, "objects stay only in a cluster that stays"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "kind", "context": "prod"}, "--target kind does not take --context: kind creates one"),
        ({"target": "kind", "fault": ["dns.stale"]}, "--fault dns.stale: works with the lab only"),
        ({"target": "kind", "kind_bin": "/not/there"}, "--kind-bin /not/there: the file does not exist"),
        (
            {"target": "kind", "kind_config": "/not/there"},
            "--kind-config /not/there: the file does not exist",
        ),
        ({"target": "kind", "kind_proxy_mode": "ebpf"}, "--kind-proxy-mode ebpf: unknown mode"),
        ({"target": "kind", "kind_config": __file__, "nodes": "2"}, "--nodes and --kind-config exclude"),
        (
            {"target": "kind", "cluster_name": "../up"},
            "--cluster-name ../up: not a valid name of a kind cluster",
        ),
        ({"kind_proxy_mode": "ipvs"}, "--kind-proxy-mode works with --target kind only"),
        ({"context": "prod", "kind_config": __file__}, "--kind-config works with --target kind only"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(**values)
    assert message in caught.value.message
    assert caught.value.remedy


def test_an_option_of_kind_is_not_ignored_on_another_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--kind-image", "kindest/node:v1.30.0"]) == 2
    said = capsys.readouterr().err
    assert "--kind-image works with --target kind only, the target is lab" in said
    assert "Add --target kind" in said


def test_names_and_defaults_are_those_of_pytest_kind() -> None:
    from _pytest.config.argparsing import Parser
    from pytest_kind import plugin

    parser = Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    theirs = {option.names()[0]: option.dest for option in parser.getgroup("kind").options}
    shared = {f"--{option.name}": option.pytest_kind_dest for option in options.OPTIONS if option.shared}
    assert shared == theirs
    assert parser.parse([]).cluster_name == kind_options.DEFAULT_NAME


def test_pytest_kind_is_not_imported_for_another_target() -> None:
    code = (
        "import sys, kubereach.run.session, kubereach.cli.main\n"
        "print([m for m in sys.modules if 'pytest_kind' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_downloaded_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cluster = Cluster(KindChoice(), 10, {"PATH": ""})
    assert cluster.kind_path == tmp_path / f".pytest-kind/pytest-kind/kind-{KIND_VERSION}"
    assert tuple(map(int, KIND_VERSION[1:].split("."))) >= (0, 33, 0)
    older = Cluster(KindChoice(), 10, {"PATH": "", "KIND_VERSION": "v0.30.0"})
    assert older.kind_path.name == "kind-v0.30.0"


def test_the_download_is_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KIND_DOWNLOAD_URL", raising=False)
    asked = []

    def get(url: str, **_: Any) -> Any:
        asked.append(url)
        raise OSError("no network in this test")

    monkeypatch.setattr("pytest_kind.cluster.requests.get", get)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(Exception, match="no network in this test"):
        Cluster(KindChoice(), 10, {"PATH": ""}).ensure_kind()
    base = "https://github.com/kubernetes-sigs/kind/releases/download"
    assert asked == [f"{base}/{KIND_VERSION}/kind-linux-arm64"]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found in /proc")
def test_cloud_provider_kind_is_found_among_processes(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "docker").chmod(0o755)
    engine = Engine({"PATH": str(tmp_path)})
    before = balancer.running(engine)
    process = subprocess.Popen(["cloud-provider-kind", "60"], executable=sleep)
    try:
        # a new program has no words yet for a moment after exec
        for attempt in Retrying(stop=stop_after_delay(5), wait=wait_fixed(0.01)):
            with attempt:
                assert Path(f"/proc/{process.pid}/cmdline").read_bytes()
        numbers = [
            number for number, program in balancer._processes(Path("/proc")) if program == balancer.PROVIDER
        ]
        assert str(process.pid) in numbers
        assert balancer.running(engine).startswith("process ")
    finally:
        process.kill()
        process.wait()
    assert balancer.running(engine) == before
