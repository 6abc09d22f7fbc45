"""What became of each fault, and the table of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Fate = Literal["survived", "told", "lost", "missed"]


@dataclass(frozen=True)
class Outcome:
    """``survived``: the retry gave what an undisturbed run gives. ``told``: it ended with a sentence that says what to
    do, and doing it gave that. ``lost``: anything else. ``missed``: what it was aimed at had ended before.
    """

    name: str  # by which it can be repeated
    kind: str
    task: str
    fate: Fate
    note: str = ""


def table(outcomes: Iterable[Outcome]) -> str:
    """Faults by kind and task, as Markdown."""
    counted: Counter[tuple[str, str, Fate]] = Counter((o.kind, o.task, o.fate) for o in outcomes)
    rows = sorted({(kind, task) for kind, task, _ in counted})
    lines = ["| fault | task | tried | survived | told what to do | lost |", "|---|---|---|---|---|---|"]
    sums: Counter[str] = Counter()
    for kind, task in rows:
        of = {fate: counted[kind, task, fate] for fate in ("survived", "told", "lost")}
        sums.update(of)
        if tried := sum(of.values()):
            lines.append(f"| {kind} | {task} | {tried} | {of['survived']} | {of['told']} | {of['lost']} |")
    lines.append(f"| **all** | | {sum(sums.values())} | {sums['survived']} | {sums['told']} | {sums['lost']} |")
    return "\n".join(lines)
