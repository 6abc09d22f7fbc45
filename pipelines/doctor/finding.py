"""What a check found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Word = Literal["fine", "warning", "fault", "skipped"]


class Finding(BaseModel):
    """``fault``: a run would fail or lose something. ``warning``: it may. ``skipped``: it does not apply here."""

    model_config = ConfigDict(frozen=True)

    check: str
    word: Word
    what: str
    do: str = ""


def fine(check: str, what: str) -> Finding:
    return Finding(check=check, word="fine", what=what)


def skipped(check: str, what: str) -> Finding:
    return Finding(check=check, word="skipped", what=what)


def warning(check: str, what: str, do: str) -> Finding:
    return Finding(check=check, word="warning", what=what, do=do)


def fault(check: str, what: str, do: str) -> Finding:
    return Finding(check=check, word="fault", what=what, do=do)
