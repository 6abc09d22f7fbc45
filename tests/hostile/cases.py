"""How a kind of bad input is written down: a function, and what is to come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """``expects`` is a regular expression that the sentence about it matches; None: it is taken, and right."""

    name: str
    write: Callable[..., Any]
    expects: str | None


class Corpus:
    """The kinds of one sort of input, in the order in which they are defined."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def refused(self, expects: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The input is set aside with a sentence like this."""
        return lambda write: self._add(write, expects)

    def taken(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """The input looks odd and is good."""
        return self._add(write, None)

    def _add(self, write: Callable[..., Any], expects: str | None) -> Callable[..., Any]:
        self.cases.append(Case(write.__name__, write, expects))
        return write

    def __iter__(self) -> Any:
        return iter(self.cases)
