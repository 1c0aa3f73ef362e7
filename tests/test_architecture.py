"""ARCHITECTURE.md is true: what it names is there, and what is there it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kubereach"
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def test_at_the_top_there_are_packages_only() -> None:
    files = {path.name for path in PACKAGE.glob("*.py")}
    assert files == {"__init__.py", "__main__.py"}


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE)) == packages


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+/)+\w*(?:\.py)?)`", TEXT))))
def test_files_and_folders_that_are_named_are_there(name: str) -> None:
    assert (PACKAGE / name).exists() or (ROOT / name).exists()


@pytest.mark.parametrize("package", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_each_package_has_a_folder_of_tests(package: str) -> None:
    assert list((ROOT / "tests" / package).rglob("test_*.py"))


@pytest.mark.parametrize(
    "name",
    sorted(set(re.findall(r"`((?:\w+/)+\w+)\.\w+`", (ROOT / "docs" / "verdicts.md").read_text()))),
)
def test_what_holds_a_verdict_is_where_its_page_says(name: str) -> None:
    assert (PACKAGE / f"{name}.py").exists() or (ROOT / f"{name}.py").exists()
