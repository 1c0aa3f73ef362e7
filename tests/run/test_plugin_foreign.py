"""Projects of others: kubereach is installed beside them, and its options must not clash with theirs."""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from kubereach.run.options import OPTIONS
from tests.uninstalled import packages_without

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


_FOREIGN_CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--kubeconfig", default="theirs")
    parser.addoption("--keep-cluster", default="theirs")
"""

_FOREIGN_TEST = """
from kubereach.run import options

def test_options(pytestconfig):
    assert not pytestconfig.pluginmanager.hasplugin("pytest-kind")
    assert pytestconfig.getoption("kubeconfig") == "mine"
    value_of = options.of_pytest(pytestconfig)
    assert options.validated(value_of).target == "lab"
    assert value_of("kubereach_kubeconfig") is None
    assert value_of("kubereach_keep_cluster") is False
    assert value_of("kubereach_cluster_name") == "ours"
"""


def test_without_pytest_kind_its_names_are_theirs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(_FOREIGN_CONFTEST)
    file = pytester.makepyfile(_FOREIGN_TEST)
    monkeypatch.setenv("PYTHONPATH", packages_without("pytest_kind", pytester.path / "packages"))
    options = ["--kubeconfig=mine", "--kubereach-cluster-name=ours"]
    result = pytester.run(sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", file, *options)
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(["*1 passed*"])


def test_only_the_extra_kind_brings_pytest_kind() -> None:
    """It adds options without a prefix to every pytest of the environment."""
    needed = [one for one in requires("kubereach") or [] if one.startswith("pytest-kind")]
    assert {re.sub(r".*; extra == .(kind|dev).$", r"\1", one) for one in needed} == {"kind", "dev"}


def test_every_option_has_the_prefix(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    (section,) = re.findall(r"^conformance of a cluster's Services.*?\n\n", result.stdout.str(), re.M | re.S)
    listed = re.findall(r"^  (--[a-z-]+)", section, re.M)
    assert listed == [f"--kubereach-{option.name}" for option in OPTIONS]
