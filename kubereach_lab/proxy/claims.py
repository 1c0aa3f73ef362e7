"""Addresses and ports that several Services ask for at once: one of them is served there, the others go without.

Nothing in the API keeps two Services from naming one address in `spec.externalIPs`, or from being given one
load-balancer address. A real kube-proxy serves one of them and goes on; which one is left to chance there, and may
differ by node (kubernetes #69599). Here it is the first to ask, on every node.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubereach_lab.proxy.service import Rules

#: (namespace, name) of a Service
Key = tuple[str, str]
#: (map or set, key): nftables has each once
Element = tuple[str, str]


class Claims:
    """Who has which element of one proxier's table, and who would have it next."""

    def __init__(self) -> None:
        self._holders: dict[Element, Key] = {}
        self._held: dict[Key, frozenset[Element]] = {}
        self._waiting: dict[Element, set[Key]] = {}

    def settle(self, wanted: Mapping[Key, Rules]) -> tuple[dict[Key, Rules], set[Key]]:
        """The rules without the elements that are others', and the Services for which something has become free.

        `wanted` are all rules of Services that have changed, in the order in which they asked.
        """
        freed: set[Key] = set()
        for key, rules in wanted.items():
            for element in self._held.pop(key, frozenset()) - rules.elements.keys():
                del self._holders[element]
                freed |= self._waiting.pop(element, set())
        return {key: self._granted(key, rules) for key, rules in wanted.items()}, freed - wanted.keys()

    def holds(self, key: Key, element: Element) -> bool:
        """Whether nobody else has this element."""
        return self._holders.get(element, key) == key

    def _granted(self, key: Key, rules: Rules) -> Rules:
        elements = {}
        for element, value in rules.elements.items():
            if self._holders.setdefault(element, key) == key:
                elements[element] = value
            else:
                self._waiting.setdefault(element, set()).add(key)
        if elements:
            self._held[key] = frozenset(elements)
        return Rules(rules.chains, rules.sets, elements)
