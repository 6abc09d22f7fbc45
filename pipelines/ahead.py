"""Work that goes on in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def ahead(items: Iterable[T], count: int) -> Generator[T]:
    """``items`` in their order, of which ``count`` are made beforehand, one after another in a thread of their own; as
    they are asked for, in this one, where ``count`` is 0. What is raised there is raised here, in its turn.

    When this is closed, nothing is being made any more, and ``items`` are closed too if they can be.
    """
    if not count:
        yield from items
        return
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, source, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(source, Generator):
            source.close()


def mapped(function: Callable[[S], T], items: Iterable[S], threads: int) -> Generator[T]:
    """``function`` of each of ``items``, in their order, made by ``threads`` beforehand, one more than these at most.

    Of what is not asked for any more, no more is begun.
    """
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[T]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
