"""Puts a mutant in the place of a module that is imported already, so that nothing has to be imported again."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mutations import Mutant

_Place = tuple[str, int]


def swap(module: ModuleType, mutant: Mutant, source: str) -> None:
    """Make `module`, and whoever has taken something from it, do what the mutant does.

    Functions keep their identity and get the mutant's code and defaults, so that it does not matter who has imported
    them. Other values of the module are replaced wherever a module has the same under the same name.
    """
    code = compile(mutant.tree(source), str(module.__file__), "exec")
    scratch: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(code, scratch)
    mutated = {(c.co_qualname, c.co_firstlineno): c for c in _codes(code)}
    theirs = {_place(function): function for function in _functions(scratch)}
    for function in _functions(vars(module)):
        place = _place(function)
        other = theirs.get(place)
        if other is None or place not in mutated:
            continue
        function.__code__ = mutated[place]
        if not mutant.where or mutant.where.split(".")[0] in function.__qualname__:
            _take(function, other)
    for name, value in list(scratch.items()):
        old = vars(module).get(name)
        own = isinstance(old, type) and old.__module__ == module.__name__ and isinstance(value, type)
        if own and mutant.where.split(".")[0] in (name, ""):
            _fields(old, value)
    if not mutant.where:
        for name in _assigned(ast.parse(source).body[mutant.steps[0][1] or 0]):
            _replace(module, name, vars(module).get(name), scratch[name])


def _assigned(statement: ast.stmt) -> list[str]:
    """The names that a statement of a module gives values to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    names = [name for target in targets for name in getattr(target, "elts", [target])]
    return [name.id for name in names if isinstance(name, ast.Name)]


def _take(function: FunctionType, other: FunctionType) -> None:
    """The defaults that are plain values: others would be objects of a second module."""
    if other.__defaults__ and all(_plain(value) for value in other.__defaults__):
        function.__defaults__ = other.__defaults__
    if other.__kwdefaults__ and all(_plain(value) for value in other.__kwdefaults__.values()):
        function.__kwdefaults__ = other.__kwdefaults__


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, tuple, frozenset))


def _fields(old: type, new: type) -> None:
    """What a class has besides functions, and what a dataclass has made of it."""
    for name, value in vars(new).items():
        if _plain(value) and not name.startswith("__"):
            setattr(old, name, value)
    if hasattr(old, "__dataclass_fields__"):
        for name in ("__init__", "__eq__", "__hash__"):
            if name in vars(new):
                setattr(old, name, vars(new)[name])


def _replace(module: ModuleType, name: str, old: object, value: object) -> None:
    setattr(module, name, value)
    for other in list(sys.modules.values()):
        if isinstance(other, ModuleType) and vars(other).get(name) is old and other is not module:
            setattr(other, name, value)


def _place(function: FunctionType) -> _Place:
    return function.__code__.co_qualname, function.__code__.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(names: dict[str, Any]) -> Iterator[FunctionType]:
    """The functions of a module and of its classes, also those that decorators have wrapped."""
    own = names["__name__"]
    for value in names.values():
        if isinstance(value, type) and value.__module__ == own:
            members = [m.fget if isinstance(m, property) else m for m in vars(value).values()]
        else:
            members = [value]
        for member in members:
            while hasattr(member, "__wrapped__"):
                member = member.__wrapped__
            if isinstance(member, (classmethod, staticmethod)):
                member = member.__func__
            if isinstance(member, FunctionType) and member.__module__ == own:
                yield member
