"""Session affinity of a Service: for each endpoint a set of the clients that are to go to it again.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#session-affinity, laid out as in KEP-3866.
"""

from __future__ import annotations

from typing import Any

from kubereach_lab.config import AddressPlan
from kubereach_lab.faults import Faults

_DEFAULT = 10800


class Affinity:
    """The affinity of one Service port, as far as its specification asks for it."""

    def __init__(
        self,
        plan: AddressPlan,
        spec: dict[str, Any],
        endpoints: int,
        faults: Faults,
        lingers: int = 0,
    ) -> None:
        """`endpoints` is how many the Service port has, `lingers` for how many seconds more clients are remembered."""
        self.wanted = spec.get("sessionAffinity") == "ClientIP" and not faults.proxy.affinity_ignored
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        seconds: float = config.get("timeoutSeconds", _DEFAULT)
        seconds += lingers
        if faults.proxy.affinity_too_short:
            seconds /= 4
        # with its time-out in the name, because the kernel does not change that of a set
        self._end = f"{seconds:g}s"
        self._definition = (
            f"type ipv{plan.version}_addr; flags dynamic,timeout; timeout {_duration(seconds)};"
        )
        if faults.proxy.affinity_never_expires:
            self._definition = f"type ipv{plan.version}_addr; flags dynamic;"
        if faults.proxy.affinity_forgotten:
            self._end += f"-{endpoints}"
        self._client = f"{plan.nft} saddr"
        if faults.proxy.affinity_per_node:
            # the pods of a node have a range of their own
            self._client += " and " + ("255.255.255.0" if plan.version == 4 else "ffff:ffff:ffff:ffff::")

    def lookup(self, endpoint: str) -> str:
        """The match of clients that are to go to an endpoint again."""
        return f"{self._client} @{self._set(endpoint)}"

    def definition(self, endpoint: str) -> tuple[str, str]:
        """Name and definition of an endpoint's set."""
        return self._set(endpoint), self._definition

    def remember(self, endpoint: str) -> str:
        """The statement that notes the client; every connection makes it last anew."""
        return f"update @{self._set(endpoint)} {{ {self._client} }}"

    def _set(self, endpoint: str) -> str:
        return f"affinity-{endpoint}-{self._end}"


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds == int(seconds) else f"{seconds * 1000:g}ms"
