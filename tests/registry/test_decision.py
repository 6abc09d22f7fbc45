from __future__ import annotations

import pytest

from pipelines.config.params import Gate
from pipelines.evaluation.bootstrap import Interval
from pipelines.registry.decision import Evidence, decide

GATE = Gate(min_gain=0.0, confidence=0.95, class_floor=0.1, scene_floor=0.1, max_slowdown=2.0)
GOOD = Evidence(
    test="t",
    blocks=8,
    seen=0,
    opponent="champion",
    miou=0.7,
    opponent_miou=0.6,
    gain=Interval(value=0.1, low=0.05, high=0.15),
    classes={"water": 0.9, "bare": 0.4},
    scenes={"s1": 0.7},
    slowdown=1.1,
)


def test_a_clear_gain_is_promoted_with_its_figures():
    verdict, reasons = decide(GOOD, GATE)
    assert verdict == "promote"
    assert "+0.1000" in reasons[0]
    assert "8 test blocks" in reasons[0]


def test_a_class_that_the_test_has_none_of_is_named():
    verdict, reasons = decide(GOOD.model_copy(update={"untested": ("moor", "ice")}), GATE)
    assert verdict == "promote" and "Nothing is known of moor, ice" in reasons[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"gain": Interval(value=0.0, low=0.0, high=0.0)}, "does not beat the champion"),
        ({"gain": Interval(value=0.1, low=-0.01, high=0.2)}, "does not beat the champion"),
        ({"gain": Interval(value=None, low=None, high=None)}, "cannot be computed"),
        ({"classes": {"water": 0.9, "bare": 0.05}}, "Class bare"),
        ({"scenes": {"s1": 0.05}}, "Scene s1"),
        ({"contract": ("It expects other bands.",)}, "other bands"),
        ({"slowdown": 2.1}, "2.10 times"),
        ({"blocks": 2, "seen": 5}, "5 test blocks lie on ground"),
        ({"opponent": "baseline", "unscored": True, "gain": None}, "Nothing is known of the per-pixel baseline"),
        ({"opponent": None, "gain": None, "miou": None, "blocks": 0, "seen": 4}, "4 test blocks lie on ground"),
        ({"gain": Interval(value=0.4, low=None, high=None)}, "cannot be computed"),
        ({"opponent": "baseline", "gain": Interval(value=-0.1, low=-0.2, high=0.0)}, "does not beat the baseline"),
    ],
)
def test_each_fault_alone_refuses_and_is_named(change, word):
    verdict, reasons = decide(GOOD.model_copy(update=change), GATE)
    assert verdict == "refuse"
    assert len(reasons) == 1
    assert word in reasons[0]


def test_classes_and_scenes_have_floors_of_their_own():
    gate = GATE.model_copy(update={"class_floor": 0.1, "scene_floor": 0.5})
    between = GOOD.model_copy(update={"classes": {"water": 0.3}, "scenes": {"s1": 0.6}})
    assert decide(between, gate)[0] == "promote"
    assert decide(between.model_copy(update={"scenes": {"s1": 0.3}}), gate)[0] == "refuse"


def test_the_worst_of_very_many_scenes_are_named_and_the_others_counted():
    scenes = {f"s{number:04d}": 0.09 if number else 0.01 for number in range(1500)}
    verdict, reasons = decide(GOOD.model_copy(update={"scenes": scenes}), GATE)
    assert verdict == "refuse" and "s0000" in reasons[0] and "1480 more" in reasons[-1]
    assert len("\n".join(reasons)) < 5_000


def test_every_fault_is_told_at_once():
    faulty = GOOD.model_copy(update={"slowdown": 3.0, "scenes": {"s1": 0.0}, "classes": {"water": 0.0}})
    assert len(decide(faulty, GATE)[1]) == 3


@pytest.mark.parametrize(("min_gain", "verdict"), [(0.05, "promote"), (0.06, "refuse"), (-0.02, "promote")])
def test_the_lower_end_has_to_reach_the_least_gain(min_gain, verdict):
    assert decide(GOOD, GATE.model_copy(update={"min_gain": min_gain}))[0] == verdict


def test_a_negative_least_gain_lets_a_slightly_worse_model_pass():
    worse = GOOD.model_copy(update={"gain": Interval(value=-0.01, low=-0.015, high=0.0)})
    assert decide(worse, GATE.model_copy(update={"min_gain": -0.02}))[0] == "promote"


def test_without_champion_and_baseline_only_the_floors_count():
    alone = GOOD.model_copy(update={"opponent": None, "gain": None, "slowdown": None, "blocks": 1})
    assert decide(alone, GATE)[0] == "promote"
    assert decide(alone.model_copy(update={"scenes": {"s1": 0.0}}), GATE)[0] == "refuse"
