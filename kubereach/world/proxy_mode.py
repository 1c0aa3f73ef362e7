"""The mode of kube-proxy, as it tells programs of its node.

Source: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/ (metricsBindAddress)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kubereach.model.ip import loopback
from kubereach.model.outcome import OK
from kubereach.probe import Series, Vantage
from kubereach.probe.group import run_all

#: where kube-proxy tells it, on the loopback address of the IP family that it binds to
MODE_PORT = 10249
_PATH = "/proxyMode"


def proxy_modes(vantages: Sequence[Vantage]) -> dict[Vantage, str]:
    """What the kube-proxy of each vantage's node says of its mode; "" where none answers. The vantages are nodes."""
    requests = []
    for vantage in vantages:
        context = vantage.context
        first = Series(
            "http",
            loopback(context.ip_version),
            MODE_PORT,
            timeout=context.settings.connect_timeout,
            more={"path": _PATH, "text": True},
        )
        other = replace(first, host=loopback(4 if context.ip_version == 6 else 6))
        requests += [(vantage, first), (vantage, other)]
    found = dict.fromkeys(vantages, "")
    for (vantage, _), result in zip(requests, run_all(requests), strict=True):
        answer = result.probes[0].answer
        if answer.outcome == OK and not found[vantage]:
            found[vantage] = answer.detail.strip()
    return found
