"""The stage as a whole, on land whose truth is known."""

from __future__ import annotations

import mlflow
import pandas as pd
import pytest
import rasterio

from pipelines.dataset.snapshot import read_manifest
from pipelines.errors import BadData
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.ground import digest, ground_of, read_plan
from pipelines.evaluation.metrics import IGNORE
from pipelines.evaluation.score import by, read_blocks
from pipelines.files import read_json, sha256, write_json
from pipelines.monitoring.features import CLASS
from pipelines.monitoring.profile import Facts
from pipelines.monitoring.reference import Reference
from tests.dataset.town import CLASSES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """Metrics, and the MLflow client of the store in which the training run is."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("mlflow")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        experiment = mlflow.create_experiment("sample", artifact_location=(folder / "artifacts").as_uri())
        run = mlflow.MlflowClient().create_run(experiment).info.run_id
        write_json(trained.data / "train" / "run.json", {"run_id": run, "experiment": "sample"})
        yield evaluate(trained.folder, trained.catalog, trained.params), mlflow.MlflowClient(), run


def test_a_network_that_sees_neighbours_beats_the_forest_that_sees_pixels(evaluated):
    metrics, _, _ = evaluated
    assert metrics["miou"]["value"] > 0.8
    assert metrics["miou"]["low"] <= metrics["miou"]["value"] <= metrics["miou"]["high"]
    assert 0.2 < metrics["baseline"]["miou"]["value"] < 0.6
    assert metrics["baseline"]["gain"]["low"] > 0.2
    assert set(metrics["classes"]) == set(CLASSES)
    assert metrics["chips"]["miou"] > 0.8
    assert metrics["ece"] < 0.1


def test_exactly_the_labelled_clear_pixels_of_test_chips_are_scored(evaluated, trained):
    metrics, _, _ = evaluated
    manifest, plan = read_manifest(trained.data / "manifest.json"), read_plan(trained.data / "plan.parquet")
    expected = 0
    for scene in manifest.scenes:
        if ground := ground_of(scene, plan, "test", trained.data / "labels", trained.params.labels):
            with rasterio.open(scene.mask_path(trained.catalog)) as bits:
                expected += int(((ground.truth != IGNORE) & (bits.read(1) == 0)).sum())
    _, counts = by(read_blocks(trained.data / "evaluation" / "blocks.parquet"), "block_id", 3)
    assert counts.sum() == metrics["test"]["pixels"] == expected
    blocks = plan[plan["split"] == "test"]["block_id"].nunique()
    assert len(counts) == metrics["test"]["blocks"] == blocks
    _, bar = by(read_blocks(trained.data / "evaluation" / "blocks.parquet", "baseline"), "block_id", 3)
    assert bar.sum(axis=2).tolist() == counts.sum(axis=2).tolist()  # the same true pixels in each block


def test_tables_and_pictures_are_there_for_people_and_for_dvc(evaluated, trained):
    metrics, _, _ = evaluated
    folder = trained.data / "evaluation"
    assert read_json(trained.data / "metrics.json") == metrics
    assert read_json(folder / "calibration.json")["temperature"] == pytest.approx(metrics["temperature"], abs=1e-5)
    table = pd.read_csv(folder / "confusion.csv", index_col=0)
    assert list(table.index) == list(table.columns) == list(CLASSES)
    assert table.to_numpy().sum() == metrics["test"]["pixels"]
    scenes = pd.read_csv(folder / "scenes.csv")
    assert scenes["miou"].min() == pytest.approx(metrics["scenes"]["lowest"], abs=1e-5)
    for name in ("confusion", "curves", "reliability", "classes"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    for name in ("pr", "roc"):
        assert set(pd.read_csv(folder / f"{name}.csv")["class"]) == set(CLASSES)


def test_the_reference_of_outputs_holds_val_ground_alone(evaluated, trained):
    reference = Reference(trained.data / "evaluation" / "outputs")
    plan = read_plan(trained.data / "plan.parquet")
    assert sum(e.scenes for e in reference.entries if e.season) == plan[plan["split"] == "val"]["scene_id"].nunique()
    sample = trained.params.drift.sample
    assert all(0 < e.pixels <= 1.3 * sample * e.scenes for e in reference.entries)
    entry = next(e for e in reference.entries if e.season)
    match = reference.match(Facts(season=entry.season, zone=entry.zone))
    assert match.exact
    assert CLASS in match.profile.view.get_columns()


def test_scores_and_plots_are_in_the_run_that_trained_the_model(evaluated):
    metrics, client, run = evaluated
    assert client.get_run(run).data.metrics["test.miou.value"] == metrics["miou"]["value"]
    assert "evaluation/confusion.png" in [item.path for item in client.list_artifacts(run, "evaluation")]


def test_the_same_input_gives_the_same_bytes_whatever_mlflow_knows(evaluated, trained):
    files = [p for p in sorted(trained.data.glob("evaluation/**/*")) if p.is_file()] + [trained.data / "metrics.json"]
    before = [sha256(path) for path in files]
    write_json(trained.data / "train" / "run.json", {"run_id": "0" * 32, "experiment": "sample"})
    evaluate(trained.folder, trained.catalog, trained.params)
    assert [sha256(path) for path in files] == before


def test_the_digest_names_the_ground_and_nothing_else(trained):
    manifest, plan = read_manifest(trained.data / "manifest.json"), read_plan(trained.data / "plan.parquet")
    labels = trained.params.labels
    first = digest(manifest, plan, labels)
    train = plan["split"] == "train"
    assert digest(manifest, plan[~train], labels) == first
    assert digest(manifest, plan[plan.index != plan.index[plan["split"] == "test"][0]], labels) != first
    assert digest(manifest, plan, labels.model_copy(update={"classes": labels.classes[::-1]})) != first
    tested = set(plan.loc[plan["split"] == "test", "scene_id"])
    for name in ("image_sha256", "mask_sha256"):
        scenes = tuple(s.model_copy(update={name: "0" * 64}) if s.id in tested else s for s in manifest.scenes)
        assert digest(manifest.model_copy(update={"scenes": scenes}), plan, labels) != first
    drawn = tuple(label.model_copy(update={"sha256": "0" * 64}) for label in manifest.labels)
    assert drawn and digest(manifest.model_copy(update={"labels": drawn}), plan, labels) != first
    values = [c.value for c in labels.classes]
    other = tuple(c.model_copy(update={"value": v}) for c, v in zip(labels.classes, values[::-1], strict=True))
    assert digest(manifest, plan, labels.model_copy(update={"classes": other})) != first


def test_chips_of_other_classes_are_refused(trained):
    values = trained.params.model_dump()
    values["labels"]["classes"] = values["labels"]["classes"][:2]
    with pytest.raises(BadData, match="run the stages from chip on again"):
        evaluate(trained.folder, trained.catalog, type(trained.params).model_validate(values))


def test_a_plan_without_test_ground_is_refused(trained, tmp_path):
    plan = read_plan(trained.data / "plan.parquet")
    plan[plan["split"] != "test"].to_parquet(tmp_path / "plan.parquet")
    with pytest.raises(BadData, match="no test chip"):
        read_plan(tmp_path / "plan.parquet")
