"""Making things in another thread changes neither their order nor what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.ahead import ahead, mapped


@pytest.mark.parametrize("count", [0, 1, 3, 20])
def test_all_come_in_their_order(count: int) -> None:
    assert list(ahead(range(10), count)) == list(range(10))
    assert list(ahead([], count)) == []


def test_no_more_than_asked_for_are_made_beforehand_and_none_in_this_thread() -> None:
    made: list[int] = []
    threads = set()

    def items() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            threads.add(threading.get_ident())
            yield number

    for number in ahead(items(), 2):
        assert len(made) <= number + 1 + 2
    assert threading.get_ident() not in threads and made == list(range(9))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_error_is_raised_in_its_turn(count: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    found = ahead(items(), count)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_when_it_is_closed_nothing_is_made_any_more(count: int) -> None:
    before, begun, closed = threading.active_count(), [], []
    reached, second = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(100):
                begun.append(number)
                if number == 1:
                    reached.set()
                    second.wait(60)
                yield number
        finally:
            closed.append(True)

    source = items()  # still known here, so that not the collector of garbage closes it
    found = ahead(source, count)
    next(found)
    assert not count or reached.wait(60)
    threading.Timer(0.2, second.set).start()  # the second is being made, and no other is begun, when it is closed
    found.close()
    assert closed == [True] and begun == [0, 1][: 1 + bool(count)]
    second.wait(60)
    assert threading.active_count() <= before + 1  # the timer may be about to end


def test_several_threads_keep_the_order_and_make_no_more_than_a_few_beforehand() -> None:
    begun: list[int] = []
    threads = set()

    def slow(number: int) -> int:
        begun.append(number)
        threads.add(threading.get_ident())
        time.sleep(0.002 * (number % 3))
        return -number

    for number, found in enumerate(mapped(slow, range(30), 3)):
        assert found == -number and len(begun) <= number + 1 + 3
    assert len(threads) > 1 and sorted(begun) == list(range(30))


def test_what_nobody_waits_for_any_more_is_not_begun_and_errors_come_in_their_turn() -> None:
    begun: list[int] = []

    def fails(number: int) -> int:
        begun.append(number)
        return 1 // (number - 2)

    found = mapped(fails, range(100), 2)
    assert [next(found), next(found)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert len(begun) < 10
    before = threading.active_count()
    items = mapped(str, range(100), 4)
    next(items)
    items.close()
    assert threading.active_count() <= before
