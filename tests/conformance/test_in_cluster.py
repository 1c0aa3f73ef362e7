"""kubereach in a pod: the Job of manifests/in-cluster, without a kubeconfig, measures the cluster that it is in."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

from kubereach.cli.rbac import objects
from kubereach.model.settings import Settings
from kubereach.preflight.rights import needed
from tests.conformance.conftest import ROOT, Runner
from tests.conformance.test_existing import in_lab

MANIFEST = ROOT / "manifests" / "in-cluster" / "kubereach.yaml"
PLUGIN = ROOT / "examples" / "sonobuoy" / "kubereach-plugin.yaml"

#: waits for the end of the Job, whichever it is
_ENDED = """
kubectl -n kubereach-system wait job/kubereach --for=condition=Complete --timeout=90s
kubectl -n kubereach-system logs job/kubereach
echo "== namespaces"; kubectl get namespaces -o name
"""


def documents() -> list[dict]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def test_its_rights_are_those_of_kubereach_rbac() -> None:
    printed = objects(needed(Settings(self_load_balancer=True)), "kubereach-system", "kubereach")
    assert [d for d in documents() if d["kind"] not in ("Namespace", "Job")] == printed


def test_the_job_measures_the_cluster_that_it_is_in(tmp_path: Path, run_suite: Runner) -> None:
    parts = documents()
    (job,) = (d for d in parts if d["kind"] == "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] += ["clusterip.from-pod", "dns.qualified", "nodeport.every-node", "dns.internal-only"]
    # a lab's image is this machine's own files: what is mounted at /tmp would hide a checkout there
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["mountPath"] != "/tmp"]
    container.setdefault("env", []).append({"name": "TMPDIR", "value": "/report"})
    # the lab has no RBAC, and no such kinds
    kept = [d for d in parts if not d["apiVersion"].startswith("rbac.")]
    file = tmp_path / "kubereach.yaml"
    file.write_text(yaml.safe_dump_all(kept))
    image = f"kubereach={sys.executable} -m kubereach"
    result = in_lab(run_suite, f"kubectl apply -f {file}\n{_ENDED}", "--nodes", "2", "--image", image)
    assert "job.batch/kubereach condition met" in result.output, result.output
    assert "2 passed, 2 unsupported" in result.output
    assert (
        "nodeport.every-node  unsupported: outside: kubereach runs in a pod of the cluster" in result.output
    )
    left = result.output.partition("== namespaces")[2].split()
    assert "namespace/kubereach-system" in left
    assert [name for name in left if name.endswith(("-a", "-b", "-n"))] == []


def test_the_sonobuoy_plugin_leaves_its_results_where_they_are_looked_for(
    tmp_path: Path, run_suite: Runner
) -> None:
    plugin = yaml.safe_load(PLUGIN.read_text())
    assert plugin["sonobuoy-config"]["result-format"] == "junit"
    (script,) = plugin["spec"]["args"]
    bin_folder, results = tmp_path / "bin", tmp_path / "results"
    bin_folder.mkdir()
    stand_in = bin_folder / "kubereach"
    # one check is enough, on the lab that the test is in
    run = f'exec {sys.executable} -m kubereach run --kubeconfig "$KUBECONFIG" clusterip.from-pod'
    stand_in.write_text(f'#!/bin/sh\nshift 3\n{run} "$@"\n')
    stand_in.chmod(0o755)
    (tmp_path / "plugin.sh").write_text(script)
    command = (
        f'PATH="{bin_folder}:$PATH" SONOBUOY_RESULTS_DIR={results} sh {tmp_path}/plugin.sh; echo "code $?"'
    )
    result = in_lab(run_suite, command, "--nodes", "1")
    assert "code 0" in result.output, result.output
    archive = Path((results / "done").read_text())
    assert archive == results / "kubereach.tar.gz" and archive.stat().st_size > 100
    assert "clusterip.from-pod" in (results / "junit.xml").read_text()


def test_the_workflow_runs_the_kind_target_and_publishes_what_it_says() -> None:
    text = (ROOT / "examples" / "github-actions" / "kubereach.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["services"]["steps"]
    scripts = "\n".join(step.get("run", "") for step in steps)
    assert "kubereach run --target kind" in scripts
    assert "GITHUB_STEP_SUMMARY" in scripts


def test_what_the_dockerfile_copies_is_enough_for_a_wheel(tmp_path: Path) -> None:
    copied = [
        line.split()[1:] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for *sources, to in copied:
        for source in sources:
            assert source in allowed, f".dockerignore keeps {source} away"
            target = tmp_path / to / Path(source).name if to.endswith("/") else tmp_path / to
            if (ROOT / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, target, symlinks=True, ignore=ignore)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, target)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "out").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "report/report-v1.schema.json",
        "_data/manifests/peer.yaml",
        "_data/suites/dns/test_dns_names.py",
    ):
        assert f"kubereach/{name}" in names
