"""What the gate counts: ground that neither model learned from, objects that are there, contracts that agree."""

from __future__ import annotations

import dataclasses
import shutil
import time

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from pipelines.bundle.contract import read_contract
from pipelines.bundle.store import Bundle, open_bundle
from pipelines.registry import aliases
from pipelines.registry import gate as gates
from pipelines.registry.gate import compared, contract_differences, gate, seen_blocks
from tests.evaluation.parcels import Workspace
from tests.registry.entrants import pack

pytestmark = pytest.mark.slow


def test_ground_that_the_champion_was_trained_on_is_named(world, tmp_path):
    data = world.good.workspace.data
    current, plan = data / "blocks.parquet", data / "plan.parquet"
    blocks, chips = gpd.read_parquet(current), gpd.read_parquet(plan)
    tests = sorted(set(chips.loc[chips["split"] == "test", "block_id"]))
    assert seen_blocks(current, current, plan) == set()
    blocks.loc[blocks["block_id"] == tests[0], "split"] = "train"
    blocks.loc[blocks["block_id"] == tests[1], "split"] = "val"
    blocks.to_parquet(tmp_path / "blocks.parquet")
    assert seen_blocks(tmp_path / "blocks.parquet", current, plan) >= set(tests[:2])


def test_ground_that_a_chip_of_the_model_s_reached_beyond_its_block_is_seen(world, tmp_path):
    """A block that has labels by now, beside one that the model learned from when it had none."""
    data = world.good.workspace.data
    blocks, chips = gpd.read_parquet(data / "blocks.parquet"), gpd.read_parquet(data / "plan.parquet")
    projection = blocks["projection"].iloc[0]
    only = chips[chips["split"] == "test"][:1]
    only.to_parquet(tmp_path / "plan.parquet")
    west, south, east, north = only.to_crs(projection).total_bounds
    for metres, reached in ((0.4, True), (0.6, False)):
        edge = east + metres * (east - west)
        learned = box(edge, south, edge + (east - west), north)
        former = blocks[:1].assign(split="train").set_geometry([learned], crs=projection).to_crs(blocks.crs)
        former.to_parquet(tmp_path / "blocks.parquet")
        seen = seen_blocks(tmp_path / "blocks.parquet", data / "blocks.parquet", tmp_path / "plan.parquet")
        assert seen == (set(only["block_id"]) if reached else set())


def test_ground_that_the_challenger_was_trained_on_is_no_evidence_for_it(world, model, tmp_path):
    """On a dataset of others, whose test takes in all that the challenger has learned from."""
    good = world.good.workspace
    elsewhere = shutil.copytree(good.folder, tmp_path / "elsewhere")
    learned = {}
    for name in ("blocks", "plan"):
        table = gpd.read_parquet(elsewhere / "data" / f"{name}.parquet")
        learned[name] = set(table.loc[table["split"] == "train", "block_id"])
        table.loc[table["split"] == "train", "split"] = "test"
        table.to_parquet(elsewhere / "data" / f"{name}.parquet")
    model.enter(world.good)
    params = model.params(world.good)
    decision = gate(elsewhere, good.catalog, params)
    assert decision.verdict == "refuse"
    assert "Nothing is known of the per-pixel baseline" in decision.reasons[0]
    assert decision.evidence.seen == len(learned["plan"]) > 0
    assert decision.evidence.miou == pytest.approx(world.good.score, abs=1e-6)


