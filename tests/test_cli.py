from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.config import settings
from pipelines.errors import BadData


def test_a_full_disk_is_told_with_what_to_do_and_never_taken_for_bad_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        try:
            with Path("/dev/full").open("w") as full:
                full.write("a scene")
        except OSError as error:
            raise BadData("The scene cannot be read; it may be cut short.") from error

    monkeypatch.setattr(main, "commands", lambda: command)
    with pytest.raises(SystemExit) as ended:
        main.app()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "No space left on device" in told and "swath maintain" in told


def test_a_fault_of_ours_is_told_with_its_trace_and_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise RuntimeError("507 for url: http://bob:planted@127.0.0.1/x")

    monkeypatch.setattr(main, "commands", lambda: command)
    with pytest.raises(SystemExit) as ended:
        main.app()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "RuntimeError: 507 for url: http://***@127.0.0.1/x" in told and "in command" in told


def test_a_wrong_variable_is_told_in_its_sentence_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "commands", lambda: settings)
    monkeypatch.setenv("SWATH_CATALOG", "imagery")
    with pytest.raises(SystemExit) as ended:
        main.app()
    assert ended.value.code == BadData.exit_status
    assert "swath: SWATH_CATALOG is 'imagery'" in capsys.readouterr().err
