"""What was decided and found before, out of a real MLflow store and real reports."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.atlas.champions import checked, history, terms
from pipelines.atlas.watches import series, watches
from pipelines.config import load_params
from pipelines.evaluation.tracking import store
from pipelines.files import write_json
from pipelines.monitoring.drift import Compared, Comparison
from pipelines.monitoring.verdict import judge
from pipelines.registry import aliases
from pipelines.registry.promotion import promote
from pipelines.registry.record import Record, Tags, change, keep, now


@pytest.mark.slow
def test_every_version_tells_its_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with store() as client:
        experiment = client.create_experiment("p", artifact_location=(tmp_path / "artifacts").as_uri())
        client.create_registered_model("p")

        def judged(verdict: str, reason: str, against: str) -> str:
            run = client.create_run(experiment)
            record = {"when": "2026-11-01T10:00:00Z", "evidence": {"blocks": 11}, "thresholds": {"class_floor": 0.1}}
            client.log_dict(run.info.run_id, record, "decision.json")
            decided: Tags = {
                aliases.DECISION: verdict,
                aliases.REASONS: reason,
                aliases.AGAINST: against,
                aliases.RECORD: f"runs:/{run.info.run_id}/decision.json",
            }
            tags = {
                "swath.miou.value": "0.74",
                "swath.miou.low": "0.7",
                "swath.miou.high": "0.8",
            }
            made = client.create_model_version("p", f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
            client.set_registered_model_alias("p", aliases.CHALLENGER, str(made.version))
            number, stamp = str(made.version), now()
            story = {"reasons": tuple(reason.splitlines()), "who": None, "run": None, "when": stamp}
            story |= {"before": against or None, "after": against or None, "changes": (change(made, decided),)}
            keep(client, "p", Record(kind="judged", version=number, **story))  # type: ignore[arg-type]
            return str(made.version)

        judged("promote", "Better.", "")
        promote(client, "p", approver="ada", run="train_model.one")
        judged("refuse", "Worse.\nMuch worse.", "1")
        third = judged("promote", "Best.", "1")
        promote(client, "p", run="train_model.three")
        later = now() + timedelta(hours=1)
        withdrawn: Tags = {aliases.WITHDRAWN: f"Roads vanish ({later})"}
        back: Tags = {aliases.RESTORED: later.isoformat(), aliases.RESTORED_WHY: "Roads vanish"}
        back |= {aliases.MOVED_BY: "rollback_model.x", aliases.FORMER: third}
        changes = tuple(
            change(client.get_model_version("p", number), tags) for number, tags in (("1", back), (third, withdrawn))
        )
        story = {"before": third, "after": "1", "reasons": ("Roads vanish",), "who": None, "run": "rollback_model.x"}
        keep(client, "p", Record(kind="restored", version="1", when=later, changes=changes, **story))  # type: ignore[arg-type]
        client.set_registered_model_alias("p", aliases.CHAMPION, "1")

    found = {version.number: version for version in history("p")}
    assert list(found) == [3, 2, 1]
    assert {number: version.state for number, version in found.items()} == {1: "champion", 2: "refused", 3: "withdrawn"}
    assert found[2].reasons == ("Worse.", "Much worse.") and found[2].record is not None
    assert found[2].record["evidence"]["blocks"] == 11 and found[1].interval == (0.7, 0.8)
    assert any(event.what == "approved by ada" for event in found[1].events)
    restored = found[1].events[-1]
    assert "rollback after version 3" in restored.what and restored.why == "Roads vanish"
    assert restored.run == "rollback_model.x"
    assert history("nobody") == []
    check = checked("p")
    assert [(term.version, term.until is None) for term in terms(check.moves)] == [(1, True), (3, False), (1, False)]
    assert check.agrees and [kept.record.kind for kept in check.of("1", found[1].run_id)] == [
        "judged",
        "promoted",
        "restored",
    ]


def _compared(name: str, day: int, distance: float) -> Compared:
    when = datetime(2026, 1, day, tzinfo=UTC)
    common = {"scenes": 1, "pixels": 5000, "nodata_share": 0, "cloud_share": 0, "shared": ("season", "zone")}
    features = {"distances": {"band.B02": distance}, "limits": {"band.B02": 0.3}, "exact_features": ("band.B02",)}
    return Compared(name=name, group="summer-21S", when=when, **common, **features)  # type: ignore[arg-type]


def test_drift_is_followed_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.delenv("SWATH_REPORTS", raising=False)
    params = load_params().drift.model_copy(update={"min_scenes": 1})
    looks = {
        "monitor_drift.first": [_compared("a", 1, 0.1), _compared("b", 3, 0.9)],
        "monitor_drift.second": [_compared("b", 3, 0.2), _compared("c", 2, 0.5)],  # b was looked at again
    }
    for age, (run, scenes) in enumerate(looks.items()):
        whole = scenes[0].model_copy(update={"name": "summer-21S", "scenes": 2})
        comparison = Comparison(version="4", has_reference=True, scenes=tuple(scenes), groups=(whole,))
        folder = tmp_path / "reports" / "p" / "drift" / run
        verdict = judge(comparison, params).model_dump(mode="json")
        write_json(folder / "verdict.json", verdict | {"retrain": False, "report": None})
        write_json(folder / "comparison.json", comparison.model_dump(mode="json"))
        for file in folder.iterdir():
            os.utime(file, (1000 + age, 1000 + age))
    assert [(watch.run, watch.verdict) for watch in watches("p")] == [
        ("monitor_drift.second", "drift"),
        ("monitor_drift.first", "drift"),
    ]
    found = series("p", "4")["band.B02"]
    assert [(point.scene, point.distance, point.odd) for point in found] == [
        ("a", 0.1, False),
        ("c", 0.5, True),
        ("b", 0.2, False),
    ]
    assert series("p", "3") == {} and watches("nobody") == []
    monkeypatch.setattr("pipelines.atlas.watches._SCENES", 2)
    assert [point.scene for point in series("p", "4")["band.B02"]] == ["c", "b"]
    monkeypatch.setattr("pipelines.atlas.watches._RUNS", 1)
    assert [point.distance for point in series("p", "4")["band.B02"]] == [0.5, 0.2]


def test_scenes_that_agree_are_odd_beyond_the_lower_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.delenv("SWATH_REPORTS", raising=False)
    lower = {"agreed_limits": {"band.B02": 0.15}}
    scenes = tuple(_compared(n, day, 0.2).model_copy(update=lower) for day, n in enumerate("ab", start=1))
    folder = tmp_path / "reports" / "p" / "drift" / "monitor_drift.r"
    for count, odd in ((2, True), (1, False)):
        whole = scenes[0].model_copy(update={"name": "summer-21S", "scenes": count})
        comparison = Comparison(version="4", has_reference=True, scenes=scenes[:count], groups=(whole,))
        write_json(folder / "comparison.json", comparison.model_dump(mode="json"))
        write_json(folder / "verdict.json", judge(comparison, load_params().drift).model_dump(mode="json"))
        assert [point.odd for point in series("p", "4")["band.B02"]] == [odd] * count
