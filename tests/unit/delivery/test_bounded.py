"""Calls that may never return: waited for so long and no longer, and nothing is kept of one that is over."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator

import pytest

from stream_infer.delivery.bounded import Caller

_LONG_S = 60.0


class Callee:
    """Remembers the thread it was called in; waits there until it may go on."""

    def __init__(self, *, comes_back: bool = True) -> None:
        self.may_go_on = threading.Event()
        if comes_back:
            self.may_go_on.set()
        self.began = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.began.set()
        self.may_go_on.wait()

    @property
    def ended(self) -> bool:
        """Whether the thread it was called in comes to its end."""
        assert self.began.wait(_LONG_S)
        assert self.thread is not None
        self.thread.join(_LONG_S)
        return not self.thread.is_alive()


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller("calling")
    yield made
    made.close()


def test_calls_are_made_one_after_the_other_in_one_thread_of_its_own(caller: Caller) -> None:
    first, second = Callee(), Callee()

    assert caller.returns_within(first, _LONG_S)
    assert caller.returns_within(second, _LONG_S)
    assert first.thread is second.thread is not threading.current_thread()


def test_what_a_call_raises_is_raised_and_the_next_one_is_made(caller: Caller) -> None:
    def fail() -> None:
        raise KeyError("by the call")

    with pytest.raises(KeyError, match="by the call"):
        caller.returns_within(fail, _LONG_S)

    assert caller.returns_within(Callee(), _LONG_S)


def test_a_call_that_does_not_come_back_keeps_its_thread_and_says_nothing_later(caller: Caller) -> None:
    lost, next_one = Callee(comes_back=False), Callee(comes_back=False)

    assert not caller.returns_within(lost, 0.05)
    lost.may_go_on.set()
    assert lost.ended
    assert not caller.returns_within(next_one, 0.05)  # it is not taken for the answer of the one before
    next_one.may_go_on.set()
    assert next_one.ended
    assert next_one.thread is not lost.thread


def test_nothing_is_kept_of_a_call_that_is_over(caller: Caller) -> None:
    call = Callee()
    gone = threading.Event()
    weakref.finalize(call, gone.set)
    caller.returns_within(call, _LONG_S)
    del call

    assert gone.wait(_LONG_S)


def test_its_thread_ends_when_it_is_closed(caller: Caller) -> None:
    call = Callee()
    caller.returns_within(call, _LONG_S)
    caller.close()

    assert call.ended
