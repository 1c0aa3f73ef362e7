"""Checks that run in threads get the very values that pytest gives."""

from __future__ import annotations

import pytest
from plugin_project import Project

pytest_plugins = ["pytester"]

SHOWS = '''
@check("demo.shows", {slow}source=DOCS)
def test_shows({name}):
    """It gets the value."""
    verify({name} == {wanted!r}, f"it got {{{name}}}")
'''
FIXTURES = {
    "a parameter is not the value": (
        "@pytest.fixture(params=[1])\ndef number(request):\n    return request.param * 10\n",
        "number",
        10,
    ),
    "nor is one of an indirect mark": (
        "@pytest.fixture\ndef number(request):\n    return request.param * 10\n\n"
        'pytestmark = pytest.mark.parametrize("number", [1], indirect=True)\n',
        "number",
        10,
    ),
    "a mark's values are": ('pytestmark = pytest.mark.parametrize("number", [1])\n', "number", 1),
    "also in place of a fixture of ours": (
        'pytestmark = pytest.mark.parametrize("nodeport", [1])\n',
        "nodeport",
        1,
    ),
    "a fixture of the project's own in place of ours": (
        "@pytest.fixture\ndef pods():\n    return 'my own'\n",
        "pods",
        "my own",
    ),
    "a Service": ("", "nodeport", "service nodeport"),
    "a vantage": ("", "other_pods", "some vantages"),
}


@pytest.mark.parametrize("slow", ["", "slow=True, "], ids=["quick", "slow"])
@pytest.mark.parametrize(("fixture", "name", "wanted"), FIXTURES.values(), ids=FIXTURES)
def test_the_value_is_pytests(project: Project, slow: str, fixture: str, name: str, wanted: object) -> None:
    project.checks(fixture + SHOWS.format(slow=slow, name=name, wanted=wanted))
    project.run(code=0)


def test_fixtures_that_are_there_without_being_named_come_first(project: Project) -> None:
    project.checks(
        """
        THERE = []

        @pytest.fixture(autouse=True)
        def there():
            THERE.append(1)

        @check("demo.slow", slow=True, source=DOCS)
        def test_slow(nodeport):
            '''It finds them.'''
            verify(THERE, "it was not there yet")
        """
    )
    project.run(code=0)


def test_what_is_marked_to_be_skipped_does_not_begin(project: Project) -> None:
    project.checks(
        """
        @pytest.mark.skip
        @check("demo.skipped", slow=True, source=DOCS)
        def test_skipped(nodeport):
            '''It is left out.'''
            open("begun.txt", "w").close()
        """
    )
    project.run(code=3)
    assert project.verdicts == {"demo.skipped": "error"}
    assert not (project.path / "begun.txt").exists()
