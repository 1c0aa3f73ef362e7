"""Where no lab can start, a selftest has measured nothing."""

from __future__ import annotations

import pytest

from kubereach.cli.main import main
from kubereach.selftest import command
from kubereach_lab import LabError, launch


@pytest.fixture(autouse=True)
def no_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(*_: object) -> None:
        raise AssertionError("a run would begin")

    monkeypatch.setattr(command, "Pool", pool)


def test_packages_that_are_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "_PACKAGES", ("no_such_package",))
    assert main(["selftest", "--fault", "dns.no-ptr"]) == 3
    output = capsys.readouterr()
    assert "the lab needs Python packages that are not installed: no_such_package" in output.err
    assert "pip install '.[lab]'" in output.err
    assert "not caught by" not in output.out


def test_a_lab_that_does_not_come_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        raise LabError("user namespaces are forbidden", "allow them")

    monkeypatch.setattr(launch.Lab, "start", refuse)
    assert main(["selftest", "--fault", "dns.no-ptr"]) == 3
    assert "user namespaces are forbidden\n  allow them" in capsys.readouterr().err
