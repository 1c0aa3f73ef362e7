"""Reads the declarations of checks from the suites' source without importing it: fast enough to list them."""

from __future__ import annotations

import ast
import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

import kubereach
from kubereach.model import check as declarations
from kubereach.model.check import Check, assert_unique, make
from kubereach.model.errors import UsageError

_CONSTANTS = {
    name: value for name, value in vars(declarations).items() if isinstance(value, str) and name.isupper()
}


def suites_folder(cwd: Path | None = None) -> Path:
    """The suites of the working folder when it has any, else those that came with the package.

    A working folder has suites when it holds ``suites/`` and ``manifests/``. Raises `UsageError`.
    """
    package = Path(kubereach.__file__).parent
    # the last one is a checkout that was put on the path without being installed
    for folder in (cwd or Path.cwd(), package / "_data", package.parent):
        if (folder / "suites").is_dir() and (folder / "manifests").is_dir():
            return folder / "suites"
    raise UsageError(
        "this installation has no suites", "Install kubereach again, or run it from its repository."
    )


def manifests_for(test_file: Path) -> Path:
    """The manifests that belong to a file of checks: the nearest ``manifests/`` beside one of its parents."""
    for parent in test_file.parents:
        if (parent / "manifests" / "services").is_dir():
            return parent / "manifests"
    return suites_folder().parent / "manifests"


def read_checks(folder: Path) -> list[Check]:
    """Every check declared in ``test_*.py`` under `folder`, by file and line. Raises `UsageError`."""
    found: list[Check] = []
    for file in sorted(folder.rglob("test_*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        except SyntaxError as error:
            raise UsageError(f"{file}:{error.lineno}: {error.msg}", "Correct the syntax.") from None
        found += [
            declared
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and (declared := _declared(node, file))
        ]
    assert_unique(found)
    return found


def matching(patterns: Iterable[str], checks: Sequence[Check]) -> set[str]:
    """The ids that `patterns` (ids, globs or topics) name. Raises `UsageError` for one that names none."""
    ids = [c.id for c in checks]
    matched: set[str] = set()
    for pattern in patterns:
        hits = fnmatch.filter(ids, pattern) or [check.id for check in checks if check.topic == pattern]
        if not hits:
            raise UsageError(f"no check is called {pattern}", suggestion(pattern, ids))
        matched.update(hits)
    return matched


def suggestion(pattern: str, ids: Sequence[str]) -> str:
    """A remedy for an id that is not there: close matches, or the topic's own checks, or where to look."""
    topic = pattern.partition(".")[0]
    near = (
        difflib.get_close_matches(pattern, ids, 3, 0.6)
        or [i for i in ids if i.partition(".")[0] == topic][:5]
    )
    return f"Did you mean {', '.join(near)}?" if near else "See `kubereach list` for the ids."


def _declared(node: ast.FunctionDef, file: Path) -> Check | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "check":
            where = f"{file}:{decorator.lineno}"
            slow = any(
                k.arg == "slow" and getattr(k.value, "value", None) is True for k in decorator.keywords
            )
            least = [getattr(k.value, "value", 1) for k in decorator.keywords if k.arg == "minimum"]
            named = {
                k.arg: _value(k.value, where) for k in decorator.keywords if k.arg not in ("slow", "minimum")
            }
            ids = [_value(argument, where) for argument in decorator.args] or [named.get("id")]
            needs, changes = (
                (words,) if isinstance(words, str) else tuple(words or ())
                for words in (named.get("needs"), named.get("changes"))
            )
            return make(
                str(ids[0]),
                str(named.get("level", declarations.CORE)),
                needs,
                str(named.get("source") or ""),
                ast.get_docstring(node) or "",
                file,
                node.name,
                slow,
                changes,
                *least,
            )
    return None


def _value(node: ast.expr, where: str) -> str | tuple[str, ...] | None:
    """A declaration's argument: a string, a constant of `kubereach.model.check`, a sum or tuple of those."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_value(node.left, where)}{_value(node.right, where)}"
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(str(_value(element, where)) for element in node.elts)
    raise UsageError(
        f"{where}: the declaration of a check has to be readable without running it",
        "Use strings, constants of kubereach.model.check, and sums or tuples of those.",
    )
