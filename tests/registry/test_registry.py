"""The whole way of models through a real MLflow store: two networks, one poor and one good, on the same ground."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import mlflow
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipelines.atlas.champions import decision_picture
from pipelines.audit.explain import explain
from pipelines.audit.replay import replay
from pipelines.bundle.export import load_pt2
from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.dataset.snapshot import read_manifest
from pipelines.errors import BadData
from pipelines.evaluation.metrics import miou
from pipelines.evaluation.score import by, read_blocks
from pipelines.files import read_json, sha256
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_scene
from pipelines.inference.runtime import Runtime
from pipelines.lineage.run import RUN
from pipelines.registry import aliases
from pipelines.registry.aliases import CHALLENGER, CHAMPION
from pipelines.registry.decision import Decision
from pipelines.registry.gate import gate
from pipelines.registry.package import package
from pipelines.registry.pictures import Shown
from pipelines.registry.record import check
from pipelines.registry.rollback import rollback
from pipelines.registry.summary import summary
from pipelines.scenes.catalog import write_item
from tests.evaluation.parcels import Workspace
from tests.registry.entrants import Model, World, pack

pytestmark = pytest.mark.slow


def test_packaging_again_finds_the_run_and_registering_again_the_version(world, model):
    again = package(world.good.workspace.folder, world.good.workspace.params)
    assert (again.run_id, again.reused) == (world.good.run, True)
    assert again.digest == sha256(world.good.workspace.data / "bundle" / "bundle.json")
    assert [model.enter(world.good), model.enter(world.good)] == ["1", "1"]
    tags = model.tags("1")
    assert tags[aliases.BUNDLE_DIGEST] == again.digest
    assert float(tags["swath.miou.value"]) == pytest.approx(world.good.score, abs=1e-4)


def test_a_person_may_reject_what_the_gate_would_promote(world, model):
    model.enter(world.poor)
    model.judge(world.poor)
    done = model.reject("kim")
    assert (done.champion, done.changed) == (None, False)
    tags = model.tags("1")
    assert (tags[aliases.DECISION], tags[aliases.REJECTER]) == ("refuse", "kim")
    assert "beats the baseline" in tags[aliases.REASONS] and "Rejected by kim." in tags[aliases.REASONS]
    model.reject("kim")  # a retried task
    assert model.tags("1")[aliases.REASONS] == tags[aliases.REASONS]
    later = model.promote()
    assert not later.changed and "Rejected by kim" in later.reason
    again = model.judge(world.poor)
    assert (again.verdict, again.reasons) == ("refuse", ("Rejected by kim.",)), "a person's word is asked for once"


def agreement(name: str, shown: Shown) -> float:
    """The share of labelled pixels in whose picture the challenger's map has the colour of the labels."""
    labels, found = (
        np.asarray(Image.open(io.BytesIO(decision_picture(name, 2, f"{shown.rank}-{kind}"))))
        for kind in ("labels", "challenger")
    )
    counted = (labels[..., 3] > 0) & (found[..., 3] > 0)
    return float((labels == found).all(axis=2)[counted].mean())


def block_accuracy(world: World, model: Model, shown: Shown) -> float:
    """The same, as the test scored it."""
    frame = read_blocks(world.good.workspace.data / "evaluation" / "blocks.parquet")
    (flat,) = frame.loc[(frame["block_id"] == shown.block) & (frame["scene_id"] == shown.scene), "confusion"]
    side = round(len(flat) ** 0.5)
    counts = np.reshape(flat, (side, side))
    return float(np.trace(counts) / counts.sum())


