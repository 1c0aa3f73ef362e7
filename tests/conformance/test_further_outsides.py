"""Further outside vantages take part in a run like this machine: their failures are the run's."""

from __future__ import annotations

from tests.conformance.conftest import Runner

_RUN = ["{python}", "-m", "kubereach", "run", "--nodes=2", "--report-dir={report}", "nodeport.every-node"]


def test_a_further_outside_vantage_is_probed_from(run_suite: Runner) -> None:
    result = run_suite(
        [*_RUN, "--outside-via={python}", "--outside-via=edge1=sh -c 'exec {python} \"$@\"' sh"]
    )
    assert result.code == 0, result.output
    paths = {path["vantage"]: path for check in result.report["checks"] for path in check["paths"]}
    assert len(paths) == 3 and "outside" in paths
    assert all(path["outcomes"]["ok"] for path in paths.values())
    assert "outside@edge1" in paths


def test_a_command_that_leads_nowhere_is_an_error_and_no_verdict(run_suite: Runner) -> None:
    result = run_suite([*_RUN, "--outside-via=sh -c 'echo no route to edge1 >&2; exit 255'"])
    assert result.code == 3, result.output
    assert "no route to edge1" in result.output
    assert "Run the command by hand" in result.output
