"""Projects of others: kubereach is installed beside them, and its options must not clash with theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubereach.run.options import OPTIONS

pytest_plugins = ["pytester"]

_OPTIONS = sorted({option.name for option in OPTIONS if not option.shared})

_CONFTEST = f"""
def pytest_addoption(parser):
    for name in {_OPTIONS!r}:
        parser.addoption(f"--{{name}}", default="theirs")
"""

_TEST = """
def test_options(pytestconfig):
    assert pytestconfig.getoption("level") == "mine"
    assert pytestconfig.getoption("kubereach_level") == []
    assert pytestconfig.getoption("require") == pytestconfig.getoption("kind_config") == "theirs"
    assert pytestconfig.getoption("cluster_name") == "a"
    assert pytestconfig.pluginmanager.hasplugin("kubereach")
    assert pytestconfig.pluginmanager.hasplugin("pytest-kind")
"""


@pytest.mark.parametrize("order", ["kubereach first", "pytest-kind first", "installed"])
def test_their_options_are_theirs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    assert {"level", "nodes", "target", "image", "keep", "check", "context", "namespace"} <= set(_OPTIONS)
    assert {"quick", "set", "fault", "require"} <= set(_OPTIONS)
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(_TEST)
    plugins: list[str] = []
    if order != "installed":
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        plugins = ["-p", "kubereach", "-p", "pytest-kind"]
        plugins = plugins if order == "kubereach first" else plugins[2:] + plugins[:2]
    result = pytester.runpytest_subprocess(
        *plugins, "-p", "no:cacheprovider", "--level=mine", "--cluster-name=a"
    )
    assert result.ret == 0, result.outlines
    result.assert_outcomes(passed=1)


def test_every_option_has_the_prefix(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    (section,) = re.findall(r"^conformance of a cluster's Services.*?\n\n", result.stdout.str(), re.M | re.S)
    listed = re.findall(r"^  (--[a-z-]+)", section, re.M)
    assert listed == [f"--kubereach-{option.name}" for option in OPTIONS]
