"""The whole suite on a healthy lab: by every way of starting it, with the same result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kubereach.model.check import MULTI_NODE
from kubereach.run.catalogue import read_checks, suites_folder
from kubereach.selftest.table import ABSENT
from tests.conformance.conftest import ROOT, WHOLE, Runner

ALL = {check.id for check in read_checks(suites_folder(ROOT))}

#: imports of the lab by a run that was given a kubeconfig
_WITHOUT_LAB = """
import sys
from kubereach.cli.main import main
code = main(sys.argv[1:])
lab = [name for name in sys.modules if name.startswith("kubereach_lab")]
assert not lab, lab
sys.exit(code)
"""

#: what one IP family has not
NOT_ONE_FAMILYS = frozenset(check for check in ABSENT if check.startswith("dualstack."))


def _assert_conformant(result, checks=frozenset(ALL), absent=frozenset(ABSENT)):
    assert result.code == 0, result.output
    assert result.report["verdict"] == "conformant", result.output
    assert result.ids("pass") | result.ids("unsupported") | result.ids("noted") == checks
    assert result.ids("unsupported") <= absent, "a lab of three nodes has every other feature"
    assert all(check["known_defect"] for check in result.report["checks"] if check["verdict"] == "noted")


def _assert_quick(result):
    """A quick run: the core checks that wait for nothing, all of them passed."""
    quick = {
        check.id for check in read_checks(suites_folder(ROOT)) if check.level == "core" and not check.slow
    }
    assert result.code == 0, result.output
    assert result.report["verdict"] == "partial"
    assert "core checks not selected" in result.report["reason"]
    assert result.ids("pass") == quick, result.output


def test_on_the_lab(run_suite: Runner) -> None:
    result = run_suite(["{python}", "-m", "kubereach", "run", "--report-dir", "{report}"])
    _assert_conformant(result)
    # some 20 s on two cores that have nothing else to do
    assert result.report["run"]["seconds"] < 60, result.output


def test_a_quick_run_has_the_core_checks_that_wait_for_nothing(run_suite: Runner) -> None:
    result = run_suite(["{python}", "-m", "kubereach", "run", "--quick", "--report-dir", "{report}"])
    _assert_quick(result)
    # six seconds on a machine that has nothing else to do
    assert result.report["run"]["seconds"] < 30, result.output


def test_plain_pytest_does_the_same(run_suite: Runner) -> None:
    _assert_quick(
        run_suite(["{python}", "-m", "pytest", "--kubereach-quick", "--kubereach-report-dir={report}"])
    )


def test_on_a_dual_stack_lab(run_suite: Runner) -> None:
    run = ["{python}", "-m", "kubereach", "run", "--dual-stack", "--report-dir", "{report}"]
    if WHOLE:
        result = run_suite(run)
        _assert_conformant(result, absent=ABSENT.keys() - NOT_ONE_FAMILYS)
    else:
        result = run_suite([*run, "dualstack", "clusterip.from-pod"])
        assert result.code == 0, result.output
        assert result.ids("pass") == {*NOT_ONE_FAMILYS, "clusterip.from-pod"}, result.output
    assert result.report["target"]["description"] == "embedded lab, 3 nodes, dual stack"


#: checks that depend on which IP family is the cluster's first: record types, addresses of nodes and of pods
_OF_A_FAMILY = (
    "dns", "headless", "externalname", "clusterip.from-pod", "clusterip.external-ips", "clusterip.undeclared-port",
    "nodeport.includes-clusterip", "nodeport.from-nodes", "nodeport.localhost", "loadbalancer.includes-node-port",
    "loadbalancer.health-check-node-port", "endpoints.manual", "lifecycle.type-changes",
)  # fmt: skip


def test_on_an_ipv6_lab(run_suite: Runner) -> None:
    """A cluster without IPv4: record types and addresses are of the family that it has."""
    run = ["{python}", "-m", "kubereach", "run", "--ip-family", "ipv6", "--report-dir", "{report}"]
    result = run_suite(run if WHOLE else [*run, *_OF_A_FAMILY])
    assert result.report["target"]["description"] == "embedded lab, 3 nodes, ipv6"
    if WHOLE:
        _assert_conformant(result)
    else:
        assert result.code == 0, result.output
        assert result.ids("unsupported") == {"dns.external", "dns.internal-only"}, result.output
        assert not result.ids("fail") | result.ids("error") | result.ids("noted"), result.output
    asked = [path["address"] for check in result.report["checks"] for path in check["paths"]]
    assert asked and not any("10.96." in address or "172.18." in address for address in asked)


@pytest.mark.skipif(not WHOLE, reason="half a minute: make nightly has it")
def test_on_a_dual_stack_lab_whose_first_family_is_ipv6(run_suite: Runner) -> None:
    run = [
        "{python}",
        "-m",
        "kubereach",
        "run",
        "--ip-family",
        "ipv6",
        "--dual-stack",
        "--report-dir",
        "{report}",
    ]
    _assert_conformant(run_suite(run), absent=ABSENT.keys() - NOT_ONE_FAMILYS)


def test_on_one_node(run_suite: Runner) -> None:
    """What needs two nodes cannot be told: the verdict is partial, and says so."""
    result = run_suite(["{python}", "-m", "kubereach", "run", "--nodes", "1", "--report-dir", "{report}"])
    multi = {check.id for check in read_checks(suites_folder(ROOT)) if MULTI_NODE in check.needs}
    assert result.code == 0, result.output
    assert result.report["verdict"] == "partial"
    assert result.ids("unsupported") - ABSENT.keys() == multi
    assert not result.ids("fail") | result.ids("error")


@pytest.mark.skipif(not WHOLE, reason="half a minute: make nightly has it")
def test_on_five_nodes(run_suite: Runner) -> None:
    _assert_conformant(
        run_suite(["{python}", "-m", "kubereach", "run", "--nodes", "5", "--report-dir", "{report}"])
    )


def test_a_public_name(run_suite: Runner) -> None:
    """The lab's name servers know one."""
    command = ["{python}", "-m", "kubereach", "run", "dns.external", "--report-dir", "{report}"]
    assert run_suite([*command, "--external-name", "public.example"]).ids("pass") == {"dns.external"}
    assert run_suite([*command, "--external-name", "unknown.example"]).ids("fail") == {"dns.external"}


