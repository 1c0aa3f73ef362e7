"""Evidence: what was measured, as rows of one table that hypotheses are held against.

A row is the probes of one kind from one place to one address. It says which ways they may have taken, as far as that is
known: an endpoint of a Service is known of a probe that was answered, and one of several for a probe that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kubereach.probe import Series

#: bytes above which a datagram is told apart
_LARGE = 1000
#: ways of a row that no service proxy serves: straight to a pod, and to a node's own address
DIRECT, NODE_ADDRESS = "pod", "node-address"


def packets_of(series: Series) -> str:
    """What kind of packets a series sends, as far as the network may tell them apart: ``tcp``, ``udp 8000 bytes``."""
    more = series.more
    kind = (
        "udp"
        if series.kind in ("udp", "sctp") or (series.kind, more.get("transport")) == ("dns", "udp")
        else "tcp"
    )
    size = int(str(more.get("size") or 0))
    if series.kind == "transfer":
        return f"{kind} {size >> 20} MiB" if size >= 1 << 20 else f"{kind} {size >> 10} KiB"
    if mark := int(str(more.get("tos") or 0)):
        return f"{kind} TOS {mark:#04x}"
    if more.get("half_close"):
        return f"{kind} half-closed"
    return f"{kind} {size} bytes" if size > _LARGE else kind


@dataclass(frozen=True)
class Route:
    """One endpoint that probes of a row may get to: its pod and the pod's node, and how many it `answered`.

    `hosted`: it is on its node's own network, so that what goes to it does not pass the pod network.
    """

    pod: str
    node: str
    answered: int = 0
    hosted: bool = False


@dataclass(frozen=True)
class Row:
    """Probes of one kind over one path: `lost` of them were not as they must be for this very path.

    `client` is the vantage's name, `kind` what it is (``pod``, ``node``, ...), `node` where it is: empty outside.
    `packets` tells kinds of probes apart that the network may treat in different ways: ``tcp``, ``udp 8000 bytes``.
    `owner` is the node whose own address was probed; `translator` the node whose service proxy translated, empty where
    none did or it is not known which.
    """

    client: str
    kind: str
    node: str
    way: str
    host: str
    packets: str
    routes: tuple[Route, ...]
    lost: int
    owner: str = ""
    translator: str = ""
    service: str = ""
    namespace: str = ""
    #: the client's pod
    pod: str = ""
    port: int = 0
    #: how many of the lost ones were refused: somebody has answered that nobody listens
    refused: int = 0
    #: what was seen, for people
    text: str = field(default="", compare=False)

    @property
    def answered(self) -> int:
        return sum(route.answered for route in self.routes)

    @property
    def sent(self) -> int:
        return self.answered + self.lost

    @property
    def enters(self) -> str:
        """The node where its packets get into the pod network: the translator's, else the client's."""
        return self.translator or self.node

    @property
    def own_pods(self) -> bool:
        """Whether it is a pod's own packets that pass the pod network, with that pod's address as their source."""
        return self.kind not in ("node", "outside") and not self.owner


def by_endpoint(rows: Sequence[Row]) -> list[Row]:
    """Rows for the question whether each endpoint is met at all, in place of whether each probe is answered.

    Of a row in which one endpoint of several has not answered, as many answers are lacking as its share would be.
    """
    found = []
    for row in rows:
        share = row.answered // len(row.routes)
        if len(row.routes) == 1 or not share:
            found.append(row)
            continue
        for route in row.routes:
            none = "" if route.answered else f", none by {route.pod}"
            lost = 0 if route.answered else share
            found.append(replace(row, routes=(route,), lost=lost, text=row.text + none))
    return found
