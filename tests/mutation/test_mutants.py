"""The mutants themselves: that there are such mistakes, that they are made, and that survivors are explained."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from explained import explained
from modules import MODULES, REPOSITORY, all_mutants, held_by
from mutations import mutants
from swapped import swap

SOURCE = '''"""A module."""
from __future__ import annotations
from dataclasses import dataclass, field
import functools

LIMIT = 3
Names = dict[str, int]


@dataclass
class Box:
    """A box."""

    size: int = 1
    held: list[int] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.held) >= self.size


def wrapped(function):
    @functools.wraps(function)
    def call(*arguments, **more):
        return function(*arguments, **more)
    return call


@wrapped
def small(number: int, most: int = 5) -> str:
    if not 0 < number < most or number == LIMIT:
        raise ValueError(f"{number + 1} is wrong")
    return f"{number}"


def each(numbers):
    return [number for number in numbers if number and number > 2]
'''


def pairs(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants("m", source)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a == b", {"a != b"}),
        ("a is b", {"a is not b"}),
        ("a in b", {"a not in b"}),
        ("a and b", {"a or b", "a", "b"}),
        ("not a", {"a"}),
        ("a - b", {"a"}),
        ("a & b", {"a | b"}),
        ("a * b", {"a / b"}),
        ("a if b else c", {"a", "c"}),
        ("any(a)", {"all(a)"}),
        ("min(a)", {"max(a)"}),
        ("a(b=c)", {"a(...)"}),
        ("3", {"4"}),
        ("0.5", {"1.0"}),
        ("True", {"False"}),
    ],
)
def test_mistakes_in_expressions(before: str, after: set[str]) -> None:
    found = {new for old, new in pairs(f"x = {before}") if old in (before, "a(..., b=c)")}
    assert found == after


@pytest.mark.parametrize(
    ("statement", "after"),
    [
        ("return a", {"return None"}),
        ("if a:\n        b", {"if False:", "if True:"}),
        ("while a:\n        b", {"while False:"}),
        ("for a in b:\n        c", {"for a in ():"}),
        ("raise a", {"pass"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"pass"}),
        ("a()", {"pass"}),
        ("a = [b for b in c if d]", {"for b in c"}),
    ],
)
def test_mistakes_in_statements(statement: str, after: set[str]) -> None:
    assert {new for _, new in pairs(f"def f():\n    {statement}")} == after


def test_what_decides_nothing_is_left_alone() -> None:
    source = '''"""Text."""
import a
from b import c
def f(x: int | None = d, *, y: "e" = f"{1 + 2}") -> int | None:
    """Text 1."""
'''
    assert pairs(source) == set()


def test_each_mutant_has_a_name_of_its_own() -> None:
    every = all_mutants()
    assert len({mutant.key for mutant in every}) == len(every) > 1000
    assert {mutant.module for mutant in every} == set(MODULES)


# --- in the place of what is imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """A module, and a second one that has taken everything from it."""
    name = f"mutated_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / f"{name}_user.py").write_text(f"from {name} import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name), importlib.import_module(f"{name}_user")
    for imported in (name, f"{name}_user"):
        del sys.modules[imported]


def mutate(module, before: str, after: str) -> None:
    (mutant,) = [m for m in mutants(module.__name__, SOURCE) if (m.before, m.after) == (before, after)]
    swap(module, mutant, SOURCE)


def test_a_mutant_is_whoever_has_imported_it(module) -> None:
    _, user = module
    assert user.small(4) == "4"
    mutate(module[0], "number == LIMIT", "number != LIMIT")
    with pytest.raises(ValueError, match="5 is wrong"):
        user.small(4)
    assert user.small(3) == "3"


def test_defaults_constants_fields_and_properties_are_mutated_too(module) -> None:
    own, user = module
    mutate(own, "5", "6")
    assert user.small(5) == "5"
    mutate(own, "3", "4")
    assert user.LIMIT == own.LIMIT == 4
    with pytest.raises(ValueError, match="wrong"):
        user.small(4)
    box = user.Box()
    mutate(own, "len(self.held) >= self.size", "len(self.held) < self.size")
    assert box.full
    mutate(own, "1", "2")
    assert user.Box().size == 2
    assert isinstance(user.Box().held, list)


# --- what kills them


def test_the_tests_that_are_to_kill_are_there() -> None:
    for names in MODULES.values():
        for name in names:
            assert (REPOSITORY / "tests" / name).is_file(), name


def test_every_explanation_is_of_a_mutant_that_there_is() -> None:
    """Which of them survive, `make mutants` says."""
    known = {mutant.key for mutant in all_mutants()}
    assert explained()
    assert set(explained()) <= known, set(explained()) - known


def test_mutants_are_killed() -> None:
    command = [sys.executable, str(Path(__file__).parent), "kubereach.model.tally", "--sample", "3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.stdout.endswith("kubereach.model.tally: 3 of 3 killed\nin all: 3 of 3 killed, 100.0%\n"), done
    assert done.returncode == 0


def test_every_module_has_tests_that_look_for_its_mutants() -> None:
    """By the path of their file: one that is not found would leave its module without any, and all mutants killed."""
    names = sorted({name for names in MODULES.values() for name in names})
    items = [SimpleNamespace(path=REPOSITORY / "tests" / name) for name in reversed(names)]
    for files in MODULES.values():
        found = [item.path.relative_to(REPOSITORY / "tests").as_posix() for item in held_by(items, files)]
        assert found == list(files)
    with pytest.raises(LookupError, match=r"no test of expect/test_gone\.py"):
        held_by(items, ("expect/test_gone.py",))
