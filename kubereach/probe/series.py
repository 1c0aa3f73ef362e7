"""A series: what one request asks a prober for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubereach.probe.peer.protocol import PATIENCE


@dataclass(frozen=True)
class Series:
    """`count` probes of one kind to one address. Times are seconds; `peer.protocol` says more of each field."""

    kind: str
    host: str = ""
    port: int = 0
    count: int = 1
    in_flight: int = 4
    spacing: float = 0.0
    #: seconds before the first probe starts
    delay: float = 0.0
    timeout: float = 2.0
    wanted: tuple[str, ...] = ("ok",)
    stop_after: int = 0
    #: a retransmission counts as a miss, and is read from the kernel at all
    retransmits: bool = False
    #: late datagrams count: a backend that did not run has lost nothing
    patient: bool = False
    #: not bounded by the vantage's limit of probes in flight
    burst: bool = False
    #: the answer tells when each probe began
    times: bool = False
    nonce: str = ""
    #: of ready alone: what our backends demand of who changes them
    secret: str = field(default="", repr=False)
    #: the refusals that it may get have been taken from its vantage's ration already
    paced: bool = False
    #: fields of one kind: message, beside and transport of dns, family of resolve, ca and server_name of tls, path of
    #: file, size of udp, transport of flow, size and stall of transfer, on of ready, path and status of http
    more: Mapping[str, object] = field(default_factory=dict)

    def request(self, number: int) -> dict[str, object]:
        """The JSON object for the prober; `number` ties the answer to it."""
        return {
            "id": number,
            "kind": self.kind,
            "host": self.host,
            "port": self.port,
            "count": self.count,
            "in_flight": self.in_flight,
            "spacing": self.spacing,
            "delay": self.delay,
            "timeout": self.timeout,
            "wanted": self.wanted,
            "stop_after": self.stop_after,
            "retransmits": self.retransmits,
            "patient": self.patient,
            "burst": self.burst,
            "times": self.times,
            "nonce": self.nonce,
            **({"secret": self.secret} if self.secret else {}),
            **self.more,
        }

    @property
    def longest(self) -> float:
        """Seconds that the series takes when every probe times out, and the last backends are waited for longer."""
        rounds = -(-self.count // max(1, self.in_flight)) + PATIENCE
        return self.delay + rounds * self.timeout + self.count * self.spacing
