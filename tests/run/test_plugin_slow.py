"""Slow checks run beside the others; pytest and the reports see them one after the other."""

from __future__ import annotations

from plugin_project import Project

pytest_plugins = ["pytester"]

CHECKS = """
    import threading
    import kubereach.model.events as events
    BOTH = threading.Barrier(3)

    @check("slow.first", slow=True, source=DOCS)
    def test_first(world, pods):
        '''The first waits for the other two.'''
        verify(pods == "some vantages", "others")
        BOTH.wait(60)
        world.bus.emit(events.Probed("slow.first", "pod@a", "pod", "a", "clusterip", "x", True, {"ok": 3}, (), 0.0))

    @check("slow.second", slow=True, source=DOCS)
    def test_second(outside):
        '''The second waits for the other two.'''
        BOTH.wait(60)
        verify(outside == "there", "somewhere else")

    @check("quick.third", source=DOCS)
    def test_third():
        '''The third is an ordinary one.'''
        verify(True, '')
        BOTH.wait(60)
"""


def test_they_overlap_and_are_told_last(project: Project) -> None:
    project.checks(CHECKS)
    project.run(code=1)
    checks = project.report["checks"]
    assert [(c["id"], c["verdict"]) for c in checks] == [
        ("quick.third", "pass"),
        ("slow.first", "pass"),
        ("slow.second", "fail"),
    ]
    assert checks[1]["paths"][0]["outcomes"] == {"ok": 3}
    assert checks[2]["message"] == "somewhere else"


QUICK = """
    import threading
    MEET, RUNNING = threading.Barrier(2), []

    def run(name, with_other):
        RUNNING.append(name)
        if with_other:
            MEET.wait(10)
        else:
            time.sleep(0.05)
            assert RUNNING == [name]
        RUNNING.remove(name)
        verify(True, "")

    @check("quick.one", source=DOCS)
    def test_one(nodeport):
        '''One runs beside two.'''
        run("one", True)

    @check("quick.two", source=DOCS)
    def test_two(nodeport):
        '''Two runs beside one.'''
        run("two", True)
"""


def test_quick_ones_overlap_too(project: Project) -> None:
    project.checks(QUICK)
    project.run(code=0)
    assert project.verdicts == {"quick.one": "pass", "quick.two": "pass"}


def test_none_runs_beside_one_that_changes_what_it_uses(project: Project) -> None:
    alone = QUICK.replace("True)", "False)")
    project.checks(alone.replace('"quick.two", source', '"quick.two", changes="nodeport", source'))
    project.run(code=0)
    assert project.verdicts == {"quick.one": "pass", "quick.two": "pass"}


def test_to_stop_at_the_first_failure_is_to_run_one_after_the_other(project: Project) -> None:
    project.checks(QUICK.replace("True)", "False)"))
    project.run("-x", code=0)
    assert project.verdicts == {"quick.one": "pass", "quick.two": "pass"}


def test_what_is_not_chosen_is_not_begun(project: Project) -> None:
    project.checks(CHECKS.replace("BOTH.wait(60)", 'open("begun.txt", "a").write("x")'))
    project.run("--kubereach-check", "quick", code=0)
    assert (project.path / "begun.txt").read_text() == "x"


def test_an_absent_feature_keeps_one_from_beginning(project: Project) -> None:
    project.fake(nodes=1)
    code = '@check("slow.one", slow=True, needs=MULTI_NODE, source=DOCS)\n'
    code += "def test_one():\n    '''One.'''\n    open('begun.txt', 'w')\n"
    project.checks(code)
    project.run(code=3)
    assert project.verdicts == {"slow.one": "unsupported"}
    assert not (project.path / "begun.txt").exists()


def test_fixtures_of_others_are_left_to_pytest(project: Project) -> None:
    project.checks(
        """
        @pytest.fixture
        def number():
            return 7

        @check("slow.one", slow=True, source=DOCS)
        def test_one(number):
            '''One.'''
            verify(number == 7, f"it is {number}")
        """
    )
    project.run(code=0)
    assert project.verdicts == {"slow.one": "pass"}


def test_an_interrupted_run_does_not_wait_for_them(project: Project) -> None:
    project.fake(stop="self.ended.set()", start="import threading; self.ended = threading.Event()")
    project.checks(
        """
        @check("slow.one", slow=True, source=DOCS)
        def test_one(world):
            '''One.'''
            world.ended.wait()

        @check("quick.two", source=DOCS)
        def test_two():
            '''Two.'''
            raise KeyboardInterrupt
        """
    )
    project.run(code=3)
    assert project.log.endswith("stop close")
