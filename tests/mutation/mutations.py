"""Mutants: a module's source with one small mistake in it, of the kinds that programmers make.

Not mutated are annotations, texts (they decide nothing, and tests that repeat them word for word hold nothing), imports
and decorators.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
#: parts of the tree that say nothing of what is done
_LEFT_OUT = ("annotation", "returns", "decorator_list", "ctx")
#: characters of a mutant's text, before and after
_LONGEST = 90

#: (field, index) of each step from a module to a node; the index is None where the field is no list
Steps = tuple[tuple[str, "int | None"], ...]


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `module`, in `where` (the qualified name of a function or class, else ""), at `line`."""

    module: str
    where: str
    line: int
    before: str
    after: str
    #: which of several that read the same
    number: int
    #: the whole module's tree with it
    steps: Steps
    replacement: ast.AST

    @property
    def key(self) -> str:
        """What names it while other lines of its module change."""
        same = f" ({self.number})" if self.number > 1 else ""
        return f"{self.module}:{self.where}: `{self.before}` -> `{self.after}`{same}"

    def tree(self, source: str) -> ast.Module:
        """The module's tree with the mistake."""
        tree = ast.parse(source)
        node: ast.AST = tree
        for field, index in self.steps[:-1]:
            node = _child(node, field, index)
        field, index = self.steps[-1]
        if index is None:
            setattr(node, field, self.replacement)
        else:
            getattr(node, field)[index] = self.replacement
        return ast.fix_missing_locations(tree)


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module's source, in the order of its lines."""
    found: list[Mutant] = []
    counts: dict[tuple[str, str, str], int] = {}
    for steps, where, node in _nodes(ast.parse(source), (), ""):
        for replacement in _replacements(node):
            ast.copy_location(replacement, node)
            before, after = _difference(node, replacement)
            number = counts[where, before, after] = counts.get((where, before, after), 0) + 1
            line = getattr(node.target if isinstance(node, ast.comprehension) else node, "lineno", 0)
            found.append(Mutant(module, where, line, before, after, number, steps, replacement))
    return found


def _child(node: ast.AST, field: str, index: int | None) -> ast.AST:
    value = getattr(node, field)
    return value if index is None else value[index]


def _nodes(node: ast.AST, steps: Steps, where: str) -> Iterator[tuple[Steps, str, ast.AST]]:
    """Each node that may be mutated, with the steps that lead to it."""
    for field, value in ast.iter_fields(node):
        if field in _LEFT_OUT:
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_left_out(child):
                continue
            inside = where
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inside = f"{where}.{child.name}" if where else child.name
            yield (*steps, (field, index)), inside, child
            yield from _nodes(child, (*steps, (field, index)), inside)


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring, or ...
        return True
    if isinstance(node, ast.keyword) and node.arg == "repr":
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    # a name for types
    return (
        isinstance(node, ast.Assign) and isinstance(node.value, (ast.BinOp, ast.Subscript)) and _is_type(node)
    )


def _is_type(node: ast.Assign) -> bool:
    name = node.targets[0]
    return isinstance(name, ast.Name) and name.id.lstrip("_").istitle() and len(node.targets) == 1


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place, each with one mistake."""
    if isinstance(node, ast.expr):
        yield from _expressions(node)
    elif isinstance(node, ast.comprehension):
        for number in range(len(node.ifs)):
            yield _with(node, ifs=node.ifs[:number] + node.ifs[number + 1 :])
    elif isinstance(node, ast.stmt):
        yield from _statements(node)


def _expressions(node: ast.expr) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield _with(node, ops=[*node.ops[:number], other(), *node.ops[number + 1 :]])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for number in range(len(node.values)):
            left = node.values[:number] + node.values[number + 1 :]
            yield left[0] if len(left) == 1 else _with(node, values=left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Add, ast.Sub)):
            yield copy.deepcopy(node.left)
        elif type(node.op) in _OPERATORS:
            yield _with(node, op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield ast.Constant(not value)
        elif isinstance(value, (int, float)):
            yield ast.Constant(value + 1 if isinstance(value, int) else value * 2 or 1.0)
    elif isinstance(node, ast.IfExp):
        yield copy.deepcopy(node.body)
        yield copy.deepcopy(node.orelse)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            yield _with(node, func=ast.Name(_FUNCTIONS[node.func.id], ast.Load()))
        for number, keyword in enumerate(node.keywords):
            if keyword.arg != "repr" and not isinstance(keyword.value, ast.Constant):
                yield _with(node, keywords=node.keywords[:number] + node.keywords[number + 1 :])


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, (ast.If, ast.While)):
        yield _with(node, test=ast.Constant(False))
        if isinstance(node, ast.If):
            yield _with(node, test=ast.Constant(True))
    elif isinstance(node, ast.For):
        yield _with(node, iter=ast.Tuple([], ast.Load()))
    elif isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.Delete)):
        yield ast.Pass()
    elif isinstance(node, (ast.Assign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(node, ast.AugAssign) or isinstance(targets[0], (ast.Attribute, ast.Subscript)):
            yield ast.Pass()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Return):
        if node.value is None:
            yield ast.Pass()
        elif not isinstance(node.value, ast.Constant):
            yield _with(node, value=ast.Constant(None))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    made = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _difference(node: ast.AST, replacement: ast.AST) -> tuple[str, str]:
    """What was there and what is there instead, in short."""
    if isinstance(node, ast.Call) and isinstance(replacement, ast.Call):
        kept = {keyword.arg for keyword in replacement.keywords}
        for keyword in node.keywords:
            if keyword.arg not in kept:
                function = ast.unparse(node.func)
                return _short(f"{function}(..., {ast.unparse(keyword)})"), f"{function}(...)"
    return _words(node), _words(replacement)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _words(node: ast.AST) -> str:
    """A node in one line; of a statement that holds others its head alone."""
    if isinstance(node, (ast.If, ast.While)):
        return _short(f"{type(node).__name__.lower()} {ast.unparse(node.test)}:")
    if isinstance(node, ast.For):
        return _short(f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}:")
    return _short(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))))
