"""Threads that read ahead and write behind: order, bounds, errors, ends."""

import sys
import threading
import time

import pytest

from nlm.overlap import TURN, Behind, ahead, quick_turns


def threads():
    return {thread.name for thread in threading.enumerate()}


def test_items_come_in_order_and_no_more_than_asked_for_in_advance():
    made = 0

    def items():
        nonlocal made
        for number in range(50):
            made += 1
            yield number

    for number, item in enumerate(ahead(items(), 3)):
        assert item == number
        assert made <= number + 1 + 3 + 1  # handed out, waiting, in hand
    assert number == 49


def test_items_are_made_while_others_are_used():
    making = threading.Event()

    def items():
        yield 1
        making.set()
        yield 2

    source = ahead(items(), 2)
    next(source)
    assert making.wait(5)
    source.close()


def test_an_error_comes_where_the_item_would_have():
    def items():
        yield 1
        raise OSError("broken")

    source = ahead(items(), 5)
    assert next(source) == 1
    with pytest.raises(OSError, match="broken"):
        next(source)


def test_closing_ends_the_thread():
    source = ahead(iter(range(1000)), 2)
    next(source)
    assert "nlm-ahead" in threads()
    source.close()
    assert "nlm-ahead" not in threads()


def test_behind_does_everything_in_order():
    done = []
    with Behind(done.append, 2) as behind:
        for number in range(20):
            behind.put(number)
    assert done == list(range(20))
    assert "nlm-behind" not in threads()


def test_behind_tells_errors():
    def consume(number):
        if number == 3:
            raise OSError("disk full")

    def work():
        with Behind(consume, 2) as behind:
            for number in range(100):
                behind.put(number)
                time.sleep(0.001)

    with pytest.raises(OSError, match="disk full"):
        work()
    assert "nlm-behind" not in threads()


def test_behind_tells_an_error_of_the_last_item():
    def consume(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Behind(consume, 2) as behind:
        behind.put(1)


def test_behind_drops_the_rest_after_an_error_of_the_caller():
    done = []
    gate = threading.Event()

    def consume(number):
        gate.wait(5)
        done.append(number)

    def work():
        with Behind(consume, 10) as behind:
            for number in range(5):
                behind.put(number)
            gate.set()
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert len(done) <= 5
    assert "nlm-behind" not in threads()


def test_turns_are_quick_inside_and_as_before_outside():
    before = sys.getswitchinterval()
    with pytest.raises(OSError, match="broken"), quick_turns():  # noqa: PT012
        assert sys.getswitchinterval() == pytest.approx(TURN)
        raise OSError("broken")
    assert sys.getswitchinterval() == before


def test_an_error_behind_what_is_behind_comes_out_in_front():
    def fail(item):
        raise OSError(f"item {item} is broken")

    with (  # noqa: PT012
        pytest.raises(OSError, match="item 0 is broken"),
        Behind(fail, 2) as last,
        Behind(last.put, 2) as first,
    ):
        for number in range(100):
            first.put(number)
            time.sleep(0.001)
    assert "nlm-behind" not in threads()


def test_turns_are_quick_as_long_as_anybody_wants_it():
    before = sys.getswitchinterval()
    first, second = quick_turns(), quick_turns()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(TURN)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


def test_an_interrupt_while_waiting_for_the_end_leaves_no_thread(monkeypatch):
    go_on = threading.Event()

    def slow(item):
        go_on.wait(5)

    last = Behind(slow, 1)
    first = Behind(last.put, 1)

    def interrupted():
        go_on.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), last, first:  # noqa: PT012
        for number in range(3):
            first.put(number)
        monkeypatch.setattr(first._thread, "join", interrupted)
    first._thread.__class__.join(first._thread, 5)
    assert "nlm-behind" not in threads()
