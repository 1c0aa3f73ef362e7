"""Clusters that are not set up as kubeadm does: their domain and DNS Service are found by what pods have."""

from __future__ import annotations

from tests.conformance.conftest import Runner
from tests.conformance.test_existing import in_lab

#: by the domain, by the DNS Service, by its endpoints
_CHECKS = (
    "dns.short-name",
    "dns.resolv-conf",
    "dns.every-replica",
    "externalname.to-service",
    "clusterip.api-server",
)


def test_another_domain_and_a_dns_service_without_the_usual_label(run_suite: Runner) -> None:
    script = "kubectl -n kube-system label service kube-dns k8s-app-\n"
    run = '{python} -m kubereach run --kubeconfig "$KUBECONFIG" --report-dir {report} '
    options = ("--nodes", "2", "--cluster-domain", "k8s.example")
    result = in_lab(run_suite, script + run + " ".join(_CHECKS), *options)
    assert result.code == 0, result.output
    assert result.ids("pass") == set(_CHECKS), result.output
    cluster = result.report["cluster"]
    assert (cluster["domain"], cluster["dns"]) == ("k8s.example", "kube-system/kube-dns 10.96.0.10")
    assert "dns notes" not in cluster, "no ConfigMap says anything else"
