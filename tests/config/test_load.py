from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli.main import commands
from pipelines.config import load_params, merged_params, settings
from pipelines.errors import BadData

PARAMS = Path(__file__).parents[2] / "params.yaml"


def overlaid(tmp_path: Path, text: str) -> Path:
    overlay, merged = tmp_path / "overlay.yaml", tmp_path / "params.yaml"
    overlay.write_text(text)
    merged.write_text(merged_params(PARAMS, overlay))
    return merged


def test_an_overlay_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    before, after = load_params(PARAMS), load_params(overlaid(tmp_path, "train: {lr: 0.5}\n"))
    assert after.train.lr == 0.5
    assert after.model_copy(update={"train": before.train}) == before


def test_a_mapping_can_be_replaced_as_a_whole(tmp_path: Path) -> None:
    assert load_params(overlaid(tmp_path, "train: {loss: {_replace: true, focal: 1}}\n")).train.loss == {"focal": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: {lr: -1}", r"train\.lr"),
        ("train: {learning_rate: 1}", r"train\.learning_rate"),
        ("chips: {size: 100}", r"chips\.size"),
        ("chips: {pixels: cogs}", r"chips\.pixels"),
        ("train: {crop: 40}", r"train\.crop"),
        ("train: {crop: 96}", "does not fit into chips of chips.size 64"),
        ("split: {fractions: {train: 0.9}}", "add up to 1"),
        ("predict: {overlap: 200}", "half of the window"),
        ("project: ../elsewhere", "project"),
        ("scenes: {bands: [B02, B02], assets: []}", "differ"),
        ("labels: {background: lava}", "lava"),
        ("scenes: {dates: [2024-05-01, 2023-05-01]}", "2024-05-01 is after 2023-05-01"),
        ("scenes: {checks: {value_range: [2, 1]}}", "must be \\[lowest, highest\\]"),
        ("train: {loss: {_replace: true}}", "no term with a weight"),
        ("train: {model: {weights_bands: [red, green]}}", "weights_bands names none of scenes.bands"),
        ("train: {model: {weights_bands: [B02]}}", "which is null"),
        ("train: {freeze: 2}", "which is null"),
        (
            "{task: classification, train: {model: {library: timm, detail: 0}}}",
            "encoder resnet18 means nothing to timm",
        ),
        (
            "{task: classification, train: {model: {library: timm, encoder: none, detail: 0}}, predict: {window: 128}}",
            "predict.window 128 is not the size that a classifier is trained on; set it to 64",
        ),
        ("predict: {max_memory: lots}", "write it as 2GB or 512MB"),
        ("predict: {max_memory: 0GB}", "write it as 2GB or 512MB"),
        ("train: {seed: -5}", "train.seed"),
        ("split: {seed: 4294967296}", "split.seed"),
        ("labels: {classes: [{name: a, value: 1, color: '#000000'}, {name: A, value: 2, color: '#000000'}]}", "case"),
        (
            "labels: {classes: [{name: a, value: 1, color: '#000000'}, {name: '1', value: 2, color: '#000000'}]}",
            "either",
        ),
        ("train: {model: {nmae: Unet}}", "train.model.nmae: there is no such setting; is name meant"),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadData, match=told):
        load_params(overlaid(tmp_path, text))


def test_comments_stay_where_an_overlay_is_laid(tmp_path: Path) -> None:
    before, after = PARAMS.read_text().splitlines(), overlaid(tmp_path, "train: {lr: 0.5}\n").read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["  lr: 0.5"]


@pytest.mark.parametrize("example", sorted((PARAMS.parent / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_example_is_a_configuration(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_DATA", "/imagery")
    assert load_params(overlaid(tmp_path, example.read_text())).project != load_params(PARAMS).project


def test_configure_lays_an_overlay_for_good_unless_a_value_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(before := PARAMS.read_text())
    (tmp_path / "mine.yaml").write_text("train: {lr: -1}\n")
    with pytest.raises(BadData, match=r"params\.yaml with mine\.yaml over it has a wrong value"):
        CliRunner().invoke(commands(), ["configure", "mine.yaml"], catch_exceptions=False)
    assert (tmp_path / "params.yaml").read_text() == before
    (tmp_path / "mine.yaml").write_text("train: {lr: 0.5}\n")
    CliRunner().invoke(commands(), ["configure", "mine.yaml"], catch_exceptions=False)
    assert load_params().train.lr == 0.5
    (tmp_path / "other.yaml").write_text("project: other\n")
    CliRunner().invoke(commands(), ["configure", "other.yaml"], catch_exceptions=False)
    (tmp_path / "third.yaml").write_text("project: third\n")
    with pytest.raises(BadData, match=r"that of other, of which third would keep what third\.yaml does not name"):
        CliRunner().invoke(commands(), ["configure", "third.yaml"], catch_exceptions=False)
    assert load_params().project == "other"
    for name in ("other.yaml", "third.yaml"):
        (tmp_path / name).unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "params.yaml"]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWATH_DATA", raising=False)
    with pytest.raises(BadData, match="SWATH_DATA"):
        load_params(overlaid(tmp_path, "scenes: {source: '$SWATH_DATA/images'}\n"))


@pytest.mark.parametrize("text", ["%YAML 1.3\n---\na: 1", "a: " + "[" * 500 + "]" * 500])
def test_an_overlay_that_cannot_be_laid_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadData):
        overlaid(tmp_path, text)


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed", "!!python/object/apply:os.system ['true']"])
def test_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(BadData):
        load_params(path)


def test_nan_is_a_nodata_value(tmp_path: Path) -> None:
    assert load_params(overlaid(tmp_path, yaml.safe_dump({"scenes": {"nodata": float("nan")}}))).scenes.nodata_is_nan


@pytest.mark.parametrize("variable", ["SWATH_CATALOG", "SWATH_DVC_REMOTE", "SWATH_DVC_CACHE", "SWATH_GIT_REMOTE"])
def test_a_place_that_depends_on_the_folder_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run works in a folder of its own, which goes when it ends."""
    for place in ("../imagery", "imagery", "data:2024/imagery"):
        monkeypatch.setenv(variable, place)
        if variable != "SWATH_GIT_REMOTE" or ":" not in place:  # git's host:path
            with pytest.raises(BadData, match=f"{variable} is '{place}'"):
                settings()
    monkeypatch.setenv(variable, "/imagery")
    assert "/imagery" in str(settings())


def test_a_database_that_depends_on_the_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(BadData, match="sqlite:////the/whole/path"):
        settings()


@pytest.mark.parametrize(
    "address", ["git@example.org:team/region.git", "https://example.org/region.git", "s3://bucket/dvc"]
)
def test_an_address_is_no_folder(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_GIT_REMOTE", address)
    assert settings().git_remote == address
    if "://" in address:
        monkeypatch.setenv("SWATH_DVC_REMOTE", address)
        assert settings().dvc_remote == address


@pytest.mark.parametrize("units", ["dB", "K", "metres"])
def test_light_is_not_varied_where_values_are_no_light(units: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"scenes: {{radiometry: {{_replace: true, kind: declared, units: {units}}}}}\n")
    (tmp_path / "params.yaml").write_text(merged_params(PARAMS, overlay))
    with pytest.raises(BadData, match=f"augment has brightness, which multiplies values as light does; in {units}"):
        load_params(tmp_path / "params.yaml")
    overlay.write_text(overlay.read_text() + "train: {augment: [flip, rotate90]}\n")
    (tmp_path / "params.yaml").write_text(merged_params(PARAMS, overlay))
    assert load_params(tmp_path / "params.yaml").train.augment == ("flip", "rotate90")
