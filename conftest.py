"""Loads kubereach's pytest plugin in a checkout where it is not installed; all else is in the package."""

from __future__ import annotations

import pytest

from kubereach.run.plugin import ensure_plugin


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    ensure_plugin(parser, pluginmanager)
