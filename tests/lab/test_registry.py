"""What is particular to a kind is its strategy's, and the registry's is what is common to all."""

from __future__ import annotations

import ast
from pathlib import Path

from kubereach_lab import registry
from kubereach_lab.resources import BY_NAME, RESOURCES


def test_the_registry_knows_no_kind_by_its_name() -> None:
    tree = ast.parse(Path(registry.__file__).read_text())
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not said & (BY_NAME.keys() | {resource.kind for resource in RESOURCES})
