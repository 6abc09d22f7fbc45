from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.doctor.finding import Finding


@contextmanager
def somebody_else() -> Iterator[None]:
    """For a while without the rights of root, whom no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def only(findings: list[Finding], word: str) -> Finding:
    """The one finding, which must be ``word`` and, where something is wrong, say what to do."""
    (found,) = findings
    assert found.word == word, found
    assert bool(found.do) is (word in ("warning", "fault"))
    return found
