from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.config import settings
from pipelines.errors import BadData


def status_of(command: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> object:
    """With what status ``swath`` ends where its command is this one."""
    monkeypatch.setattr(main, "commands", lambda: command)
    with pytest.raises(SystemExit) as ended:
        main.app()
    return ended.value.code


def test_a_full_disk_is_told_with_what_to_do_and_never_taken_for_bad_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        try:
            with Path("/dev/full").open("w") as full:
                full.write("a scene")
        except OSError as error:
            raise BadData("The scene cannot be read; it may be cut short.") from error

    assert status_of(command, monkeypatch) == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told and "swath maintain" in told


def test_a_fault_of_ours_is_told_with_its_trace_and_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise RuntimeError("507 for url: http://bob:planted@127.0.0.1/x")

    assert status_of(command, monkeypatch) == 1
    told = capsys.readouterr().err
    assert "RuntimeError: 507 for url: http://***@127.0.0.1/x" in told and "in command" in told


def test_a_wrong_variable_is_told_in_its_sentence_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWATH_CATALOG", "imagery")
    assert status_of(settings, monkeypatch) == BadData.exit_status
    assert "swath: SWATH_CATALOG is 'imagery'" in capsys.readouterr().err