def test_the_whole_way_of_two_models(world, model):
    # A first champion beats the baseline.
    assert model.enter(world.poor) == "1"
    decision = model.judge(world.poor)
    assert (decision.verdict, decision.evidence.opponent, decision.champion) == ("promote", "baseline", None)
    done = model.promote(approver="kim")
    assert (done.champion, done.former, done.changed) == ("1", None, True)
    assert model.tags("1")[aliases.APPROVER] == "kim"
    assert not model.promote().changed
    assert model.judge(world.poor).verdict == "unchanged"

    # A clearly better challenger wins, on the blocks of the same test.
    assert model.enter(world.good) == "2"
    decision = model.judge(world.good)
    assert decision.verdict == "promote", decision.reasons
    evidence = decision.evidence
    assert (evidence.opponent, evidence.seen) == ("champion", 0)
    assert [evidence.miou, evidence.opponent_miou] == pytest.approx([world.good.score, world.poor.score], abs=1e-6)
    assert 0 < evidence.gain.low <= evidence.gain.value == pytest.approx(world.good.score - world.poor.score, abs=1e-5)
    assert evidence.slowdown > 0
    for word in (model.promote(approver="kim", version="1"), model.reject("kim", version="1")):
        assert (word.champion, word.changed) == ("1", False) and "version 2 is challenger by now" in word.reason
    done = model.promote(version="2")
    assert (done.champion, done.former, model.champion) == ("2", "1", "2")

    # What a person is shown of it: the blocks as labelled and as both map them, where Airflow's markdown finds them.
    worst, median = decision.pictures
    assert worst.miou <= median.miou and (worst.rank, median.rank) == ("worst", "median")
    shown = summary(decision, model.name)
    for panel in (*worst.panels, *median.panels, "legend"):
        assert f"](swath/p/{model.name}/models/2/{panel}.png)" in shown
        image = Image.open(io.BytesIO(decision_picture(model.name, 2, panel)))
        assert image.format == "PNG" and (panel == "legend" or max(image.size) > 150)
    assert [panel.removeprefix("worst-") for panel in worst.panels] == ["image", "labels", "challenger", "champion"]
    assert agreement(model.name, median) == pytest.approx(block_accuracy(world, model, median), abs=0.02)

    # The decision can be read from the version, and whole from its run.
    tags = model.tags("2")
    assert (tags[aliases.DECISION], tags[aliases.AGAINST], tags[aliases.FORMER]) == ("promote", "1", "1")
    assert "beats the champion" in tags[aliases.REASONS]
    record = Path(mlflow.artifacts.download_artifacts(tags[aliases.RECORD]))
    assert Decision.model_validate(read_json(record)) == decision

    # The one before is no better than the champion, so it is refused, and promoting changes nothing.
    assert model.enter(world.poor) == "1"
    decision = model.judge(world.poor)
    assert (decision.verdict, decision.challenger, decision.champion) == ("refuse", "1", "2")
    assert "does not beat the champion" in decision.reasons[0]
    done = model.promote()
    assert (done.changed, model.champion) == (False, "2")
    assert "was refused" in done.reason

    # Rolling back restores the former champion, says why, and keeps the gate from undoing it.
    done = rollback(model.name, "wrong along the coast")
    assert (done.champion, done.former, model.champion) == ("1", "2", "1")
    assert model.tags("1")[aliases.RESTORED_WHY] == "wrong along the coast"
    assert not rollback(model.name, "wrong along the coast", "1").changed
    model.enter(world.good)
    done = model.promote()  # its former verdict, to promote, still stands on it
    assert not done.changed and "taken out of charge" in done.reason
    decision = model.judge(world.good)
    assert decision.verdict == "refuse"
    assert "wrong along the coast" in decision.reasons[0]
    with pytest.raises(BadData, match="no former champion"):
        rollback(model.name, "again")

    # A person may overrule both.
    done = model.promote(override="the coast was mapped anew")
    assert (done.changed, model.champion) == (True, "2")
    assert aliases.WITHDRAWN not in model.tags("2")

    # All of it is on record, once, and MLflow says the same.
    found = check(world.client, model.name)
    assert found.agrees, found
    told = [(kept.record.kind, kept.record.version, kept.record.before, kept.record.after) for kept in found.records]
    assert told == [
        ("judged", "1", None, None),
        ("promoted", "1", None, "1"),
        ("judged", "2", "1", "1"),
        ("promoted", "2", "1", "2"),
        ("judged", "1", "2", "2"),
        ("restored", "1", "2", "1"),
        ("judged", "2", "1", "1"),
        ("promoted", "2", "1", "2"),
    ]
    assert found.records[1].record.who == "kim"
    assert found.records[2].record.decision["evidence"]["gain"]["value"] == evidence.gain.value
    assert found.records[2].record.decision["thresholds"]["confidence"] == model.params(world.good).gate.confidence


