"""What a path has missed, for who is to find out why."""

from __future__ import annotations

LOST = "lost"  #: no answer, or one that took a packet twice
BACKENDS = "backends"  #: an answer of somebody who is no endpoint
MISSING = "missing"  #: an endpoint that never answers
PORT = "port"  #: an answer at another port
SOURCE = "source"  #: a client's address that is not the client's
SPREAD = "spread"  #: a client that changes endpoints, or does not
SHARE = "share"  #: endpoints with more or less than their share
ANSWERED = "answered"  #: an answer where there must be none
NO_REFUSAL = "no refusal"  #: silence where there must be a refusal
FLOW = "flow"  #: an open connection, or a UDP flow, that broke or went astray
RECORDS = "records"  #: a DNS server's answer that is not the right one
STATUS = "status"  #: an answer that says the wrong thing
