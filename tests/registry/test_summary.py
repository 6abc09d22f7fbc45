"""What a person is shown before they approve: all that the verdict stands on."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.config import load_params
from pipelines.registry.decision import Decision, decide
from pipelines.registry.pictures import Shown
from pipelines.registry.summary import summary
from tests.bundle.trained import ROOT
from tests.registry.test_decision import GOOD

GATE = load_params(ROOT / "params.yaml").gate


def decision(evidence=GOOD, **changes) -> Decision:
    verdict, reasons = decide(evidence, GATE) if evidence else ("refuse", ("Rejected by kim.",))
    facts = {"challenger": "3", "champion": "2", "commit": "c" * 40, "dataset": "d" * 32, "when": datetime.now(UTC)}
    return Decision(verdict=verdict, reasons=reasons, evidence=evidence, thresholds=GATE, **facts | changes)


def test_reasons_comparison_classes_and_scenes_are_shown_with_their_floors():
    shown = summary(decision(), "p")
    assert shown.startswith(decision().reasons[0])
    for line in (
        "| Version 3 |  |",
        "| mean IoU of the champion, version 2 | 0.600 |",
        "| gain, paired by block | +0.100 (+0.050 to +0.150 at 95%) |",
        "| bare | 0.400 |",
        "| class | IoU (floor 0.1) |",
        "| s1 | 0.700 |",
        "Made from commit `cccccccccccc` and dataset `dddddddddddd`.",
    ):
        assert line in shown, line


def test_the_weakest_scenes_come_first_and_a_name_cannot_break_the_table():
    scenes = {f"s{i}": 0.3 + i / 100 for i in range(20)} | {"a|b": 0.2}
    lines = summary(decision(GOOD.model_copy(update={"scenes": scenes})), "p").splitlines()
    first = lines.index("| a/b | 0.200 |")
    assert lines[first + 1].startswith("| s0 |") and not any(line.startswith("| s9 |") for line in lines)


def test_pictures_stand_two_in_a_row_each_below_what_it_is():
    shown = Shown(
        rank="worst",
        block="b",
        scene="s",
        miou=0.25,
        panels=tuple(f"worst-{kind}" for kind in ("image", "labels", "challenger")),
    )
    lines = summary(decision(pictures=(shown,)), "p").splitlines()
    first = lines.index("The challenger's worst test block, b of scene s: mIoU 0.250.") + 2
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[first : first + 5]]
    image, labels, challenger = (f"swath/p/p/models/3/worst-{kind}.png" for kind in ("image", "labels", "challenger"))
    assert table[:2] + table[3:4] == [["image", "labels"], ["---", "---"], ["challenger 3"]]
    assert [[cell.rsplit("(", 1)[1].rstrip(")") for cell in table[row]] for row in (2, 4)] == [
        [image, labels],
        [challenger],
    ]


def test_a_decision_without_evidence_gives_its_reason():
    assert summary(decision(None, commit=None, dataset=None), "p") == "Rejected by kim."
