"""Expectations against real peers on loopback: what passes, what fails, and what is neither."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import dns.message
import dns.rrset
import pytest
from backends import local_vantage
from odd_servers import Odd, close, dns_server, unused_port

from kubereach.expect import OWN, Query, current_check, expect, hold_length, informing
from kubereach.kube.cluster_dns import DnsReplica
from kubereach.model.address import Address
from kubereach.model.convergence import CHANGED, ConvergenceDeadline
from kubereach.model.errors import CannotMeasure, NotConforming
from kubereach.model.events import Probed
from kubereach.model.settings import Settings
from kubereach.probe import Series, Vantage, VantageGroup
from kubereach.probe.streams import ProcessStream
from kubereach.probe.vantage import POD


def balancer(*backends, every=0):
    """An HTTP address that hands connections to `backends` in turn; each `every`-th one it drops without an answer."""
    counter = iter(range(1_000_000))
    listener = socket.create_server(("127.0.0.1", 0), backlog=500)

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def run():
        while True:
            client, _ = listener.accept()
            number = next(counter)
            if every and number % every == every - 1:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", backends[number % len(backends)].ports["http"]))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return Address("clusterip", "http", "127.0.0.1", listener.getsockname()[1])


def failures(call):
    with pytest.raises(NotConforming) as error:
        call()
    return error.value.failures


# --- how long to hold


def test_the_hold_is_as_long_as_the_settings_promise():
    settings = Settings()
    length = hold_length(settings)
    assert (1 - settings.loss) ** length < settings.loss_miss <= (1 - settings.loss) ** (length - 1)
    many = hold_length(settings, 20)
    assert 20 * (1 - 1 / 20) ** many < settings.endpoint_miss <= 20 * (1 - 1 / 20) ** (many - 1)
    assert many > length


# --- to_reach


def test_reaching_is_one_event_for_each_path(serve, vantage, events):
    token = current_check.set("topic.name")
    backend = serve("a")
    expect(vantage).to_reach([backend.address("http"), backend.address("udp")], backends={"a"}, source=OWN)
    current_check.reset(token)
    probed = [event for event in events if isinstance(event, Probed)]
    assert [event.check for event in probed] == ["topic.name"] * 2
    assert probed[0].vantage == "pod@one"
    assert probed[0].outcomes == {"ok": hold_length(Settings())}
    assert len(probed[0].latencies) == hold_length(Settings())
    assert probed[0].conforming


def test_one_miss_in_the_hold_fails(serve, vantage, events):
    found = failures(lambda: expect(vantage).to_reach(balancer(serve("a"), every=100)))
    assert found[0].vantage == "pod@one"
    assert found[0].expected == f"{hold_length(Settings())} answers in a row"
    assert found[0].got.startswith(f"{hold_length(Settings()) - 1} answered, 1 ")
    assert not events[-1].conforming


def test_a_stranger_among_the_backends_fails(serve, vantage):
    address = balancer(serve("a"), serve("b"))
    (failure,) = failures(lambda: expect(vantage).to_reach(address, backends={"a"}))
    assert (failure.expected, failure.got) == ("answers only from a", "also answers from b")


def test_a_foreign_nonce_is_no_answer(serve, vantage):
    found = failures(lambda: expect(vantage).to_reach(serve("a", nonce="other").address()))
    assert "answered by a foreign server" in found[0].got


def test_an_endpoint_that_is_never_used_fails_only_where_every_one_must_be(serve, vantage):
    address = serve("a").address()
    expect(vantage).to_reach(address, backends={"a", "b"})
    (failure,) = failures(lambda: expect(vantage).to_reach(address, backends={"a", "b"}, every=True))
    assert (failure.expected, failure.got) == ("answers from each of a, b", "none from b")


def test_another_source_address_fails(serve, vantage):
    (failure,) = failures(lambda: expect(vantage).to_reach(serve("a").address(), source="192.0.2.7"))
    assert (failure.expected, failure.got.split(" (")[0]) == (
        "the backend sees 192.0.2.7 as source IP",
        "source IP 127.0.0.1",
    )


def test_another_target_port_fails(serve, vantage):
    backend = serve("a")
    address = Address("clusterip", "http", "127.0.0.1", backend.ports["http"], targets=(("a", 1),))
    (failure,) = failures(lambda: expect(vantage).to_reach(address))
    assert failure.expected == "connections to the target port: a on 1"


def test_a_broken_path_fails_fast_and_all_failures_are_told_together(serve, vantage, multiplexer, context):
    group = VantageGroup([vantage, local_vantage(multiplexer, context, node="two")])
    silent = Address("clusterip", "http", "127.0.0.1", Odd(lambda _: None).port)
    begun = time.monotonic()
    found = failures(lambda: expect(group).to_reach([serve("a").address(), silent]))
    assert time.monotonic() - begun < 15  # one time-out of 0.5 s, not 135
    assert [(f.vantage, f.address) for f in found] == [("pod@one", str(silent)), ("pod@two", str(silent))]


def test_a_path_that_still_converges_is_waited_for(serve, vantage, events):
    backend = serve("a")
    port = unused_port()
    vantage.context.settings = vantage.context.settings.overridden(["connect_timeout=10"])
    address = Address("clusterip", "http", "127.0.0.1", port, settled=time.monotonic() + 30)
    vantage.open()  # whose start may take longer than the change does

    def later():
        import socket

        time.sleep(0.3)
        listener = socket.create_server(("127.0.0.1", port), backlog=500)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", backend.ports["http"]))

            def pump(client=client, server=server):
                # a hurried attempt of a busy machine may have hung up
                with contextlib.suppress(OSError), client, server:
                    server.sendall(client.recv(1000))
                    client.sendall(server.recv(1000))
                    client.recv(1)

            threading.Thread(target=pump, daemon=True).start()

    threading.Thread(target=later, daemon=True).start()
    expect(vantage).to_reach(address, backends={"a"})
    assert 0.25 < events[-1].converged < 15


def test_the_last_attempt_is_a_patient_one_also_where_a_hurried_one_took_all_the_time(serve, vantage):
    """On a busy machine an attempt of many probes may last longer than the change may; its time-outs say nothing."""
    backend = serve("a")
    listener = socket.create_server(("127.0.0.1", 0), backlog=500)
    delays = iter([0.2] * 8 + [1.0] * 4)  # more than PATIENCE times what a hurried probe has

    def answer(client, delay):
        server = socket.create_connection(("127.0.0.1", backend.ports["http"]))
        with contextlib.suppress(OSError), client, server:  # who was in a hurry has hung up
            time.sleep(delay)
            server.sendall(client.recv(1000))
            client.sendall(server.recv(1000))
            client.recv(1)

    def run():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=answer, args=(client, next(delays, 0.0)), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    settled = time.monotonic() + 0.3
    address = Address("clusterip", "http", "127.0.0.1", listener.getsockname()[1], settled=settled)
    expect(vantage).to_reach(address, backends={"a"})


def test_a_path_that_has_had_its_time_is_not_waited_for(vantage):
    address = Address("clusterip", "http", "127.0.0.1", unused_port())
    begun = time.monotonic()
    found = failures(lambda: expect(vantage).to_reach(address))
    assert time.monotonic() - begun < vantage.context.settings.converge_deadline / 2
    assert "refused" in found[0].got


def test_nothing_to_measure_is_no_pass(vantage):
    with pytest.raises(CannotMeasure):
        expect(vantage).to_reach([])
    with pytest.raises(CannotMeasure):
        expect(VantageGroup(()))


# --- negatives


def closed():
    return Address("clusterip", "http", "127.0.0.1", unused_port())


def test_refused(serve, vantage):
    expect(vantage).to_be_refused(closed(), control=serve("a").address())


def test_a_time_out_is_no_refusal(serve, vantage):
    silent = Address("clusterip", "http", "127.0.0.1", Odd(lambda _: None).port)
    (failure,) = failures(lambda: expect(vantage).to_be_refused(silent, control=serve("a").address()))
    assert (failure.expected, failure.got) == ("refused", "2 timed out")
    expect(vantage).not_to_be_answered(silent, control=serve("a").address())


def test_an_answer_fails_a_negative(serve, vantage):
    backend = serve("a")
    (failure,) = failures(
        lambda: expect(vantage).not_to_be_answered(backend.address(), control=backend.address())
    )
    assert failure.evidence == ("answered by pod a",)


def test_a_connection_that_is_taken_and_closed_was_answered(serve, vantage):
    taken = Address("clusterip", "http", "127.0.0.1", Odd(close).port)
    assert failures(lambda: expect(vantage).not_to_be_answered(taken, control=serve("a").address()))


def test_a_negative_whose_control_fails_is_no_pass(vantage):
    with pytest.raises(CannotMeasure, match="the control just before failed"):
        expect(vantage).to_be_refused(closed(), control=closed())


def test_a_control_that_fails_only_afterwards_is_seen(serve, vantage):
    backend = serve("a")
    # while the negative waits for its time-out
    silent = Address("clusterip", "http", "127.0.0.1", Odd(lambda _: backend.process.kill()).port)
    with pytest.raises(CannotMeasure, match="the control just after failed"):
        expect(vantage).not_to_be_answered(silent, control=backend.address())


def test_a_name_that_does_not_resolve_is_no_refusal(serve, vantage):
    nowhere = Address("clusterip", "http", "no-such-name.invalid", 80)
    with pytest.raises((CannotMeasure, NotConforming)):
        expect(vantage).to_be_refused(nowhere, control=serve("a").address())


def test_refusals_are_paced_for_pods_and_not_for_nodes(serve, vantage, node_vantage):
    control = serve("a").address()
    slow = vantage.refusals
    slow._interval, slow._burst, slow._tokens = 0.2, 2.0, 2.0
    begun = time.monotonic()
    for _ in range(2):
        expect(vantage).to_be_refused(closed(), control=control)
    assert time.monotonic() - begun >= 0.4
    node_vantage.refusals.take(1000)
    expect(node_vantage).to_be_refused(closed(), control=control)


def test_refusals_that_others_have_used_up_are_waited_for(serve, vantage, context):
    """The first attempt hears nothing, as a client does whose ration of ICMP errors is gone."""
    port = unused_port()
    address = Address("clusterip", "udp", "127.0.0.1", port)
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", port))
    threading.Timer(context.settings.udp_timeout, silent.close).start()
    expect(vantage).to_be_refused(address, control=serve("a").address())


def test_refusals_that_came_unasked_are_counted(vantage):
    before = vantage.refusals.take(0), vantage.refusals._tokens
    vantage.run(Series("http", "127.0.0.1", unused_port(), count=3, timeout=1.0))
    assert before[1] - vantage.refusals._tokens > 2


# --- names


def zone(**names):
    """A DNS server for ``name=[records]``; all other names do not exist. Gives it as a replica."""

    def answer(query):
        reply = dns.message.make_response(query)
        question = query.question[0]
        name = question.name.to_text().rstrip(".").replace(".", "_").replace("-", "_")
        if name not in names:
            reply.set_rcode(3)
        else:
            rdtype = dns.rdatatype.to_text(question.rdtype)
            mine = [r.split(" ", 1)[1] for r in names[name] if r.split(" ")[0] == rdtype]
            if mine:
                reply.answer = [dns.rrset.from_text(question.name, 5, "IN", rdtype, *mine)]
        return (
            reply.to_wire(max_size=512)
            if len((reply.answer and reply.answer[0]) or ()) < 10
            else truncated(reply)
        )

    def truncated(reply):
        reply.flags |= dns.flags.TC
        reply.answer = [dns.rrset.from_text(reply.answer[0].name, 5, "IN", "A", reply.answer[0][0].to_text())]
        return reply.to_wire()

    return DnsReplica("dns-0", "127.0.0.1", dns_server(answer))


def caching(ages, seconds=2):
    """A DNS server that is told of a change at once, behind a cache that has said before that there is no such name.

    The cache says so for `seconds`, of which it tells what is left if it `ages`.
    """
    since = time.monotonic()

    def answer(query):
        question = query.question[0]
        reply = dns.message.make_response(query)
        passed = time.monotonic() - since
        if passed < seconds or not ages:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            left = seconds - int(passed) if ages else seconds
            text = f"ns.x. hostmaster.x. 1 7200 1800 86400 {seconds}"
            reply.authority = [dns.rrset.from_text("x.", left, "IN", "SOA", text)]
        else:
            reply.answer = [dns.rrset.from_text(question.name, 5, "IN", "A", "192.0.2.1")]
        return reply.to_wire()

    return DnsReplica("dns-0", "127.0.0.1", dns_server(answer))


@pytest.mark.parametrize("seconds", [1, 2, 4])
def test_what_a_cache_may_still_hold_is_waited_for(vantage, events, seconds):
    """Also where it forgets before its answer was seen to age."""
    settled = ConvergenceDeadline.after(CHANGED, 0.5)
    server = caching(ages=True, seconds=seconds)
    expect(vantage).to_get_records(Query("A", "new.x."), {"192.0.2.1"}, by=server, settled=settled)
    (probed,) = [event for event in events if isinstance(event, Probed)]
    assert (probed.change, probed.converged > seconds - 0.5) == (CHANGED, True)


def test_a_server_that_does_not_follow_is_not_taken_for_a_cache(vantage):
    begun = time.monotonic()
    settled, query, server = ConvergenceDeadline.after(CHANGED, 0.5), Query("A", "new.x."), caching(False, 9)
    (failure,) = failures(
        lambda: expect(vantage).to_get_records(query, {"192.0.2.1"}, by=server, settled=settled)
    )
    assert failure.got == "NXDOMAIN, none"
    assert time.monotonic() - begun < 6


def test_a_cache_is_not_waited_for_longer_than_for_a_change(vantage, context):
    context.settings = replace(context.settings, converge_deadline=1.0)
    begun = time.monotonic()
    settled = ConvergenceDeadline.after(CHANGED, 0.5)
    server = caching(ages=True, seconds=20)
    assert failures(
        lambda: expect(vantage).to_get_records(
            Query("A", "new.x."), {"192.0.2.1"}, by=server, settled=settled
        )
    )
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_records_are_exact_sets(vantage, transport):
    server = zone(a=["A 192.0.2.1", "A 192.0.2.2"], s=["SRV 0 1 80 a.", "SRV 0 1 81 b."])

    def answers(rdtype, name, records, rcode="NOERROR"):
        expect(vantage).to_get_records(Query(rdtype, name, rcode, transport), records, by=server)

    answers("A", "a.", {"192.0.2.1", "192.0.2.2"})
    answers("AAAA", "a.", ())
    answers("SRV", "s.", {"80 a.", "81 b."})
    answers("A", "b.", (), "NXDOMAIN")
    (few,) = failures(lambda: answers("A", "a.", {"192.0.2.1"}))
    assert few.evidence == ("unexpected: 192.0.2.2",)
    (many,) = failures(lambda: answers("A", "a.", {"192.0.2.1", "192.0.2.2", "192.0.2.3"}))
    assert many.evidence == ("missing: 192.0.2.3",)
    (nodata,) = failures(lambda: answers("AAAA", "a.", (), "NXDOMAIN"))
    assert nodata.got == "NOERROR, none"
    assert failures(lambda: answers("A", "b.", ()))[0].got == "NXDOMAIN, none"


def test_targets_of_one_address_are_no_members_of_two(vantage):
    def members(second):
        records = ["SRV 0 50 80 one.s.", "SRV 0 50 80 two.s."]
        server = zone(_p__tcp_s=records, one_s=["A 192.0.2.1"], two_s=[f"A {second}"])
        of = {"one": "192.0.2.1", "two": "192.0.2.2"}
        endpoints = SimpleNamespace(addresses=frozenset(of.values()), address_of=of)
        names = SimpleNamespace(srv=lambda: "_p._tcp.s.")
        service = SimpleNamespace(endpoints=endpoints, names=names, settled=0.0)
        expect(vantage).to_have_srv_targets(service, 80, by=server)

    members("192.0.2.2")
    (wrong,) = failures(lambda: members("192.0.2.1"))
    assert (wrong.got, wrong.layer) == ("none for 192.0.2.2", "dns")
    assert wrong.evidence == ("one.s. is 192.0.2.1", "two.s. is 192.0.2.1")


def test_truncation(vantage):
    addresses = [f"192.0.2.{n}" for n in range(20)]
    server = zone(big=[f"A {a}" for a in addresses], a=["A 192.0.2.1"])
    expect(vantage).to_get_records(Query("A", "big.", truncated=True), addresses, by=server)
    assert failures(lambda: expect(vantage).to_get_records(Query("A", "big."), addresses, by=server))
    assert failures(
        lambda: expect(vantage).to_get_records(Query("A", "a.", truncated=True), {"192.0.2.1"}, by=server)
    )


def test_one_wrong_replica_fails_under_its_own_name(vantage):
    good, bad = zone(a=["A 192.0.2.1"]), zone(a=["A 192.0.2.9"])
    bad = DnsReplica("dns-1", bad.address, bad.port)
    (failure,) = failures(
        lambda: expect(vantage).to_get_records(Query("A", "a."), {"192.0.2.1"}, by=[good, bad])
    )
    assert "dns-1" in failure.address


def test_a_silent_server_is_a_failure(vantage):
    replica = DnsReplica("dns-0", "127.0.0.1", unused_port())
    (failure,) = failures(lambda: expect(vantage).to_get_records(Query("A", "a."), {"192.0.2.1"}, by=replica))
    assert "refused" in failure.got


#: a prober whose resolver is musl's, and loses its first query: it is answered when the resolver has sent it again
_MUSL = """
import time
from kubereach.probe.peer import main, probes, resolver
tried = []
def resolve(host, family):
    tried.append(host)
    if len(tried) == 1:
        time.sleep(0.5)
    return "ok", ["192.0.2.1"]