def test_a_map_leads_back_to_the_decision_and_the_runs_behind_its_model(world, model, tmp_path, monkeypatch):
    monkeypatch.setenv(RUN, "train_model/monday")
    model.enter(world.poor)
    model.judge(world.poor)
    model.promote(approver="kim", run="train_model.monday")
    model.enter(world.good)
    params = model.params(world.good)
    patient = params.gate.model_copy(update={"max_slowdown": 100.0})  # other work on the machine is not the point here
    params = params.model_copy(update={"gate": patient})
    assert gate(world.good.workspace.folder, world.good.workspace.catalog, params).verdict == "promote"
    model.promote(run="train_model.monday")
    monkeypatch.delenv(RUN)
    catalog = tmp_path / "catalog"
    scene = read_manifest(world.good.workspace.data / "manifest.json").scene("there")
    shutil.copytree(world.good.workspace.catalog / "scenes" / "there", catalog / "scenes" / "there")
    write_item(catalog / "scenes" / "there", scene, fingerprint="f", dated=True, bands=[{}, {}])
    bundle = open_bundle(f"models:/{model.name}@{CHAMPION}")
    tiling = Tiling(128, 32, 4, 16 * 10**9)
    predict(of_scene(scene, catalog, bundle.contract), bundle, Runtime(bundle), tmp_path / "map", tiling)
    rollback(model.name, "wrong along the coast")

    (life,) = explain(tmp_path / "map" / "classes.tif").models
    held = life.registered
    assert (life.uri, held.version, held.mlflow_run) == (f"models:/{model.name}/2", "2", world.good.run)
    assert held.registered_by == "train_model/monday" and "challenger" in held.aliases
    decided = held.decision
    assert (decided.verdict, decided.run, decided.against) == ("promote", "train_model/monday", "1")
    assert (decided.former_champion, decided.promoted_by) == ("1", "train_model.monday")
    assert "beats the champion" in decided.reasons[0] and "wrong along the coast" in decided.withdrawn_because
    assert {one["id"] for one in life.scenes} == {"here-a", "here-b", "there"}
    assert model.tags("2")[aliases.SCENES] == bundle.contract.files["scenes.json"]
    assert [kept.record.kind for kept in held.records] == ["judged", "promoted", "restored"]
    assert held.records[0].record.run == "train_model.monday"
    world.client.set_model_version_tag(model.name, "2", aliases.APPROVER, "eve")
    gaps = explain(tmp_path / "map").gaps
    assert any("swath.approver says 'eve'; no record does" in gap for gap in gaps)
    world.client.delete_model_version_tag(model.name, "2", aliases.APPROVER)

    # Whatever became of this machine's copy and of the version, the bundle is found by its hash.
    shutil.rmtree(world.home / "bundles")
    assert replay(tmp_path / "map", tmp_path / "again").agrees
    shutil.rmtree(world.home / "bundles")
    other = Model("another-name", world.client)
    other.enter(world.good)
    world.client.delete_registered_model(model.name)
    assert replay(tmp_path / "map", tmp_path / "once-more").agrees
    gaps = explain(tmp_path / "map").gaps
    assert any("has no version" in gap and "with this bundle" in gap for gap in gaps)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody listens
    found = explain(tmp_path / "map")
    assert found.models[0].registered is None and any("127.0.0.1:9" in gap for gap in found.gaps)
    assert found.models[0].scenes, "what is on this machine is told all the same"


