"""Pods that cannot start: told with the reason, within seconds, as a measurement that failed, never as a verdict."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.conformance.conftest import Runner, RunResult

_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_RUN = ["{python}", "-m", "kubereach", "run", "--report-dir", "{report}"]
#: seconds of a run that is told; the machine may be busy
_SOON = 15.0

BY_FAULT = {
    "workload.image-missing": ("cannot start: ErrImagePull", "--image"),
    "workload.crash-loop": ("cannot start: CrashLoopBackOff", "--image"),
    "api.quota": ("exceeded quota: pods, requested: pods=1", "kubectl describe resourcequota"),
    "api.limit-range": ("minimum memory usage per Container is 64Mi", "kubectl describe limitrange"),
    "api.pod-security": ('violates PodSecurity "restricted:latest"', "labels of namespace"),
    "node.full": (
        "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu",
        "The cluster lacks resources",
    ),
}


def must_not_have_measured(result: RunResult, words: str, remedy: str) -> None:
    """The run ended with exit code 3, these words and this remedy, and says nothing of the network."""
    assert result.code == 3, result.output
    assert words in result.output, result.output
    assert remedy in result.output
    assert result.report["verdict"] == "not measured"
    assert not {check["verdict"] for check in result.report["checks"]} - {"not run"}, result.report["checks"]
    assert "not conformant" not in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("fault", BY_FAULT)
def test_a_whole_run_tells_why_at_once(fault: str, run_suite: Runner) -> None:
    begun = time.monotonic()
    result = run_suite([*_RUN, "--nodes", "1", "--fault", fault])
    assert time.monotonic() - begun < _SOON
    must_not_have_measured(result, *BY_FAULT[fault])


_FILLED = """
cpu=$(kubectl get nodes -o 'jsonpath={.items[0].status.allocatable.cpu}')
kubectl create -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: big}
spec:
  containers:
  - {name: c, image: python:3.13-alpine, command: [sleep, "1000"], resources: {requests: {cpu: $cpu}}}
END
kubectl wait --for=condition=Ready pod/big
RUN clusterip.from-pod
"""
_CORDONED = """
RUN endpoints.scale endpoints.replaced-pod endpoints.rolling-update & run=$!
ours="-A -l app.kubernetes.io/managed-by=kubereach"
until kubectl get pods $ours -o name | grep -q client; do :; done
kubectl wait --for=condition=Ready --timeout=60s pods $ours --all
kubectl cordon kubereach-control-plane
wait $run
"""


def in_lab(run_suite: Runner, script: str) -> RunResult:
    run = f'{" ".join(_RUN)} --kubeconfig "$KUBECONFIG"'
    lab = ["{python}", "-m", "kubereach", "lab", "--nodes", "1", "run", "--", "sh", "-c"]
    return run_suite([*lab, script.replace("RUN", run)], env={"PATH": _PATH})


def test_a_cluster_that_others_have_filled(run_suite: Runner) -> None:
    """Nothing of the lab is broken here: somebody has asked for all of the processors."""
    must_not_have_measured(in_lab(run_suite, _FILLED), *BY_FAULT["node.full"])


def test_pods_of_a_check_that_find_no_node_while_the_run_goes_on(run_suite: Runner) -> None:
    """The run has begun, then its only node is cordoned: whoever needs new pods cannot measure, and says so soon."""
    begun = time.monotonic()
    result = in_lab(run_suite, _CORDONED)
    assert time.monotonic() - begun < 3 * _SOON
    assert result.code == 3, result.output
    assert not result.ids("fail"), result.output
    told = [check["message"] for check in result.report["checks"] if check["verdict"] == "error"]
    assert told, result.output
    for message in told:
        assert "cannot be scheduled: 0/1 nodes are available: 1 node(s) were unschedulable" in message