probes.resolve, resolver.libc, resolver.resolver_options = resolve, lambda: "", lambda: "options timeout:1"
main.main(["probe"])
"""


def test_a_lost_query_is_not_hidden_by_a_resolver_that_soon_sends_it_again(context, multiplexer):
    command = [sys.executable, "-uc", _MUSL]
    musl = Vantage(POD, "one", lambda: ProcessStream(command), multiplexer, context)
    (failure,) = failures(lambda: expect(musl).to_resolve("web", {"192.0.2.1"}))
    assert musl.resends_after == 0.5
    assert (failure.expected, failure.got) == ("192.0.2.1", "2 answered, 1 timed out")


def test_own_resolver(vantage):
    expect(vantage).to_resolve("localhost", {"127.0.0.1"})
    (failure,) = failures(lambda: expect(vantage).to_resolve("localhost", {"127.0.0.2"}))
    assert (failure.expected, failure.got) == ("exactly 127.0.0.2", "127.0.0.1")
    assert failures(lambda: expect(vantage).not_to_know("localhost"))
    expect(vantage).not_to_know("no-such-name.invalid", control="localhost")
    with pytest.raises(CannotMeasure, match="control"):
        expect(vantage).not_to_know("other.invalid", control="no-such-name.invalid")


def test_what_only_informs_troubles_no_vantage(vantage, context):
    address = Address("clusterip", "http", "127.0.0.1", unused_port())
    token = informing.set(True)
    failures(lambda: expect(vantage).to_reach(address))
    informing.reset(token)
    assert not context.troubled
    failures(lambda: expect(vantage).to_reach(address))
    assert set(context.troubled) == {vantage.name}


@pytest.mark.parametrize(("slowest", "least", "most"), [(0.0, 0.2, 1.5), (0.6, 1.8, 10)])
def test_where_something_is_broken_slow_changes_are_still_waited_for(vantage, context, slowest, least, most):
    context.settings = context.settings.overridden(["troubled_deadline=0.2"])
    context.slowest = slowest
    address = Address("clusterip", "http", "127.0.0.1", unused_port(), settled=time.monotonic() + 60)
    context.troubled[vantage.name] = time.monotonic()
    begun = time.monotonic()
    failures(lambda: expect(vantage).to_reach(address))
    assert least <= time.monotonic() - begun < most