def test_ground_that_the_champion_was_trained_on_is_no_evidence_against_its_challenger(world, model, tmp_path):
    """On the challenger's own dataset, in whose test lies a block that the champion has learned from."""
    poor = world.poor.workspace
    older = Workspace(tmp_path / "older", poor.catalog, poor.params)
    shutil.copytree(poor.folder, older.folder)
    blocks, plan = (gpd.read_parquet(older.data / f"{name}.parquet") for name in ("blocks", "plan"))
    learned = plan.loc[plan["split"] == "test", "block_id"].iloc[0]
    blocks.loc[blocks["block_id"] == learned, "split"] = "train"
    blocks.to_parquet(older.data / "blocks.parquet")
    champion = pack(older, steps=20)
    model.enter(champion)
    model.judge(champion)
    model.promote()
    assert model.champion == "1"
    model.enter(world.good)
    evidence = model.judge(world.good).evidence
    seen = seen_blocks(older.data / "blocks.parquet", poor.data / "blocks.parquet", poor.data / "plan.parquet")
    everything = plan.loc[plan["split"] == "test", "block_id"].nunique()
    assert learned in seen
    assert (evidence.opponent, evidence.seen, evidence.blocks) == ("champion", len(seen), everything - len(seen))
    assert evidence.miou == pytest.approx(world.good.score, abs=1e-6), "its own scores are those of all its test"


def test_blocks_without_an_object_are_no_evidence(world):
    params = world.good.workspace.params.model_copy(update={"task": "detection"})
    size = len(params.labels.classes)

    def frame(*rows: dict[tuple[int, int], int]) -> pd.DataFrame:
        flat = []
        for row in rows:
            counts = np.zeros((size, size), np.int64)
            for place, number in row.items():
                counts[place] = number
            flat.append(counts.ravel().tolist())
        ids = [f"b{i}" for i in range(len(rows))]
        return pd.DataFrame({"block_id": ids, "scene_id": "s", "model": "network", "confusion": flat})

    empty = {(0, 1): 1}  # one found where none is
    found, missed = {(1, 1): 9, (1, 0): 1}, {(1, 1): 2, (1, 0): 8}
    one = compared(frame(found, *[empty] * 9), frame(missed, *[empty] * 9), params)
    assert (one["blocks"], one["gain"].low) == (1, None)
    many = compared(frame(*[found] * 4, *[empty] * 6), frame(*[missed] * 4, *[empty] * 6), params)
    assert many["blocks"] == 4
    assert 0 < many["gain"].low <= many["gain"].value
    assert compared(frame(empty), frame(empty), params)["blocks"] == 0


def test_contracts_of_other_bands_or_classes_are_told_apart(world):
    contract = read_contract(world.good.workspace.data / "bundle")
    assert contract_differences(contract, contract) == ()
    other = contract.model_copy(update={"bands": contract.bands[:1], "classes": contract.classes[::-1]})
    sentences = contract_differences(other, contract)
    assert len(sentences) == 2
    assert "B02" in sentences[0]


def test_a_model_that_will_refuse_what_the_champion_maps_is_told_apart(world):
    contract = read_contract(world.good.workspace.data / "bundle")
    champion = contract.model_copy(update={"resolution": (10.0, 20.0)})
    for known, differs in (((10.0, 20.0), False), ((14.0, 14.0), False), ((10.0, 10.0), True), ((20.0, 20.0), True)):
        challenger = contract.model_copy(update={"resolution": known})
        assert bool(contract_differences(challenger, champion)) == differs
    assert "will refuse scenes of the 10 to 20 m" in contract_differences(challenger, champion)[0]


def test_windows_that_overlap_more_cost_more(world, monkeypatch):
    bundle = open_bundle(world.good.workspace.data / "bundle")
    monkeypatch.setattr(gates, "Runtime", lambda bundle, precision: lambda pixels: time.sleep(0.02))

    def with_overlap(pixels: int) -> Bundle:
        contract = bundle.contract.model_copy(update={"window": 64, "overlap": pixels})
        return dataclasses.replace(bundle, contract=contract)

    assert gates.slowdown(with_overlap(32), with_overlap(0)) == pytest.approx(4, rel=0.2)


def test_a_model_that_was_replaced_as_challenger_is_not_judged_in_its_place(world, model, tmp_path):
    mine = model.enter(world.good)
    model.enter(world.poor)
    params = model.params(world.good)
    good = world.good.workspace
    decision = gate(good.folder, good.catalog, params, mine)
    assert (decision.verdict, decision.challenger) == ("unchanged", mine)
    assert "has become challenger instead" in decision.reasons[0]
    assert aliases.DECISION not in model.tags(mine)
