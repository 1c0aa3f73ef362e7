"""An address: one way of reaching a Service, from the prober's point of view."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kubereach.model.ip import is_address

#: ways of reaching that service proxies serve; the others go by a name, or past all Services
SERVED = frozenset({"clusterip", "nodeport", "loadbalancer", "external-ip"})


@dataclass(frozen=True)
class Address:
    """`way` is the way of reaching as reports name it; `kind` is the prober's (http, tcp, udp, tls, dns)."""

    way: str
    kind: str
    host: str
    port: int
    #: time.monotonic() until which the data plane may take to get there
    settled: float = 0.0
    #: more words for reports: the node's name, the DNS replica's
    note: str = ""
    #: the name that a TLS server's certificate must be for; empty: the host
    server_name: str = ""
    #: the port that must be hit at each pod, where it is known: (pod, number)
    targets: tuple[tuple[str, int], ...] = ()
    #: the IP version (4 or 6) whose addresses of a name are tried: that of its Service's first IP family
    family: int = 4

    @property
    def url(self) -> str:
        """``http://10.96.0.1:80``; a DNS name or an address, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"

    def __str__(self) -> str:
        over = " over IPv6" if self.family == 6 and not is_address(self.host) else ""
        return f"{self.way} {self.url}{over}" + (f" ({self.note})" if self.note else "")

    @property
    def version(self) -> int:
        """The IP version (4 or 6) in which it is reached."""
        return (6 if ":" in self.host else 4) if is_address(self.host) else self.family

    def at_port(self, port: int) -> Address:
        """The same host, another port."""
        return replace(self, port=port)
