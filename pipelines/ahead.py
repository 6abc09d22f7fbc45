"""Work that goes on in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """``items`` in their order, of which ``count`` are made beforehand, one after another in a thread of their own; as
    they are asked for, in this one, where ``count`` is 0. What is raised there is raised here, in its turn.
    """
    if not count:
        yield from items
        return
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]


def mapped(function: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """``function`` of each of ``items``, in their order, made by ``threads`` beforehand, two for each of these at most.

    Of what is not asked for any more, no more is begun.
    """
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[T]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