def test_mlflow_alone_loads_the_challenger_and_it_answers_like_the_bundle(world, model, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model.enter(world.good)
    loaded = mlflow.pytorch.load_model(f"models:/{model.name}@{CHALLENGER}")
    folder = open_bundle(f"models:/{model.name}@{CHALLENGER}").folder
    pixels = torch.rand(1, 2, 64, 32) * 0.2  # another batch and other sides than the example's
    with torch.no_grad():
        assert torch.allclose(loaded(pixels), load_pt2(folder / "model.pt2")(pixels), atol=1e-4)


def test_a_champion_is_scored_from_its_bundle_on_a_test_that_is_not_its_own(world, model, tmp_path):
    """Its own one less a block, so what it has to give is known."""
    model.enter(world.poor)
    model.judge(world.poor)
    model.promote()
    elsewhere = shutil.copytree(world.good.workspace.folder, tmp_path / "elsewhere")
    plan = gpd.read_parquet(elsewhere / "data" / "plan.parquet")
    left_out = plan.loc[plan["split"] == "test", "block_id"].iloc[0]
    plan[(plan["block_id"] != left_out) | (plan["split"] != "test")].to_parquet(elsewhere / "data" / "plan.parquet")
    model.enter(world.good)
    before = set(world.artifacts(world.poor).glob("scores/*"))
    evidence = gate(elsewhere, world.good.workspace.catalog, model.params(world.good)).evidence
    size = len(world.poor.workspace.params.labels.classes)
    blocks, counts = by(read_blocks(world.poor.workspace.data / "evaluation" / "blocks.parquet"), "block_id", size)
    kept = counts[[block != left_out for block in blocks]]
    assert len(kept) == len(counts) - 1
    assert evidence.opponent_miou == pytest.approx(float(miou(kept.sum(axis=0))), abs=2e-3)
    (scores,) = set(world.artifacts(world.poor).glob("scores/*")) - before
    assert set(read_blocks(scores)["block_id"]) == set(blocks) - {left_out}


def test_a_first_model_that_does_not_beat_the_baseline_is_refused(world, model, tmp_path):
    template = world.poor.workspace
    workspace = Workspace(tmp_path / "ws", template.catalog, template.params)
    shutil.copytree(template.folder, workspace.folder)
    entrant = pack(workspace, steps=0)
    model.enter(entrant)
    decision = model.judge(entrant)
    assert decision.verdict == "refuse"
    assert any("does not beat the baseline" in reason for reason in decision.reasons)
    assert not model.promote().changed
    assert model.champion is None


def test_a_run_killed_before_it_told_of_its_change_tells_of_it_when_tried_again(world, model):
    model.enter(world.poor)
    model.judge(world.poor)
    assert [model.promote(run=run).changed for run in ("monday", "monday", "tuesday")] == [True, True, False]
    model.enter(world.good)
    model.judge(world.good)
    model.promote(run="wednesday")
    back = [rollback(model.name, "wrong along the coast", run=run) for run in ("thursday", "thursday")]
    assert [(done.champion, done.former, done.changed) for done in back] == [("1", "2", True)] * 2
    assert not rollback(model.name, "wrong along the coast", "1", run="friday").changed


def test_a_verdict_against_another_champion_than_todays_does_not_promote(world, model):
    model.enter(world.poor)
    model.judge(world.poor)
    model.enter(world.good)
    model.judge(world.good)
    world.client.set_registered_model_alias(model.name, CHAMPION, "1")  # somebody was faster
    done = model.promote()
    assert (done.changed, model.champion) == (False, "1")
    assert "run `swath model gate` again" in done.reason


def test_only_versions_that_were_champion_and_still_load_come_back(world, model):
    for entrant in (world.poor, world.good):
        model.enter(entrant)
        model.judge(entrant)
        if entrant is world.poor:
            model.promote()
    with pytest.raises(BadData, match="never champion"):
        rollback(model.name, "because", "2")
    with pytest.raises(BadData, match="has no version 9; it has 1, 2"):
        rollback(model.name, "because", "9")
    model.promote()
    graph = world.artifacts(world.poor) / "bundle" / "model.onnx"
    whole = graph.read_bytes()
    shutil.rmtree(world.home / "bundles")  # what this machine keeps of bundles
    graph.write_bytes(whole[:100])
    try:
        with pytest.raises(BadData, match=r"model\.onnx"):
            rollback(model.name, "because", "1")
    finally:
        graph.write_bytes(whole)
    assert model.champion == "2"
    assert aliases.WITHDRAWN not in model.tags("2")
    assert rollback(model.name, "because", "1").changed


def test_the_commands_say_what_airflow_waits_for(world, monkeypatch, tmp_path):
    runner, app, workspace = CliRunner(), commands(), world.good.workspace
    (workspace.folder / "params.yaml").write_text(yaml.safe_dump(workspace.params.model_dump(mode="json")))
    monkeypatch.setenv("SWATH_CATALOG", str(tmp_path))
    (tmp_path / "sample").symlink_to(workspace.catalog)
    monkeypatch.chdir(workspace.folder)

    def swath(*words: str) -> dict[str, Any]:
        result = runner.invoke(app, ["model", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1])

    assert swath("package")["run_id"] == world.good.run
    assert swath("register")["version"] == "1"
    verdict = swath("gate")
    assert (verdict["project"], verdict["verdict"], verdict["approval"]) == ("sample", "promote", False)
    assert swath("promote", "--approver", "kim")["changed"] is True
    again = swath("promote")
    assert (again["changed"], again["version"]) == (False, "1")
    (row,) = swath("list")["versions"]
    assert row["aliases"] == [CHAMPION, CHALLENGER]
    assert (row["verdict"], float(row["miou"])) == ("promote", pytest.approx(world.good.score, abs=1e-4))
