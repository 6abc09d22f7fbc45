import pytest

from pipelines.errors import BadData
from pipelines.sample.drift import parse_drift


def test_drift_reads_back() -> None:
    assert str(parse_drift("haze:0.5")) == "haze:0.5"
    assert parse_drift("shift:1").strength == 1


@pytest.mark.parametrize("text", ["", "haze", "haze:", "fog:0.5", "haze:-1", "haze:9", "haze:1.2.3", "../x:1"])
def test_what_is_no_drift_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(BadData, match=r"haze:0\.5"):
        parse_drift(text)
