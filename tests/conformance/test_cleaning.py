"""What runs leave in a cluster: what was kept stays, that of dead runs goes, and nothing of anybody else is touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.conformance.conftest import Runner

#: beside a run that keeps its objects: a namespace of a run that has died since, and one of somebody else
_SCRIPT = """
set -e
kubectl create namespace theirs
kubectl create namespace other-run
kubectl label namespace other-run app.kubernetes.io/managed-by=kubereach
kubectl annotate namespace other-run kubereach.io/renewed=$(date +%s)
kubereach="{python} tests/conformance/impatient.py"
{python} -m kubereach run --keep --kubeconfig $KUBECONFIG --report-dir {report} nodeport.allocated
echo "== dry"; $kubereach clean --kubeconfig $KUBECONFIG --dry-run
echo "== clean"; $kubereach clean --kubeconfig $KUBECONFIG
echo "== there"; kubectl get namespaces -o name
echo "== kept"; $kubereach clean --kubeconfig $KUBECONFIG --kept
echo "== left"; kubectl get namespaces -o name
echo "== again"; $kubereach clean --kubeconfig $KUBECONFIG
"""


def test_kept_and_dead_namespaces(run_suite: Runner) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lab = ["{python}", "-m", "kubereach", "lab", "--nodes", "1", "run", "--", "sh", "-c", _SCRIPT]
    result = run_suite(lab, env={"PATH": path})
    assert result.code == 0, result.output
    parts = dict(part.split("\n", 1) for part in result.output.split("== ")[1:])
    assert "other-run: left by a dead run, will be deleted" in parts["dry"]
    assert parts["dry"].count(": kept on purpose\n") == 3
    assert parts["clean"].endswith("deleted: other-run\n")
    there = parts["there"].split()
    assert sum(name.startswith("namespace/kubereach-") for name in there) == 3
    assert "namespace/theirs" in there
    assert "namespace/other-run" not in there
    assert parts["kept"].strip().splitlines()[-1].count("kubereach-") == 3
    left = parts["left"].split()
    assert not [name for name in left if name.startswith("namespace/kubereach-")]
    assert "namespace/theirs" in left
    assert parts["again"].strip() == "nothing to clean up"
