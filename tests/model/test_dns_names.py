"""Names, resolver configuration, and the declarations of all suites."""

from __future__ import annotations

from pathlib import Path

from kubereach.kube.resolv_conf import ResolvConf
from kubereach.model import dns_names
from kubereach.run.catalogue import read_checks

SUITES = Path(__file__).parents[2] / "suites"


def test_names():
    assert dns_names.fqdn("web", "shop", "cluster.local") == "web.shop.svc.cluster.local."
    assert dns_names.srv("http", "TCP", "web", "shop", "c.l") == "_http._tcp.web.shop.svc.c.l."
    assert dns_names.reverse("10.96.0.1") == "1.0.96.10.in-addr.arpa."
    assert dns_names.reverse("fd00::1").endswith(".d.f.ip6.arpa.")
    assert dns_names.qualified("web", "shop", "c.l") == (
        "web.shop",
        "web.shop.svc",
        "web.shop.svc.c.l",
        "web.shop.svc.c.l.",
    )


def test_resolv_conf():
    text = "search a.svc.c.l svc.c.l. c.l\nnameserver 10.96.0.10\n# comment\noptions ndots:5 edns0\n"
    assert ResolvConf.parse(text) == ResolvConf(("10.96.0.10",), ("a.svc.c.l", "svc.c.l", "c.l"), 5)
    assert ResolvConf.parse("nameserver 172.18.0.1\n") == ResolvConf(("172.18.0.1",), (), 1)


def test_every_check_has_an_id_of_its_own_a_source_and_a_reason():
    checks = read_checks(SUITES)
    assert len(checks) == len({check.id for check in checks}) >= 47
    for check in checks:
        assert check.source.startswith("https://"), check.id
        assert check.why, check.id
        assert check.requirement.endswith("."), check.id
        assert check.file.parent.name == check.topic


def test_suites_only_declare():
    """Nothing in suites/ sleeps, starts processes, opens sockets or talks to the API by itself."""
    allowed = {"__future__", "kubereach", "kubereach.expect"}
    for file in SUITES.rglob("*.py"):
        imported = {
            line.split()[1] for line in file.read_text().splitlines() if line.startswith(("import ", "from "))
        }
        assert imported <= allowed, file
