"""A bundle holds graphs that agree, a contract that is kept, and nothing pickled."""

from __future__ import annotations

import pickletools
import re
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import onnxruntime
import pystac
import pytest
import torch
from mlflow import MlflowClient

from pipelines.bundle.build import _bands, build
from pipelines.bundle.card import tables
from pipelines.bundle.contract import checksums, read_contract, slugs
from pipelines.bundle.export import load_pt2
from pipelines.bundle.store import champion, open_again, open_bundle
from pipelines.config.params import LabelClass
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.inference.item import legend
from pipelines.training.checkpoint import load_trained
from tests.bundle.trained import BANDS, CLASSES, TEMPERATURE, bundle_folder, small_params, write_workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(bundle_folder(), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 3, 64, 64), (5, 3, 96, 160)])
def test_both_graphs_give_the_logits_of_the_trained_network_at_any_size(shape):
    folder = bundle_folder()
    pixels = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    module, _ = load_trained(folder.parent / "workspace" / "data" / "train")
    with torch.no_grad():
        truth = module(torch.from_numpy(pixels)).numpy()
        pt2 = load_pt2(folder / "model.pt2")(torch.from_numpy(pixels)).numpy()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert truth.std() > 1e-3
    np.testing.assert_allclose(pt2, truth, atol=1e-5)
    np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], truth, atol=1e-4)


def test_contract_says_what_the_model_was_made_from():
    contract = read_contract(bundle_folder())
    assert contract.band_names == BANDS
    assert [c.name for c in contract.classes] == list(CLASSES)
    assert contract.temperature == TEMPERATURE
    assert contract.bands[0].scale == 1e-4
    assert contract.dtype == "uint16" and contract.nodata == 0
    assert contract.files == checksums(bundle_folder())
    assert {"model.pt2", "model.onnx", "weights.safetensors", "mlm.json", "card.md", "blocks.parquet"} <= set(
        contract.files
    )
    assert {"reference/inputs/index.json", "reference/outputs/index.json"} <= set(contract.files)


def test_nothing_in_a_bundle_is_pickled():
    for path in bundle_folder().rglob("*"):
        if not path.is_file():
            continue
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        else:
            members = {path.name: path.read_bytes()}
        for name, content in members.items():
            assert not content.startswith(b"PK\x03\x04") or name == path.name, f"{path.name}:{name} is an archive"
            assert not _unpickles(content), f"{path.name}:{name} is a pickle"


def _unpickles(content: bytes) -> bool:
    if not content.startswith(b"\x80"):  # protocol 2 and later begin so
        return False
    try:
        return sum(1 for _ in pickletools.genops(content)) > 0
    except ValueError:  # what pickletools says of bytes that are no pickle
        return False


def test_a_changed_or_missing_file_is_refused(copied):
    (copied / "card.md").write_text("another")
    with pytest.raises(BadData, match=r"card\.md is not the file that was bundled"):
        open_bundle(copied)
    (copied / "card.md").unlink()
    with pytest.raises(BadData, match=r"lacks card\.md"):
        open_bundle(copied)


def test_a_contract_cannot_point_outside_its_folder(copied):
    contract = read_json(copied / "bundle.json")
    (copied.parent / "outside").write_text("x")
    contract["files"]["../outside"] = "0" * 64
    write_json(copied / "bundle.json", contract)
    with pytest.raises(BadData, match="lacks"):
        read_contract(copied)


def test_a_folder_without_contract_is_no_bundle(tmp_path):
    with pytest.raises(BadData, match="no model bundle"):
        open_bundle(tmp_path)
    with pytest.raises(BadData, match="names no model"):
        open_bundle("s3://bucket/model")


def test_building_again_gives_the_same_contract_and_weights(tmp_path):
    params = write_workspace(tmp_path)
    again = build(tmp_path, params, tmp_path / "bundle")
    former = read_contract(bundle_folder())
    assert again.model_dump(exclude={"files", "revision"}) == former.model_dump(exclude={"files", "revision"})
    differing = {name for name in again.files if again.files[name] != former.files[name]}
    assert differing <= {"mlm.json", "card.md"}  # they name the commit of their workspace


