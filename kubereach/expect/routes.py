"""What the outside must have so that its silence means something: a route, and a name server that answers."""

from __future__ import annotations

from collections.abc import Sequence

from kubereach.expect.reach import series_for
from kubereach.expect.settle import measurable, paths
from kubereach.expect.where import Where
from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model.errors import Unsupported
from kubereach.model.outcome import NODATA, NXDOMAIN, OK, PROTOCOL, SERVFAIL, UNREACHABLE
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.group import run_all


def to_have_a_route(vantages: Sequence[Vantage], where: Where) -> None:
    """Packets to the addresses leave the vantages' machines. Raises `Unsupported` where the kernel has no route.

    There connect() itself fails, and no packet leaves.
    """
    all_paths = paths(vantages, where)
    results = run_all([(path.vantage, series_for(path)) for path in all_paths])
    for path, result in zip(all_paths, results, strict=True):
        path.result = result
        measurable(path)
        answers = [probe.answer for probe in result.probes]
        if all(a.outcome == UNREACHABLE and a.at_connect == "ENETUNREACH" for a in answers):
            raise Unsupported(
                f"{path.vantage.name} has no route to {path.address.host}: no packet leaves its node",
                "Run `ip route get` there; a default route is enough.",
            )


def to_hear_a_name_server(vantages: Sequence[Vantage]) -> None:
    """One of the name servers that each vantage has answers, whatever. Raises `Unsupported` where none does.

    Any reply with a DNS message in it counts, an error too.
    """
    for vantage in vantages:
        servers = ResolvConf.parse(vantage.read_file("/etc/resolv.conf")).nameservers
        timeout = vantage.context.settings.dns_timeout
        more = {"message": dns_message.query(".", "NS"), "transport": "udp"}
        series = [(vantage, Series("dns", host, 53, timeout=timeout, more=more)) for host in servers]
        spoken = {outcome for result in run_all(series) for outcome in result.outcomes}
        if not spoken & {OK, NODATA, NXDOMAIN, SERVFAIL, PROTOCOL}:
            raise Unsupported(
                f"no name server of {vantage.name} answers: {', '.join(servers) or 'it has none'}",
                "Without a working name server, a name without records proves nothing.",
            )
