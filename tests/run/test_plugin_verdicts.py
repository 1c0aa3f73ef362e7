"""What a check raises, and what the run says about it."""

from __future__ import annotations

from xml.etree import ElementTree

from plugin_project import Project

pytest_plugins = ["pytester"]

PASSES = '''
@check("demo.passes", source=DOCS)
def test_passes(nodeport):
    """A thing works.

    Else nothing does.
    """
    verify(nodeport == "service nodeport", f"it is {nodeport}")
'''

FAILS = '''
ADDRESS = "nodeport http://172.18.0.3:30080"

@check("demo.fails", source=DOCS + "service/")
def test_fails(pods):
    """A NodePort answers on every node."""
    raise NotConforming([
        Failure("pod@worker", ADDRESS, "ok from 3 backends", "timeout 2 of 90", ("p50 0.4 ms",)),
        Failure("pod@control-plane", ADDRESS, "ok from 3 backends", "refused 1 of 1"),
    ])
'''


def test_a_run_in_which_all_core_checks_pass_conforms(project: Project) -> None:
    project.checks(PASSES)
    result = project.run(code=0)
    result.stdout.fnmatch_lines(
        [
            "target fake: Kubernetes v1.36.2, 2 nodes, 1 check",
            "world ready in 0.1 s: 2 pods, 1 vantage",
            "* demo.passes  0.0? s",
            "conformant: 1 passed in *",
            "report: */reports/latest/report.json",
        ]
    )
    assert "1 passed in" not in result.outlines[-1]  # pytest's own last line
    assert project.report["verdict"] == "conformant"
    assert project.report["cluster"] == {"version": "v1.36.2", "nodes": ["control-plane", "worker"]}
    assert project.log == "open start nodeport stop close"


