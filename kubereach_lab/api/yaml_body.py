"""YAML bodies as the API server reads them: timestamps are strings, and keys that come twice are told.

Source: sigs.k8s.io/yaml, whose strict form gives the words.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_HEAD = "yaml: unmarshal errors:"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Remembers keys that a mapping has twice; the last one counts."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.twice: list[tuple[int, str]] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, value_node in node.value:
            if key_node.value in seen:
                self.twice.append((value_node.start_mark.line + 1, key_node.value))
            elif isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def warnings_of(problems: list[str]) -> list[str]:
    """The warnings that problems make: one for each line that YAML's complain of."""
    warnings: list[str] = []
    for problem in problems:
        head, *lines = problem.split("\n")
        warnings += [line.strip() for line in lines] if head == _HEAD else [problem]
    return warnings


def load(text: bytes) -> tuple[Any, list[str]]:
    """The value of a YAML document, and what is wrong with it without being an error. Raises `yaml.YAMLError`."""
    loader = _Loader(text)
    try:
        value = loader.get_single_data()
    finally:
        loader.dispose()
    if not loader.twice:
        return value, []
    lines = [f'  line {line}: key "{key}" already set in map' for line, key in sorted(loader.twice)]
    return value, ["\n".join([_HEAD, *lines])]
