"""Every fault that can be named is one that the lab has, and the other way round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubereach_lab
from kubereach_lab.faults import FAULTS, HEALTHY, Faults

_LAB = Path(kubereach_lab.__file__).parent
_PREFIXES = {name.partition(".")[0] for name in FAULTS}


def read(folder: Path) -> Iterator[str]:
    """The names of the faults that the lab asks for: ``faults.dns.no_ptr`` is ``dns.no-ptr``."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and ast.unparse(node.value.value).endswith("faults")
                and node.value.attr in _PREFIXES
            ):
                yield f"{node.value.attr}.{node.attr.replace('_', '-')}"


def test_every_fault_is_read_somewhere_and_no_other() -> None:
    assert set(read(_LAB)) == FAULTS.keys()


def test_a_fault_is_an_attribute() -> None:
    assert Faults(["proxy.one-node-stuck"]).proxy.one_node_stuck is True
    assert HEALTHY.proxy.one_node_stuck is False
    for name in FAULTS:
        prefix, _, rest = name.partition(".")
        group = getattr(Faults([name]), prefix)
        assert [fault for fault in FAULTS if fault in group.names] == [name]
        assert getattr(group, rest.replace("-", "_")) is True
    with pytest.raises(AttributeError):
        getattr(HEALTHY.proxy, "nosuch")  # noqa: B009 - mypy would not let it pass


def test_what_is_no_fault_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean dns\.stale"):
        Faults(["dns.stal"])


def test_sets_of_faults_are_alike_by_their_names() -> None:
    one, other = Faults(["dns.stale", "net.mtu"]), Faults(["net.mtu", "dns.stale"])
    assert (one == other, hash(one) == hash(other), bool(one), bool(HEALTHY)) == (True, True, True, False)
    assert one != HEALTHY
