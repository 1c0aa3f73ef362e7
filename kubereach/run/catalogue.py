"""Runs the declarations of checks in the suites' source, and nothing else of it: fast enough to list them."""

from __future__ import annotations

import ast
import difflib
import fnmatch
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import kubereach
from kubereach.model.check import Check, assert_unique, declaration_of
from kubereach.model.check import check as declare
from kubereach.model.errors import UsageError

#: the decorator that hands over what the others have made of a function
_COLLECT = "collect a check"


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
        "this installation contains no suites", "Reinstall kubereach, or run it from its repository."
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
        found += _declared(tree, file)
    assert_unique(found)
    return found


def matching(patterns: Iterable[str], checks: Sequence[Check]) -> set[str]:
    """The ids that `patterns` (ids, globs or topics) name. Raises `UsageError` for one that names none."""
    ids = [c.id for c in checks]
    matched: set[str] = set()
    for pattern in patterns:
        hits = fnmatch.filter(ids, pattern) or [check.id for check in checks if check.topic == pattern]
        if not hits:
            raise UsageError(f"no check matches {pattern}", suggestion(pattern, ids))
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


def _declared(tree: ast.Module, file: Path) -> list[Check]:
    """The checks of a file, as `kubereach.model.check` declares them when the file's declarations alone are run.

    The functions have no bodies and no other decorators then; what is imported from `kubereach` itself is known.
    """
    found: list[object] = []
    known = {"__name__": file.stem, _COLLECT: found.append}
    bare: list[ast.stmt] = [node for node in tree.body if _is_ours(node)]
    for node in _functions(tree.body):
        if declarations := list(filter(_is_check, node.decorator_list)):
            declarations.insert(0, ast.copy_location(ast.Name(_COLLECT, ast.Load()), node))
            text = ast.copy_location(ast.Constant(ast.get_docstring(node, clean=False) or ""), node)
            body: list[ast.stmt] = [ast.copy_location(ast.Expr(text), node)]
            nothing = ast.arguments([], [], None, [], [], None, [])
            bare.append(ast.copy_location(ast.FunctionDef(node.name, nothing, body, declarations), node))
    try:
        exec(compile(ast.Module(bare, []), str(file), "exec"), known)
    except NameError as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        raise UsageError(
            f"{file}:{line}: kubereach cannot read the declaration of this check without running the "
            f"file: {error}",
            "Use strings, constants of kubereach, and sums or tuples of those.",
        ) from None
    return [declared for one in found if (declared := declaration_of(one))]


def _functions(body: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body)


def _is_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module in (kubereach.__name__, declare.__module__)


def _is_check(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == declare.__name__