@pytest.mark.parametrize("name", ["metrics.json", "evaluation/calibration.json", "blocks.parquet", "certificate.json"])
def test_a_workspace_that_lacks_a_part_is_refused_with_the_stage_to_run(tmp_path, name):
    params = write_workspace(tmp_path)
    (tmp_path / "data" / name).unlink()
    with pytest.raises(BadData, match="run `swath"):
        build(tmp_path, params, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_dataset_that_leaks_is_not_bundled(tmp_path):
    params = write_workspace(tmp_path)
    certificate = read_json(tmp_path / "data" / "certificate.json")
    write_json(tmp_path / "data" / "certificate.json", certificate | {"clean": False, "findings": ["blocks overlap"]})
    with pytest.raises(BadData, match="blocks overlap"):
        build(tmp_path, params, tmp_path / "bundle")


def test_mlm_item_states_bands_classes_and_ground():
    item = pystac.Item.from_file(bundle_folder() / "mlm.json")
    (given,), (wanted,) = item.properties["mlm:input"], item.properties["mlm:output"]
    assert given["bands"] == list(BANDS)
    assert given["input"]["shape"] == [-1, 3, -1, -1]
    assert [c["name"] for c in wanted["classification:classes"]] == list(CLASSES)
    assert item.bbox == [-57.0, -9.1, -56.7, -9.0]
    assert item.properties["mlm:total_parameters"] > 10_000
    assert any("mlm" in uri for uri in item.stac_extensions)
    for asset in item.assets.values():
        assert (bundle_folder() / asset.href).exists()


def test_card_shows_scores_with_intervals_limits_and_certificate():
    card = (bundle_folder() / "card.md").read_text()
    assert "0.61 [0.55, 0.66]" in card
    assert "| water | 0.6 [0.5, 0.7] | 0.9 |" in card
    assert "bare: fewer than 1 in 100 training pixels" in card
    assert "smallest distance" in card and "950" in card
    assert "2024-05-04" in card
    assert "{{" not in card and "None" not in card


def test_tables_keep_every_number_of_nested_metrics():
    made = tables({"a": 0.5, "deep": {"b": {"value": None, "low": None, "high": None}, "c": 3}, "by": {"x": {"s": 1}}})
    shown = {row[0]: row[1] for table in made for row in table.rows}
    assert shown == {"a": "0.5", "deep, b": "none", "deep, c": "3", "x": "1"}


def test_registry_addresses_lead_to_the_bundle_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient()
    assert champion("sample") is None
    experiment = client.create_experiment("sample", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, str(bundle_folder()), "bundle")
    client.create_registered_model("sample")
    assert champion("sample") is None
    version = client.create_model_version("sample", f"runs:/{run}/bundle", run).version
    client.set_model_version_tag("sample", version, "swath.bundle", f"runs:/{run}/bundle")
    client.set_registered_model_alias("sample", "champion", version)
    assert champion("sample") == 1
    opened = open_bundle("models:/sample@champion")
    assert (opened.version, opened.uri, opened.name) == (1, "models:/sample/1", "sample v1")
    assert opened.contract == read_contract(bundle_folder())
    assert open_bundle(f"runs:/{run}").folder == opened.folder == open_bundle("models:/sample/1").folder
    client.set_model_version_tag("sample", version, "swath.bundle_digest", opened.digest)
    assert open_bundle("models:/sample/1").digest == opened.digest
    for spoil in ((opened.folder / "model.onnx").write_bytes, (opened.folder / ".DS_Store").write_bytes):
        spoil(b"x")  # the copy on this machine is had again
        assert open_bundle("models:/sample/1").contract == opened.contract
    (opened.folder / "model.onnx").write_bytes(b"x")
    assert open_again("models:/sample/1", opened.digest).contract == opened.contract
    client.set_model_version_tag("sample", version, "swath.bundle_digest", "0" * 64)  # another was registered
    with pytest.raises(BadData, match="was changed since"):
        open_bundle("models:/sample/1")
    with pytest.raises(BadData, match="has no model"):
        open_bundle("models:/sample@challenger")
    with pytest.raises(BadData, match="There is no"):
        open_bundle("runs:/0123456789abcdef0123456789abcdef")


def test_bands_of_earlier_dates_have_the_scale_of_their_own(tmp_path):
    params = small_params()
    declared = {"kind": "declared", "scale": (1.0, 2.0, 3.0), "offset": 0.5}
    radiometry = params.scenes.radiometry.model_copy(update=declared)
    scenes = params.scenes.model_copy(update={"radiometry": radiometry})
    band = BandStatistics(name="", units="dn", mean=0.0, std=1.0, minimum=0.0, maximum=1.0, p01=0.0, p99=1.0)
    names = [*scenes.bands, *(f"{name}-1" for name in scenes.bands)]
    statistics = Statistics(bands=tuple(band.model_copy(update={"name": n}) for n in names), class_pixels={}, chips=1)
    bands = _bands(params.model_copy(update={"scenes": scenes}), SimpleNamespace(bands=names, statistics=statistics))
    assert [(b.name, b.scale) for b in bands[2:5]] == [("B04", 3.0), ("B02-1", 1.0), ("B03-1", 2.0)]
    assert {b.offset for b in bands} == {0.5}


def test_names_of_classes_are_those_that_stac_allows_and_differ():
    names = ("built-up", "Tree cover", "Tree-cover", "Gehölz", "nodata", "雪")
    classes = [LabelClass(name=name, value=i, color="#000000") for i, name in enumerate(names)]
    found = slugs(classes)
    assert found[:2] == ["built-up", "Tree-cover"] and len({*found, "nodata"}) == 7
    assert all(re.fullmatch("[0-9A-Za-z-_]+", name) for name in found)
    assert [one["description"] for one in legend(classes)][:-1] == list(names)