def test_through_a_kubeconfig_alone(run_suite: Runner) -> None:
    """Nothing in the suites or the engine knows the lab."""
    inside = ["{python}", "-c", _WITHOUT_LAB, "run", "--quick", "--kubeconfig=/run/kubereach/kubeconfig"]
    result = run_suite(
        ["{python}", "-m", "kubereach", "lab", "run", "--", *inside, "--report-dir", "{report}"]
    )
    _assert_quick(result)
    assert result.report["target"]["name"] == "existing"


@pytest.mark.skipif(
    shutil.which("unshare") is None, reason="needs unshare (util-linux) to become an ordinary user"
)
def test_as_an_ordinary_user(run_suite: Runner) -> None:
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    command = ["{python}", "-m", "kubereach", "run", "--quick", "--report-dir", "{report}"]
    _assert_quick(run_suite([*user, *command]))


def test_from_a_wheel_in_an_empty_folder(run_suite: Runner, tmp_path: Path) -> None:
    """The wheel carries suites/ and manifests/."""
    wheels, site, empty = tmp_path / "wheels", tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(wheels.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True, capture_output=True
    )
    code = (
        "import sys; from kubereach.cli import main; print(main.__file__); sys.exit(main.main(sys.argv[1:]))"
    )
    result = run_suite(
        ["{python}", "-c", code, "run", "clusterip.from-pod", "--report-dir", "{report}"],
        cwd=empty,
        env={"PYTHONPATH": str(site)},
    )
    assert result.code == 0, result.output
    assert result.output.startswith(str(site)), "the wheel's code ran, not the checkout's"
    assert result.ids("pass") == {"clusterip.from-pod"}
