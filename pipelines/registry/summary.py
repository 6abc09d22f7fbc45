"""A decision for the person who is asked to stand by it, as Markdown."""

from __future__ import annotations

from pipelines.registry.decision import Decision, Evidence

_WORST = 5  # scenes that are named


def summary(decision: Decision, project: str) -> str:
    """Reasons first, then what they stand on: pictures of test blocks, the comparison, classes and weakest scenes
    beside their floors."""
    parts = ["\n\n".join(decision.reasons), _pictures(decision, project)]
    if decision.evidence:
        parts += [_comparison(decision, decision.evidence), _classes(decision, decision.evidence)]
        parts.append(_scenes(decision, decision.evidence))
    made_of = [f"commit `{decision.commit[:12]}`"] if decision.commit else []
    made_of += [f"dataset `{decision.dataset[:12]}`"] if decision.dataset else []
    if made_of:
        parts.append(f"Made from {' and '.join(made_of)}.")
    return "\n\n".join(part for part in parts if part)


def _pictures(decision: Decision, project: str) -> str:
    """Tables of pictures that the Swath page serves. Airflow shows one no wider than 300 px, so each is its own, and
    two are side by side, which its pane has room for.

    Addresses are relative: Airflow's pages name their root as the base of all, wherever a proxy has put it. A picture
    within the text (``data:``) would be taken out.
    """
    if not decision.pictures:
        return ""
    root = f"swath/p/{project}/models/{decision.challenger}"
    versions = {"champion": f" {decision.champion}", "challenger": f" {decision.challenger}"}
    tables = []
    for shown in decision.pictures:
        kinds = [panel.removeprefix(f"{shown.rank}-") for panel in shown.panels]
        files = [f"{root}/{panel}.png" for panel in shown.panels]
        cells = [
            f"[![{kind} of the {shown.rank} block]({file})]({file})" for kind, file in zip(kinds, files, strict=True)
        ]
        names = [f"{kind}{versions.get(kind, '')}" for kind in kinds]
        what = f"The challenger's {shown.rank} test block, {shown.block} of scene {shown.scene}: mIoU {shown.miou:.3f}."
        rows = [row for at in range(0, len(kinds), 2) for row in (names[at : at + 2], cells[at : at + 2])]
        rows.insert(1, ["---", "---"])
        tables.append("\n".join([what, "", *(f"| {' | '.join(row)} |" for row in rows)]))
    legend = (
        f"![Colours of the classes]({root}/legend.png)\n\nNothing is drawn where a pixel is masked or has no label."
    )
    return "\n\n".join([*tables, legend])


def _comparison(decision: Decision, evidence: Evidence) -> str:
    against = f"champion, version {decision.champion}" if decision.champion else evidence.opponent or "nothing"
    rows = [("mean IoU on all test ground", _number(evidence.miou))]
    if evidence.opponent:
        rows.append((f"mean IoU of the {against}", _number(evidence.opponent_miou)))
    if gain := evidence.gain:
        certain = f"{decision.thresholds.confidence:.0%}"
        ends = "" if gain.low is None or gain.high is None else f" ({gain.low:+.3f} to {gain.high:+.3f} at {certain})"
        rows.append(("gain, paired by block", f"{gain.value:+.3f}{ends}" if gain.value is not None else "unknown"))
    rows.append(("test blocks", str(evidence.blocks)))
    if evidence.slowdown is not None:
        rows.append(("time over the champion's", f"{evidence.slowdown:.2f}"))
    return _table((f"Version {decision.challenger}", ""), rows)


def _classes(decision: Decision, evidence: Evidence) -> str:
    rows = [(name, _number(iou)) for name, iou in evidence.classes.items()]
    rows += [(name, "not on the test ground") for name in evidence.untested]
    return _table(("class", f"IoU (floor {decision.thresholds.class_floor:g})"), rows) if rows else ""


def _scenes(decision: Decision, evidence: Evidence) -> str:
    weakest = sorted(evidence.scenes.items(), key=lambda one: one[1])[:_WORST]
    rows = [(name, _number(miou)) for name, miou in weakest]
    return _table(("weakest scenes", f"mean IoU (floor {decision.thresholds.scene_floor:g})"), rows) if rows else ""


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [head, ("---", "---:"), *rows]
    return "\n".join(f"| {one.replace('|', '/')} | {other} |" for one, other in lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
