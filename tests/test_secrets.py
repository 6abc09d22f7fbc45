from __future__ import annotations

import pytest

from pipelines.secrets import without_secrets


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://bot:p@ss-word@git.example.org/x.git", "https://***@git.example.org/x.git"),
        ("https://token@git.example.org/x and a@b", "https://***@git.example.org/x and a@b"),
        ("https://git.example.org/@team/x", "https://git.example.org/@team/x"),
        ("https://blob.example.org/a.tif?sig=abc&se=1", "https://blob.example.org/a.tif?sig=***&se=1"),
    ],
)
def test_of_an_address_its_place_is_told_and_never_its_credentials(text: str, told: str) -> None:
    assert without_secrets(text) == told