def test_a_failure_is_told_in_a_few_lines(project: Project) -> None:
    project.checks(PASSES + FAILS)
    result = project.run(code=1)
    result.stdout.fnmatch_lines(
        [
            "* demo.fails *fail: pod@worker -> nodeport http://172.18.0.3:30080: *(and 1 more)",
            "",
            "* demo.fails  (core)",
            "  A NodePort answers on every node.",
            "  pod@worker ?* nodeport http://172.18.0.3:30080",
            "    expected ok from 3 backends",
            "    got      timeout 2 of 90",
            "             p50 0.4 ms",
            "  pod@control-plane ?* nodeport http://172.18.0.3:30080",
            "    expected ok from 3 backends",
            "    got      refused 1 of 1",
            "  https://kubernetes.io/docs/concepts/services-networking/service/",
            "",
            "not conformant: 1 passed, 1 failed in *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*def test_fails*")
    (failed,) = [check for check in project.report["checks"] if check["verdict"] == "fail"]
    assert failed["failures"][0]["evidence"] == ["p50 0.4 ms"]
    assert (project.report["exit_code"], project.report["totals"]["fail"]) == (1, 1)


def test_a_plain_assertion_fails_a_check(project: Project) -> None:
    project.checks(
        '''
        @check("demo.asserts", source=DOCS)
        def test_asserts():
            """Two is one."""
            assert 2 == 1, "two is not one"
        '''
    )
    project.run(code=1).stdout.fnmatch_lines(["* demo.asserts *fail: two is not one*"])


def test_info_checks_are_noted_and_fail_nothing(project: Project) -> None:
    project.checks(
        PASSES
        + '''
@check("demo.noted", level=INFO, source=DOCS)
def test_noted():
    """The address does not answer outside."""
    raise NotConforming([Failure("outside", "http://10.96.0.1", "no answer", "ok")])
'''
    )
    result = project.run(code=0)
    result.stdout.fnmatch_lines(["i demo.noted*", "    got      ok", "conformant: 1 passed, 1 noted in *"])
    assert project.verdicts == {"demo.passes": "pass", "demo.noted": "noted"}


def test_what_cannot_be_measured_is_neither_pass_nor_failure(project: Project) -> None:
    project.checks(
        PASSES
        + '''
@check("demo.cannot", source=DOCS)
def test_cannot():
    """A thing works."""
    raise CannotMeasure("exec into pods is forbidden", "Allow create on pods/exec.")
'''
    )
    result = project.run(code=3)
    result.stdout.fnmatch_lines(
        [
            "  not measured: exec into pods is forbidden (Allow create on pods/exec.)",
            "not measured: *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    project.checks(FAILS, "test_more.py")
    project.run(code=1).stdout.fnmatch_lines(["not conformant: 1 passed, 1 failed, 1 not measured in *"])


def test_an_unexpected_exception_says_where_and_its_traceback_on_demand(project: Project) -> None:
    project.checks(
        '''
        @check("demo.defect", source=DOCS)
        def test_defect(pods):
            """A thing works."""
            {}["missing"]
        '''
    )
    project.run(code=3).stdout.fnmatch_lines(["! demo.defect *error: KeyError: 'missing' (test_checks.py:*)"])
    project.run("-v", code=3).stdout.fnmatch_lines(
        ['>       {}[[]"missing"[]]', "E       KeyError: 'missing'"]
    )


def test_an_error_in_a_fixture_or_teardown_is_an_error(project: Project) -> None:
    project.checks(
        '''
        @pytest.fixture
        def fragile():
            yield
            raise RuntimeError("no way back")

        @pytest.fixture
        def doubtful():
            assert False, "not about the cluster"

        @check("demo.teardown", source=DOCS)
        def test_teardown(fragile):
            """A thing works."""

        @check("demo.setup", source=DOCS)
        def test_setup(doubtful):
            """A thing works."""
        '''
    )
    project.run(code=3)
    assert project.verdicts == {"demo.teardown": "error", "demo.setup": "error"}


def test_parametrised_checks_have_cases(project: Project) -> None:
    project.checks(
        '''
        @pytest.mark.parametrize("family", ["IPv4", "IPv6"])
        @check("demo.cases", source=DOCS)
        def test_cases(family):
            """A thing works in both families."""
            verify(family == "IPv4", "it does not")
        '''
    )
    project.run(code=1).stdout.fnmatch_lines(["* demo.cases[[]IPv4[]] *", "* demo.cases[[]IPv6[]] *fail*"])
    assert [(c["case"], c["verdict"]) for c in project.report["checks"]] == [
        ("IPv4", "pass"),
        ("IPv6", "fail"),
    ]


def test_junit_has_ids_and_verdicts(project: Project) -> None:
    project.checks(PASSES + FAILS)
    project.run("--junitxml=junit.xml", code=1)
    cases = ElementTree.parse(project.path / "junit.xml").findall(".//testcase")
    read = [{p.get("name"): p.get("value") for p in case.findall(".//property")} for case in cases]
    assert [(p["check"], p["verdict"]) for p in read] == [("demo.passes", "pass"), ("demo.fails", "fail")]
    failure = cases[1].find("failure")
    assert failure is not None and "got      timeout 2 of 90" in str(failure.text)


def test_the_matrix_shows_who_reached_what(project: Project) -> None:
    project.checks(
        '''
        from kubereach.model.events import Probed

        @check("demo.paths", source=DOCS)
        def test_paths(world):
            """Everybody reaches it."""
            verify(True, "they do")
            for node, outcomes in (("worker", {"ok": 3}), ("worker2", {"ok": 2, "timeout": 1})):
                world.bus.emit(Probed("demo.paths", f"pod@{node}", "pod", node, "clusterip", "http://10.96.0.7",
                                      len(outcomes) == 1, outcomes, (0.0004, 0.0005, 0.0006), 0.01))
            world.bus.emit(Probed("demo.paths", "outside", "outside", "", "clusterip", "http://10.96.0.7",
                                  True, {"unreachable": 3}, (1.0,), 0.01))
        '''
    )
    project.run(code=0).stdout.fnmatch_lines(
        [
            "p50 in ms, from clusterip*",
            "pod * 0.50*",
            "  worker * 0.50*",
            "  worker2 *",
            "outside  *",
            "* no answer, as required",
        ]
    )
    (path, *_) = project.report["checks"][0]["paths"]
    assert path["latency_ms"] == {"p50": 0.5, "p99": 0.6, "max": 0.6}


def test_what_stands_out_is_noted_and_changes_no_verdict(project: Project) -> None:
    project.checks(
        '''
        from kubereach.model.events import Probed
        from kubereach.model.outcome import Answered

        @check("demo.paths", source=DOCS)
        def test_paths(world):
            """Everybody reaches it."""
            verify(True, "they do")
            for client in ("a", "b", "c"):
                for server in ("a", "b", "c"):
                    twice = 30 * ({client, server} == {"a", "c"})
                    answered = Answered(f"pod-{server}", f"node-{server}", (0.0005,) * 40, twice)
                    world.bus.emit(Probed("demo.paths", f"pod@{client}", "pod", f"node-{client}", "pod", "udp://x",
                                          True, {"ok": 40}, answered.latencies, 0.0, probe="udp", answered=(answered,)))
        '''
    )
    text = "packets between a and c arrive twice: 60 of 80 datagrams"
    project.run(code=0).stdout.fnmatch_lines(["outliers", f"  {text}", "*conformant: 1 passed*"])
    assert project.report["outliers"] == [
        {
            "what": "duplicates",
            "place": {"from": "a", "to": "c", "both_ways": True, "node": "", "pod": ""},
            "value": 75.0,
            "others": 0.0,
            "unit": "% of datagrams",
            "text": text,
        }
    ]
    assert project.report["run"]["notes"] == [f"outlier: {text}"]
    assert sum(path["duplicates"] for path in project.report["checks"][0]["paths"]) == 60


KNOWN = '''
@check("endpoints.udp-after-scale-to-zero", level=INFO, source=DOCS)
def test_known(world):
    """A thing that Kubernetes itself does wrong."""
    from kubereach.model.events import Note
    world.bus.emit(Note("endpoints.udp-after-scale-to-zero", "seen twice"))
    raise NotConforming([Failure("pod@worker", "a Service", "an end", "none")])
'''


def test_a_known_defect_is_named_with_its_issue(project: Project) -> None:
    project.checks(PASSES + KNOWN)
    result = project.run(code=0)
    result.stdout.fnmatch_lines(
        [
            "reported",
            "  endpoints.udp-after-scale-to-zero: seen twice",
            "* endpoints.udp-after-scale-to-zero  (info)",
            "  known defect of Kubernetes 1.32 to 1.37, kubernetes #139628*",
        ]
    )
    passed, known = project.report["checks"]
    assert known["verdict"] == "noted"
    assert known["known_defect"]["versions"] == "1.32 to 1.37"
    assert known["notes"] == ["seen twice"]
    assert passed["known_defect"] is None
