"""Whole runs with --target kind, on a lab that the recording kind hands out as the cluster that it has made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tools import ROOT, Tools

from kubereach_lab import LabConfig
from tests.uninstalled import packages_without

PYTHON = [sys.executable, "-m"]
#: where a lab keeps what its kubeconfig is made of
_INSIDE = "/run/kubereach"
_QUICK = ["kubereach", "run", "--target", "kind"]


def run(
    tools: Tools, *words: str, fault: str = ""
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run a module of Python inside a lab, and give its report."""
    config = LabConfig()
    certificates = {
        "cluster": {"certificate-authority": f"{_INSIDE}/ca.crt"},
        "user": {"client-certificate": f"{_INSIDE}/client.crt", "client-key": f"{_INSIDE}/client.key"},
    }
    live = {"server": config.api_url, "certificates": certificates, "nodes": list(config.node_names)}
    tools.set(live=live)
    lab = [*PYTHON, "kubereach", "lab", "--fault", fault, "run", "--"]
    path = f"{tools.bin}:{os.environ['PATH']}"
    report_dir = "--kubereach-report-dir=report" if words[0] == "pytest" else "--report-dir=report"
    done = subprocess.run(
        [*lab, "env", f"PATH={path}", *PYTHON, *words, report_dir],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    report = Path("report/report.json")
    return done, json.loads(report.read_text()) if report.exists() else {}


def test_a_quick_run_from_the_first_command_to_the_last(tools: Tools) -> None:
    done, report = run(tools, *_QUICK, "--quick")
    assert done.returncode == 0, done.stdout
    assert report["target"]["name"] == "kind"
    assert "kind cluster pytest-kind, created for the run" in json.dumps(report["target"])
    assert not [
        check for check in report["checks"] if check["verdict"] not in ("pass", "unsupported", "noted")
    ]
    assert len(report["checks"]) > 30
    assert "kubereach assigns" in report["features"]["loadbalancer"]["evidence"]
    assert tools.state["clusters"] == {}
    assert not Path("report/kind-logs").exists()


def test_the_outside_is_a_container_where_it_has_to_be(tools: Tools) -> None:
    tools.set(info={"OperatingSystem": "Docker Desktop"})
    done, report = run(tools, *_QUICK, "nodeport.every-node")
    assert done.returncode == 0, done.stdout
    (check,) = [check for check in report["checks"] if check["id"] == "nodeport.every-node"]
    assert "outside" in {path["vantage"] for path in check["paths"]}
    assert "Docker Desktop" in report["features"]["outside"]["evidence"]
    ran = tools.calls("docker", "run")
    assert [call[:7] for call in ran] == [["docker", "run", "-i", "--rm", "--network", "kind", "--label"]]


def test_a_run_that_fails_leaves_the_logs_of_the_nodes(tools: Tools) -> None:
    quick = ["--set", "converge_deadline=2", "--set", "diagnosis_budget=0"]
    done, _ = run(tools, *_QUICK, "clusterip.from-pod", *quick, fault="proxy.target-port-ignored")
    assert done.returncode == 1, done.stdout
    assert "logs of the cluster: " in done.stdout
    assert len(list(Path("report/kind-logs").iterdir())) == 3
    assert tools.state["clusters"] == {}


def test_plain_pytest_shares_the_options_with_pytest_kind(tools: Tools) -> None:
    suite = str(ROOT / "suites/clusterip")
    options = [
        "--kubereach-target=kind",
        "--kubereach-check=clusterip.from-pod",
        "--cluster-name=shared",
        "--keep-cluster",
    ]
    done, report = run(tools, "pytest", suite, "-p", "no:cacheprovider", *options)
    assert done.returncode == 0, done.stdout
    assert "kind cluster shared, kept after the run" in json.dumps(report["target"])
    assert list(tools.state["clusters"]) == ["shared"]


def test_plain_pytest_has_these_options_without_pytest_kinds(tools: Tools) -> None:
    suite = str(ROOT / "suites/clusterip")
    options = [
        "--kubereach-target=kind",
        "--kubereach-check=clusterip.from-pod",
        "--kubereach-cluster-name=ours",
        "--kubereach-keep-cluster",
    ]
    done, report = run(tools, "pytest", suite, "-p", "no:cacheprovider", "-p", "no:pytest-kind", *options)
    assert done.returncode == 0, done.stdout
    assert "kind cluster ours, kept after the run" in json.dumps(report["target"])
    assert list(tools.state["clusters"]) == ["ours"]


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (_QUICK, "--target"),
        (
            ["pytest", str(ROOT / "suites/clusterip"), "-p", "no:cacheprovider", "--kubereach-target=kind"],
            "--kubereach-target",
        ),
    ],
)
def test_without_pytest_kind_the_message_says_how_to_install_it(
    tools: Tools, words: list[str], target: str
) -> None:
    done = _without_pytest_kind(words)
    assert done.returncode == 3, done.stdout
    assert f"{target} kind needs pytest-kind, which is not installed" in done.stdout
    assert "pip install '.[kind]'" in done.stdout
    assert "Traceback" not in done.stdout
    assert tools.calls() == []


@pytest.mark.usefixtures("tools")
def test_clean_needs_no_pytest_kind() -> None:
    done = _without_pytest_kind(["kubereach", "clean", "--target", "kind"])
    assert (done.returncode, done.stdout) == (0, "nothing to clean up\n")


def _without_pytest_kind(words: list[str]) -> subprocess.CompletedProcess[str]:
    path = packages_without("pytest_kind", Path.cwd() / "packages")
    return subprocess.run(
        [sys.executable, "-S", "-m", *words],
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def _why_no_engine() -> str:
    if os.environ.get("KUBEREACH_KIND") == "0":
        return "KUBEREACH_KIND=0 says so"
    engine = next((name for name in ("docker", "podman", "nerdctl") if shutil.which(name)), "")
    if not engine:
        return "no container engine is installed"
    try:
        done = subprocess.run([engine, "ps"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{engine} does not answer: {error}"
    return (
        "" if done.returncode == 0 else f"{engine} does not answer: {done.stderr.strip().splitlines()[-1:]}"
    )


def test_on_a_real_kind_cluster(tmp_path: Path) -> None:
    """The real thing, wherever there is a container engine: everything but the disruptive checks conforms."""
    if why := _why_no_engine():
        pytest.skip(f"no real kind cluster: {why}")
    done = subprocess.run(
        [
            *PYTHON,
            "kubereach",
            "run",
            "--target",
            "kind",
            "--cluster-name",
            "kubereach-test",
            "--report-dir",
            "report",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout
