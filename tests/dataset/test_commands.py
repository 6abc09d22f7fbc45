from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli.main import commands
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.scenes.catalog import write_index, write_item
from tests.dataset.town import params, write_labels, write_town

STAGES = ("snapshot", "split", "chip", "validate", "statistics")


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of a town's scenes and labels."""
    catalog = tmp_path / "catalogs" / "sample"
    for scene in write_town(catalog):
        write_item(catalog / "scenes" / scene.id, scene, fingerprint="x", dated=True, bands=[{}, {}])
    write_index(catalog, "sample")
    values = params(write_labels(tmp_path / "parcels.gpkg")).model_dump(mode="json")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWATH_CATALOG", str(tmp_path / "catalogs"))
    return tmp_path


@pytest.mark.slow
def test_the_stages_make_a_dataset_and_a_leak_stops_them(town: Path) -> None:
    told = {}
    for stage in STAGES:
        outcome = CliRunner().invoke(commands(), [stage], catch_exceptions=False)
        assert outcome.exit_code == 0
        told[stage] = json.loads(outcome.stdout.splitlines()[-1])
    assert told["snapshot"]["scenes"] == 3
    assert told["split"]["clean"] is True
    assert told["chip"]["chips"] == told["split"]["chips"]
    assert told["statistics"]["chips"] == told["chip"]["chips"]["train"]
    expected = ("manifest.json", "blocks.parquet", "plan.parquet", "certificate.png", "validation/result.json")
    assert all((town / "data" / name).exists() for name in expected)

    leak = read_json(town / "data" / "certificate.json") | {"clean": False, "findings": ["Chips share ground."]}
    write_json(town / "data" / "certificate.json", leak)
    with pytest.raises(BadData, match="Chips share ground"):
        CliRunner().invoke(commands(), ["validate"], catch_exceptions=False)


@pytest.mark.slow
def test_a_dataset_is_made_without_torch(town: Path) -> None:
    code = "import sys\nfrom pipelines.cli.main import commands\n"
    code += f"for stage in {STAGES}: commands()([stage], standalone_mode=False)\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=town, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_json(town / "data" / "statistics.json")
