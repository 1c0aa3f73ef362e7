"""The stream of events: a consumer that raises costs only itself."""

from __future__ import annotations

from kubereach.model.events import Bus, Progress


class Consumer:
    def __init__(self, *raises: str) -> None:
        self.raises, self.seen = raises, []

    def __call__(self, event):
        self.seen.append(event.text)
        if event.text in self.raises:
            raise KeyError(event.text)


def test_one_that_raises_is_left_out_from_then_on():
    bus, broken, other = Bus(), Consumer("two", "three"), Consumer()
    bus.subscribe(broken)
    bus.subscribe(other)
    for text in ("one", "two", "three"):
        bus.emit(Progress(text))
    assert broken.seen == ["one", "two"]
    assert other.seen == ["one", "two", "three"]
    ((consumer, error),) = bus.broken
    assert consumer is broken
    assert error.args == ("two",)


def test_an_essential_one_goes_on_and_its_first_error_is_kept():
    bus, broken = Bus(), Consumer("one", "two")
    bus.subscribe(broken, essential=True)
    for text in ("one", "two", "three"):
        bus.emit(Progress(text))
    assert broken.seen == ["one", "two", "three"]
    assert [error.args for _, error in bus.broken] == [("one",)]


def test_what_is_held_back_is_not_told():
    bus, consumer, held = Bus(), Consumer(), []
    bus.subscribe(consumer)
    with bus.held_back(held):
        bus.emit(Progress("one"))
    bus.emit(Progress("two"))
    assert [event.text for event in held] == ["one"]
    assert consumer.seen == ["two"]
