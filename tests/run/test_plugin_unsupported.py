"""Unsupported is proved: a feature is absent only by what was found out about that feature."""

from __future__ import annotations

from plugin_project import Project

pytest_plugins = ["pytester"]

INFORMS = '''
@check("demo.informs", level=INFO, needs=HOST_NETWORK, source=DOCS)
def test_informs():
    """A service proxy is healthy."""
    raise {error}
'''
FAILS = '''
@check("demo.fails", needs=HOST_NETWORK, source=DOCS)
def test_fails():
    """Nodes reach it."""
    raise NotConforming([Failure("node@worker", "clusterip", "an answer", "time-out")])
'''


def test_what_a_check_lacks_for_itself_says_nothing_of_its_feature(project: Project) -> None:
    project.checks(INFORMS.format(error='Unsupported("there is no kube-proxy")') + FAILS)
    project.run(code=1)
    assert project.verdicts == {"demo.informs": "unsupported", "demo.fails": "fail"}
    assert project.report["features"]["host-network"]["present"]


def test_a_feature_that_is_named_is_absent_from_then_on(project: Project) -> None:
    error = 'Unsupported("pods on the host network are forbidden", feature=HOST_NETWORK)'
    project.checks(INFORMS.format(error=error) + FAILS)
    project.run(code=3)
    assert project.verdicts == {"demo.informs": "unsupported", "demo.fails": "unsupported"}


def test_what_only_informs_never_changes_the_exit_code(project: Project) -> None:
    for error in ('CannotMeasure("no exec")', 'UsageError("no such file")', 'KeyError("podIP")'):
        project.checks(INFORMS.format(error=error) + FAILS.replace("raise", "verify(True, '')\n    return"))
        project.run(code=0)
        assert project.verdicts == {"demo.informs": "error", "demo.fails": "pass"}
        assert project.report["verdict"] == "conformant"


def test_what_only_informs_ends_no_run_that_stops_at_the_first_failure(project: Project) -> None:
    works = FAILS.replace("raise", "verify(True, '')\n    return")
    project.checks(INFORMS.format(error='CannotMeasure("no exec")') + works)
    (project.path / "test_plain.py").write_text("def test_plain():\n    pass\n")
    project.run("-x", code=0)
    assert project.verdicts == {"demo.informs": "error", "demo.fails": "pass"}


def test_what_is_required_fails_for_its_own_absence_alone(project: Project) -> None:
    project.checks(
        '''
        @check("lb.nodes", level=EXT, needs=(LOADBALANCER, HOST_NETWORK), source=DOCS)
        def test_nodes(nodes):
            """Nodes reach it."""
        '''
    )
    # what it needs besides is absent, so that it said nothing of the load balancer
    project.run("--kubereach-require=loadbalancer", code=3)
    assert project.verdicts == {"lb.nodes": "unsupported"}
    project.run("--kubereach-require=host-network", code=1).stdout.fnmatch_lines(
        ["* host-network", "    expected present (--require)"]
    )
    assert project.verdicts == {"lb.nodes": "fail"}


def test_a_required_feature_fails_the_run_also_where_no_check_needs_it(project: Project) -> None:
    project.fake(nodes=1)
    project.checks(FAILS.replace("raise", "verify(True, '')\n    return"))
    project.run("--kubereach-require=multi-node", code=1)
    assert project.verdicts == {"demo.fails": "pass"}
    assert project.report["reason"] == "required multi-node is absent: 1 node: control-plane"
    project.checks(INFORMS.replace("HOST_NETWORK", "MULTI_NODE").format(error="AssertionError"))
    project.run("--kubereach-require=multi-node", code=1)
    assert project.verdicts == {"demo.informs": "unsupported"}


def test_a_required_feature_of_which_nothing_was_found_out_is_not_measured(project: Project) -> None:
    works = FAILS.replace("raise", "verify(True, '')\n    return")
    project.checks(works)
    result = project.run("--kubereach-require=loadbalancer", code=3)
    assert project.report["reason"].startswith("nothing decided whether the cluster has loadbalancer")
    result.stdout.fnmatch_lines(["not measured: *nothing decided whether the cluster has loadbalancer*"])
    # a check that needs it and passes has used it
    project.checks(works.replace("HOST_NETWORK", "LOADBALANCER"))
    project.run("--kubereach-require=loadbalancer", code=0)
    # a failure says that the cluster does not conform, whatever was not found out besides
    project.checks(FAILS)
    project.run("--kubereach-require=loadbalancer", code=1)


ORDER = """
import threading
FOUND_OUT, HAS_BEGUN = threading.Event(), threading.Event()

@check("lb.first", level=EXT, needs=LOADBALANCER, source=DOCS)
def test_first(request):
    '''Left to pytest, since it has a fixture of its own: it finds out, when the second has begun.'''
    HAS_BEGUN.wait(30)
    raise Unsupported("no address within 60 s", feature=LOADBALANCER)
"""


def test_what_has_begun_before_a_feature_turned_out_to_be_absent_counts(project: Project) -> None:
    project.checks(
        ORDER
        + """
@check("lb.second", level=EXT, needs=LOADBALANCER, source=DOCS)
def test_second(nodeport):
    '''It has failed by then.'''
    HAS_BEGUN.set()
    verify(False, "an address that nobody serves")
"""
    )
    project.run(code=1)
    assert project.verdicts == {"lb.first": "unsupported", "lb.second": "fail"}


def test_what_has_not_begun_by_then_does_not_begin(project: Project) -> None:
    project.checks(
        ORDER
        + """
@check("demo.holds", slow=True, changes="nodeport", source=DOCS)
def test_holds(nodeport):
    '''It keeps the last one from beginning.'''
    HAS_BEGUN.set()
    FOUND_OUT.wait(30)
    verify(True, "")

@check("demo.lets-go", source=DOCS)
def test_lets_go(request):
    '''After the first.'''
    FOUND_OUT.set()
    verify(True, "")

@check("lb.waits", slow=True, level=EXT, needs=LOADBALANCER, source=DOCS)
def test_waits(nodeport):
    '''It has to wait for its turn.'''
    open("begun.txt", "w").close()
    verify(True, "")
"""
    )
    project.run(code=0)
    assert project.verdicts["lb.waits"] == "unsupported"
    assert not (project.path / "begun.txt").exists()
