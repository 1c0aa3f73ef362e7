"""Packets of all kinds between each pair of nodes, without any Service in between."""

from __future__ import annotations

from kubereach import CORE, check
from kubereach.expect import expect


@check(
    "nodes.large-transfer",
    level=CORE,
    source="https://kubernetes.io/docs/concepts/cluster-administration/networking/",
)
def test_large_transfer(clusterip, multiport, pods):
    """Pods on every two nodes, and on one, exchange 4 MiB both ways intact, and datagrams of up to 60,000 bytes.

    Small requests get through a path whose MTU is wrong, large ones hang for ever. The failure says between which nodes
    and up to which size: look at the MTU of the pods' network against that of the nodes', less what the tunnel takes,
    and at firewalls that drop ICMP "fragmentation needed" (RFC 1191, RFC 8201) or fragments. On large clusters each
    node tries a sample of the others.
    """
    # first: with it a kernel learns what a path carries at most, which may cost a packet (RFC 1191); TCP sends it again
    expect(pods).to_transfer(clusterip.addresses.each_pod_by_node(), size=4 << 20)
    datagrams = multiport.addresses.each_pod_by_node("datagram")
    for size in (512, 1200, 8192):  # of DNS without EDNS, of QUIC (RFC 9000, section 14), of several packets
        expect(pods).to_carry(datagrams, size=size, count=3)
    # so few: clouds limit the rate of fragments
    expect(pods).to_carry(datagrams, size=60_000, count=1, sample=1)


@check("nodes.marked-packets", level=CORE, source="https://www.rfc-editor.org/rfc/rfc2474#section-4")
def test_marked_packets(multiport, pods):
    """Packets with a DSCP (EF, AF11, CS1) or with ECN's ECT(0) get through between every two nodes and by a cluster IP.

    Voice, storage and batch traffic are marked so by their programs, and ECN by kernels. A network may change or ignore
    a mark that it does not know, but it forwards the packet like any other (RFC 2474, section 4; RFC 8311 for ECN): a
    firewall that drops "invalid" TOS bytes breaks only those programs. Whether a mark arrives is not asked.
    """
    for port in ("line", "datagram"):
        expect(pods).to_take_marks(multiport.addresses.each_pod_by_node(port))
        expect(pods).to_take_marks(multiport.vip(port))


@check("nodes.half-closed", level=CORE, source="https://www.rfc-editor.org/rfc/rfc9293#section-3.6")
def test_half_closed(multiport, pods):
    """A client that has closed its side of a connection still gets its answer, from every node and by a cluster IP.

    Closing is a thing of one direction in TCP: netcat, rsync, database dumps and proxies end their question so and then
    read. Who takes that for the connection's end (a connection tracking table, a user space proxy) cuts the answer off.
    """
    expect(pods).to_answer_half_closed(multiport.addresses.each_pod_by_node("line"))
    expect(pods).to_answer_half_closed(multiport.vip("line"))
