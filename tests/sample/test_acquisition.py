from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sample.acquisition import acquisitions
from pipelines.sample.drift import NONE, parse_drift


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 150), st.integers(0, 30))
def test_scenes_differ_and_more_of_them_never_change_the_first(scenes: int, unlabelled: int) -> None:
    all_drifts = [NONE, parse_drift("haze:0.5"), parse_drift("haze:0.25"), parse_drift("shift:0.5")]
    looks = [look for drift in all_drifts for look in acquisitions(scenes, unlabelled, drift)]
    assert len({look.id for look in looks}) == len(looks) == 4 * (scenes + unlabelled)
    fewer = acquisitions(scenes // 2, unlabelled, NONE)
    assert [look.id for look in fewer[: scenes // 2]] == [look.id for look in looks[: scenes // 2]]


def test_dates_of_one_place_fill_the_year() -> None:
    looks = acquisitions(144, 0, NONE)
    for place in {look.place for look in looks}:
        dates = sorted(look.datetime for look in looks if look.place == place)
        assert len(dates) == 72
        assert max((b - a).days for a, b in pairwise(dates)) <= 6
