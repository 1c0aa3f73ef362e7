"""From the rules that are to the rules that shall be: the least commands, in transactions that the kernel takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubereach_lab.proxy.service import Rules

#: longest transaction, in characters. What `nft` sends has to fit into its socket's buffer, which nobody but the
#: machine's root may enlarge: with Linux's default of 208 KiB, some 100,000 characters do.
_LONGEST = 50_000


def transactions(table: str, changes: Iterable[tuple[Rules, Rules]]) -> list[str]:
    """Scripts for `nft`, to be applied in order, that change Services' rules, each given as (old, new).

    What is the same in both is not mentioned, so that established connections and affinity are left alone. A script
    is one transaction, and each leaves every Service working: what is new is built before anything refers to it, then
    each Service is switched over, and what nothing refers to any more goes last.
    """
    changes = list(changes)
    steps: list[list[str]] = []
    for old, new in changes:
        steps += _build(table, old, new)
    handed_over = _handed_over(changes)
    if handed_over:
        steps.append([f"delete element {table} {where} {{ {key} }}" for where, key in sorted(handed_over)])
    steps += [_switch(table, old, new, handed_over) for old, new in changes]
    for old, new in changes:
        steps += _remove(table, old, new)
    return list(_packed(steps))


def _build(table: str, old: Rules, new: Rules) -> Iterator[list[str]]:
    """Sets and chains that are new. A chain goes with its rules, those that it leads to come first."""
    for name, definition in new.sets.items():
        if name not in old.sets:
            yield [f"add set {table} {name} {{ {definition} }}"]
    chains = [name for name in new.chains if name not in old.chains]
    for name in chains:
        yield [f"add chain {table} {name}"]
    for name in chains:
        yield [f"add rule {table} {name} {rule}" for rule in new.chains[name]]


def _switch(table: str, old: Rules, new: Rules, handed_over: set[tuple[str, str]]) -> list[str]:
    """Chains that change, and the elements that lead to a Service's chains, all at once."""
    found: list[str] = []
    for name, rules in new.chains.items():
        if name in old.chains and old.chains[name] != rules:
            found.append(f"flush chain {table} {name}")
            found += [f"add rule {table} {name} {rule}" for rule in rules]
    for (where, key), value in old.elements.items():
        if new.elements.get((where, key)) != value and (where, key) not in handed_over:
            found.append(f"delete element {table} {where} {{ {key} }}")
    for (where, key), value in new.elements.items():
        if old.elements.get((where, key)) != value:
            found.append(f"add element {table} {where} {{ {key}{' : ' + value if value else ''} }}")
    return found


def _remove(table: str, old: Rules, new: Rules) -> Iterator[list[str]]:
    gone = [name for name in old.chains if name not in new.chains]
    for name in gone:
        yield [f"flush chain {table} {name}"]
    for name in gone:
        yield [f"delete chain {table} {name}"]
    for name in old.sets:
        if name not in new.sets:
            yield [f"delete set {table} {name}"]


def _handed_over(changes: list[tuple[Rules, Rules]]) -> set[tuple[str, str]]:
    """Elements that one Service gives up and another takes, such as a node port: the first must go first."""
    given_up = {key for old, new in changes for key in old.elements if key not in new.elements}
    taken = {key for old, new in changes for key in new.elements if key not in old.elements}
    return given_up & taken


def _packed(steps: Iterable[list[str]]) -> Iterator[str]:
    """Steps joined to scripts of bearable length; none is cut."""
    script: list[str] = []
    length = 0
    for step in steps:
        text = "\n".join(step)
        if script and length + len(text) > _LONGEST:
            yield "\n".join(script)
            script, length = [], 0
        if text:
            script.append(text)
            length += len(text) + 1
    if script:
        yield "\n".join(script)
