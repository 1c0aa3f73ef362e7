"""The way into a cluster: what the official client needs to make a connection, and where the outside is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterAccess:
    """The way in: what the official client needs to make a connection, and words for the reports."""

    #: the kubeconfig file; None lets the client look in $KUBECONFIG and ~/.kube/config
    kubeconfig: Path | None
    #: the context in it; None is its current context
    context: str | None
    #: for people: ``context prod (https://192.0.2.1:6443)``
    description: str
    #: the cluster goes when the target is closed, and all that is in it: nothing of a run needs to be removed
    disposable: bool = False
    #: the API server is on this machine: no proxy is on the way to it, whatever the environment says
    direct: bool = False
    #: in a pod: the folder of its service account, in place of a kubeconfig; and the API server's HOST:PORT then
    service_account: Path | None = None
    #: why this machine is not outside of the cluster; empty if it is
    no_outside: str = ""
    server: str = ""
    #: the command line that starts Python where the outside is; empty: this machine is the outside
    outside_via: str = ""
    #: why the outside is not this machine but that, in words
    outside_why: str = ""
    #: nobody gives addresses to Services of type LoadBalancer here, so it is on us to do so
    self_load_balancer: bool = False
