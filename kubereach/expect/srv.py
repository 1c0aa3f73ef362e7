"""Expectations of SRV records: each target leads to one of the pods, and to each pod there is one.

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md#242---srv-records
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from kubereach.expect.caching import Question
from kubereach.expect.dns import query_series
from kubereach.expect.dns_hold import hold, miss_of, wrong_ones
from kubereach.expect.settle import names, paths, settle
from kubereach.expect.where import Server, servers_of
from kubereach.model.address import Address
from kubereach.model.dns_names import rdtype as rdtype_of
from kubereach.model.errors import Failure, NotConforming
from kubereach.model.finding import DNS
from kubereach.model.outcome import OK, Answer, in_words
from kubereach.probe import Series, Vantage, dns_message
from kubereach.probe.path import Path
from kubereach.world.service import Service


def to_have_srv_targets(
    vantages: Sequence[Vantage],
    service: Service,
    port: int,
    *,
    by: Server,
    hostnames: Collection[str] | None = None,
) -> None:
    """The SRV records of a headless Service's port: one target for each address, and each target is one of them.

    How a target without a hostname is called is the server's own choice, so they are told by their addresses;
    `hostnames` are the targets where endpoints have hostnames.
    """
    addresses, name = service.endpoints.addresses, service.names.srv()
    server = servers_of(by, service.settled, vantages[0].context.settled)[0]
    wanted = None if hostnames is None else frozenset(hostnames)
    targets = srv_targets(vantages, server, name, port, len(addresses), wanted)[vantages[0].name]
    known: dict[str, str] = {}
    if hostnames is not None:
        known = {service.names.pod(pod): address for pod, address in service.endpoints.address_of.items()}
    pointed = {}
    for target in targets:
        allowed = frozenset({known[target]}) if target in known else addresses
        pointed[target] = one_address(vantages, server, target, allowed)
    if missing := addresses - frozenset(pointed.values()):
        raise NotConforming(
            [
                Failure(
                    vantages[0].name,
                    f"dns SRV {name}",
                    f"a target for each of {', '.join(sorted(addresses))}",
                    f"none for {', '.join(sorted(missing))}",
                    tuple(f"{target} is {address}" for target, address in sorted(pointed.items())),
                    layer=DNS,  # every name and every address is one that it was told
                )
            ]
        )


def srv_targets(
    vantages: Sequence[Vantage],
    server: Address,
    name: str,
    port: int,
    count: int,
    wanted: frozenset[str] | None,
) -> dict[str, frozenset[str]]:
    """The `count` targets of the SRV records of `name`, which are `wanted` if that is known, for each vantage.

    All records must give `port`. Raises `NotConforming`.
    """
    all_paths = paths(vantages, [server])
    message = dns_message.query(name, "SRV")
    settings = vantages[0].context.settings
    targets: dict[str, frozenset[str]] = {}

    def series(path: Path, count: int) -> Series:
        return query_series(path, count, settings, message=message, transport="tcp")

    def right(path: Path, answer: Answer) -> bool:
        found = dns_message.read(answer.detail, "SRV") if answer.outcome == OK else None
        if found is None or found.rcode != "NOERROR" or found.repeated:
            return False
        pairs = [record.split() for record in found.records]
        these = targets[path.vantage.name] = frozenset(target for _, target in pairs)
        listed = len(these) == count and wanted in (None, these)
        return listed and all(number == str(port) for number, _ in pairs)

    members = f"{count} targets" if wanted is None else f"the targets {names(wanted)}"
    hold(all_paths, series, right, 1, None, Question("SRV", lambda found: len(found.records) == count, name))
    for path in all_paths:
        path.series, path.judged = series(path, 1), partial(right, path)
        for answer in wrong_ones(path, right)[:1]:
            found = dns_message.read(answer.detail, "SRV") if answer.outcome == OK else None
            got = f"{found.rcode}, {names(found.records)}" if found else in_words(path.result.outcomes)
            path.fail(f"SRV {name}: records with port {port} and {members}", got, miss=miss_of(answer))
    settle(all_paths)
    return targets


def one_address(vantages: Sequence[Vantage], server: Address, name: str, allowed: frozenset[str]) -> str:
    """The single address of `name`, which must be among `allowed`, as told to each vantage. Raises `NotConforming`."""
    all_paths = paths(vantages, [server])
    rdtype = rdtype_of(min(allowed))
    message = dns_message.query(name, rdtype)
    settings = vantages[0].context.settings
    found: list[str] = []

    def series(path: Path, count: int) -> Series:
        return query_series(path, count, settings, message=message)

    def right(_: Path, answer: Answer) -> bool:
        reply = dns_message.read(answer.detail, rdtype) if answer.outcome == OK else None
        if reply is None or len(reply.records) != 1 or not reply.records <= allowed:
            return False
        found.extend(reply.records)
        return True

    hold(all_paths, series, right, 1, None)
    for path in all_paths:
        path.series, path.judged = series(path, 1), partial(right, path)
        for answer in wrong_ones(path, right)[:1]:
            reply = dns_message.read(answer.detail, rdtype) if answer.outcome == OK else None
            path.fail(
                f"{rdtype} {name}: one of {names(allowed)}",
                names(reply.records) if reply else in_words(path.result.outcomes),
                miss=miss_of(answer),
            )
    settle(all_paths)
    return found[0]
