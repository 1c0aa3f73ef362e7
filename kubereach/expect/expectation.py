"""`expect(...)`: what checks say."""

from __future__ import annotations

from kubereach.expect import (
    affinity,
    balance,
    dns,
    dns_pair,
    flows,
    health,
    load,
    negative,
    node_mesh,
    packets,
    proxies,
    reach,
    resolv_conf,
    resolver,
    routes,
    sctp,
    signals,
    sources,
    srv,
    tls,
    tracking,
)
from kubereach.probe import Vantage, VantageGroup


def expect(who: Vantage | VantageGroup) -> Expectation:
    """Say what must hold for a vantage, or for every vantage of a group at the same time."""
    return Expectation(who.members if isinstance(who, VantageGroup) else (who,))


class Expectation(tuple[Vantage, ...]):
    """What must hold for every one of some vantages: each method is a function of theirs, in the module named here.

    Each raises `NotConforming` with one failure for each vantage and address that misses, or `CannotMeasure`.
    `within` is the seconds that the path has to converge; without it, until what it leads to has settled, see
    `kubereach.world`. A path that has had its time must work at once.
    """

    __slots__ = ()

    # connections
    to_reach = reach.to_reach
    to_reach_other_nodes = node_mesh.to_reach_other_nodes
    to_be_refused = negative.to_be_refused
    not_to_be_answered = negative.not_to_be_answered
    to_have_a_route = routes.to_have_a_route
    to_trust = tls.to_trust
    to_speak_sctp = sctp.to_speak_sctp

    # while something changes
    to_keep_reaching = flows.to_keep_reaching
    flow = flows.flow

    # which endpoints, and how much they take
    to_stick = affinity.to_stick
    to_leave_endpoint = affinity.to_leave_endpoint
    to_spread_clients = affinity.to_spread_clients
    to_be_balanced = balance.to_be_balanced
    to_take_a_burst = load.to_take_a_burst
    to_transfer = load.to_transfer
    to_carry = load.to_carry
    to_take_marks = packets.to_take_marks
    to_answer_half_closed = packets.to_answer_half_closed
    to_signal = signals.to_signal

    # what is reported
    to_report = sources.to_report
    to_report_source = sources.to_report_source
    to_agree = sources.to_agree

    # nodes
    to_get_health_checks = health.to_get_health_checks
    to_have_one_proxy_mode = proxies.to_have_one_proxy_mode
    to_have_healthy_proxies = proxies.to_have_healthy_proxies
    to_have_room_for_connections = tracking.to_have_room_for_connections

    # the vantage's own resolver
    to_resolve = resolver.to_resolve
    not_to_resolve = resolver.not_to_resolve
    not_to_know = resolver.not_to_know
    to_find = resolver.to_find
    to_be_configured = resolv_conf.to_be_configured
    not_to_be_configured = resolv_conf.not_to_be_configured
    to_hear_a_name_server = routes.to_hear_a_name_server

    # DNS servers
    to_get_records = dns.to_get_records
    to_get_both = dns_pair.to_get_both
    to_report_records = dns.to_report_records
    to_have_srv_targets = srv.to_have_srv_targets
