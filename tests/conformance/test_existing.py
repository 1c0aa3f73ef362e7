"""Runs on a cluster that exists: its namespaces, its nodes, its refusals, and others who measure at the same time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import WHOLE, Runner, RunResult

_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_RUN = '{python} -m kubereach run --kubeconfig "$KUBECONFIG" --report-dir {report}'


def in_lab(run_suite: Runner, script: str, *options: str) -> RunResult:
    lab = [
        "{python}",
        "-m",
        "kubereach",
        "lab",
        *options,
        "run",
        "--",
        "sh",
        "-c",
        script.replace("RUN", _RUN),
    ]
    return run_suite(lab, env={"PATH": _PATH})


def parts_of(output: str) -> dict[str, str]:
    """What a script wrote, by the headings that it wrote: ``== heading``."""
    return dict(part.split("\n", 1) for part in output.split("== ")[1:])


_GIVEN = """
for name in one two three; do kubectl create namespace $name; done
kubectl -n one create configmap theirs --from-literal=a=b
kubectl -n one create service clusterip theirs --tcp=80
kubectl -n one create deployment theirs --image=python:3.13-alpine -- python3 -c 'import time; time.sleep(999)'
RUN --namespace one,two,three clusterip.cross-namespace dns.qualified nodeport.every-node endpoints.scale
echo "code $?"
list() { for name in one two three; do kubectl -n $name get deploy,ds,sts,svc,cm,sa -o name | sed s,^,$name/,; done; }
echo "== three"; list
RUN --namespace one clusterip.from-pod clusterip.cross-namespace clusterip.from-node dns.qualified; echo "code $?"
echo "== kept"; RUN --keep --namespace one,two clusterip.from-pod; echo "code $?"
echo "== refused"; RUN --namespace two clusterip.from-pod; echo "code $?"
echo "== clean"; kubereach="{python} -m kubereach"
$kubereach clean --kubeconfig "$KUBECONFIG" --namespace one,two
$kubereach clean --kubeconfig "$KUBECONFIG" --namespace one,two --kept
echo "== after"; list
echo "== nowhere"; RUN --namespace four clusterip.from-pod; echo "code $?"
"""


def test_given_namespaces_keep_what_is_not_ours(run_suite: Runner) -> None:
    result = in_lab(run_suite, _GIVEN, "--nodes", "2")
    parts = parts_of(result.output)
    theirs = {f"one/{kind}/theirs" for kind in ("deployment.apps", "service", "configmap")}
    always = {
        f"{n}/{o}"
        for n in ("one", "two", "three")
        for o in ("configmap/kube-root-ca.crt", "serviceaccount/default")
    }
    assert "4 passed" in result.output.partition("== three")[0], result.output
    three = parts["three"].splitlines()
    assert theirs | always == {line for line in three if line.partition("/")[0] in ("one", "two", "three")}
    assert "clusterip.cross-namespace  unsupported: --namespace names only one" in parts["three"]
    assert "2 passed, 2 unsupported" in parts["three"]
    assert "code 0" in parts["kept"]
    assert "namespace two is in use by the run" in parts["refused"] and "which was kept" in parts["refused"]
    assert "code 2" in parts["refused"]
    assert "kept on purpose\n" in parts["clean"] and "deleted: run" in parts["clean"]
    assert set(parts["after"].split()) == theirs | always
    assert 'namespaces "four" not found' in parts["nowhere"] and "code 2" in parts["nowhere"]


_RESTRICTED = """
kubectl create namespace one; kubectl label namespace one pod-security.kubernetes.io/enforce=restricted
RUN --namespace one clusterip.from-pod clusterip.from-node endpoints.host-network nodeport.from-nodes; echo "code $?"
kubectl -n one get pods,ds -o name
"""


def test_a_namespace_without_the_host_network_has_no_node_vantages(run_suite: Runner) -> None:
    result = in_lab(run_suite, _RESTRICTED, "--nodes", "2")
    assert "1 passed, 3 unsupported" in result.output and "code 0" in result.output, result.output
    assert 'violates PodSecurity "restricted:latest": host namespaces' in result.output
    assert result.output.rstrip().endswith("code 0"), "all of ours has gone"


_KILLED = """
kubectl create namespace one; kubectl create namespace two
kubectl -n one create configmap theirs --from-literal=a=b
kubereach="{python} tests/conformance/impatient.py run --kubeconfig $KUBECONFIG"
kubereach="$kubereach --namespace one,two --report-dir {report}"
$kubereach >/dev/null & run=$!
until kubectl -n one get pods -o name | grep -q backend; do sleep 0.1; done
echo "== alive"; $kubereach clusterip.from-pod; echo "code $?"
kill -9 $run; wait $run
echo "== dead"; $kubereach clusterip.from-pod; echo "code $?"
for name in one two; do kubectl -n $name get deploy,ds,sts,pods,svc,cm,sa -o name; done
"""


def test_what_a_killed_run_left_in_given_namespaces_is_removed_by_the_next(run_suite: Runner) -> None:
    result = in_lab(run_suite, _KILLED, "--nodes", "1")
    parts = parts_of(result.output)
    assert "namespace one is in use by the run" in parts["alive"] and "code 2" in parts["alive"], (
        result.output
    )
    assert "1 passed" in parts["dead"] and "code 0" in parts["dead"], result.output
    left = parts["dead"].partition("code 0")[2].split()
    assert set(left) == {"configmap/theirs", "configmap/kube-root-ca.crt", "serviceaccount/default"}


_TWO = """
run() {
  {python} -m kubereach run --quick --kubeconfig "$KUBECONFIG" --report-dir {report}/$1 >{report}.$1 2>&1
}
run first & one=$!
run second & two=$!
wait $one; echo "first $?"
wait $two; echo "second $?"
tail -n 3 {report}.first {report}.second
kubectl get namespaces -o name
"""


def test_two_runs_at_once_do_not_notice_each_other(run_suite: Runner) -> None:
    script = _TWO.replace("--quick ", "") if WHOLE else _TWO
    result = in_lab(run_suite, script, "--nodes", "2")
    assert "first 0" in result.output and "second 0" in result.output, result.output
    assert "failed" not in result.output and "not measured" not in result.output
    assert "namespace/kubereach-" not in result.output


_NODES = """
kubectl cordon lab-worker
kubectl taint node lab-worker2 team=gpu:NoSchedule
RUN clusterip.from-pod clusterip.cross-namespace nodeport.every-node; echo "code $?"
kubectl get nodes -o name
echo "== all"; kubectl cordon lab-control-plane lab-worker3; RUN clusterip.from-pod; echo "code $?"
echo "== sample"; kubectl uncordon lab-control-plane lab-worker lab-worker3
RUN --set sample_nodes=2 clusterip.from-pod; echo "code $?"
echo "== every"; RUN --set sample_nodes=2 --all-nodes clusterip.from-pod; echo "code $?"
"""


def test_nodes_that_cannot_be_used_are_left_out_with_a_word(run_suite: Runner) -> None:
    result = in_lab(run_suite, _NODES.replace("lab-", "kubereach-"), "--nodes", "4")
    first = result.output.partition("== all")[0]
    parts = parts_of(result.output)
    assert "worker: cordoned\n" in first, result.output
    assert "worker2: tainted team=gpu:NoSchedule\n" in first
    assert "3 passed" in first and "code 0" in first
    assert "no node of the cluster can run kubereach's pods" in parts["all"] and "code 3" in parts["all"]
    assert "not in the sample of 2 of 3 nodes" in parts["sample"] and "1 passed" in parts["sample"]
    assert "not in the sample" not in parts["every"] and "1 passed" in parts["every"]


_REFUSED = """
begun=$(date +%s)
RUN clusterip.from-pod; echo "code $?"
kubectl create namespace one
RUN --namespace one clusterip.from-pod; echo "given $?"
echo "seconds $(($(date +%s) - begun))"
kubectl get namespaces -o name
kubectl -n one get all,cm -o name
"""


@pytest.mark.parametrize(
    ("fault", "words", "remedy"),
    [
        (
            "api.forbidden",
            "missing permissions in the cluster: create services",
            "kubereach rbac [--user NAME] | kubectl apply -f -",
        ),
        ("api.pod-security", 'violates PodSecurity "restricted:latest"', "labels of namespace"),
        ("api.quota", "exceeded quota: pods, requested: pods=1", "kubectl describe resourcequota"),
        ("api.limit-range", "minimum memory usage per Container is 64Mi", "kubectl describe limitrange"),
    ],
)
def test_refusals_are_told_and_leave_nothing(fault: str, words: str, remedy: str, run_suite: Runner) -> None:
    result = in_lab(run_suite, _REFUSED, "--nodes", "1", "--fault", fault)
    assert result.output.count(words) == 2, result.output
    assert result.output.count(remedy) == 2
    assert "code 3" in result.output and "given 3" in result.output
    assert "namespace/kubereach-" not in result.output
    assert "configmap/kubereach-peer" not in result.output


_SECRET = """
kubectl create secret docker-registry pull --docker-username=u --docker-password=p --docker-server=registry.example
RUN --keep --image-pull-secret pull clusterip.from-pod; echo "code $?"
kubectl get secrets -A -o name; kubectl get secrets -A -l app.kubernetes.io/managed-by=kubereach -o name | wc -l
kubectl get serviceaccounts -A -l app.kubernetes.io/managed-by=kubereach -o yaml | grep -A1 imagePullSecrets
{python} -m kubereach clean --kept --kubeconfig "$KUBECONFIG"
echo "== none"; RUN --image-pull-secret nobodys clusterip.from-pod; echo "code $?"
"""


def test_a_pull_secret_goes_where_the_pods_are(run_suite: Runner) -> None:
    result = in_lab(run_suite, _SECRET, "--nodes", "1")
    assert "1 passed" in result.output and "code 0" in result.output, result.output
    assert result.output.count("secret/pull\n") >= 4
    assert result.output.count("- name: pull") == 3
    assert 'secrets "nobodys" not found' in parts_of(result.output)["none"]


# a check that takes a while: the namespace must be there for as long as kubectl takes to start, thrice
_HELD = """
RUN --set stop_deadline=2 clusterip.idle-connection & run=$!
until ! kill -0 $run || name=$(kubectl get namespaces -o name | grep -- '-a$'); do sleep 0.1; done
name=${name#namespace/}
until ! kill -0 $run || kubectl -n $name create configmap held --from-literal=a=b; do sleep 0.1; done
kubectl -n $name patch configmap held --type merge -p '{"metadata": {"finalizers": ["example.com/hold"]}}'
wait $run; echo "code $?"
"""


def test_what_does_not_go_is_an_error_that_names_it(run_suite: Runner) -> None:
    result = in_lab(run_suite, _HELD, "--nodes", "1")
    assert "1 passed" in result.output and "code 3" in result.output, result.output
    assert "kubereach: left in the cluster after 2 s: Namespace kubereach-" in result.output
    assert "-a (" in result.output
