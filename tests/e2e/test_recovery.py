"""Drift to labels to promotion, in the real scheduler. Late in its folder: it adds scenes, labels and a champion."""

from __future__ import annotations

import mlflow
import pytest

from pipelines.local.chain import run_chain
from pipelines.local.drift_demo import play
from pipelines.local.recovery import Recovery
from pipelines.sample.drift import Drift
from pipelines.sample.region import Order
from tests.e2e.conftest import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HAZED = Order(size=512, scenes=0, unlabelled=3, drift=Drift(kind="haze", strength=0.25))


@pytest.fixture(scope="module")
def recovery(system: System) -> Recovery:
    if system.git("status", "--porcelain"):
        system.git("commit", "--quiet", "--all", "--message", "Keep it small")
    system.git("config", "receive.denyCurrentBranch", "updateInstead")
    client = mlflow.MlflowClient(tracking_uri=system.services.mlflow)
    if not client.search_registered_models():
        run_chain(system.airflow, system.git("rev-parse", "HEAD"), lambda tasks: None)
    # drift that an earlier test met would keep this one's from being told within the cooldown
    (system.home / "reports" / "sample" / "drift" / "retrain.json").unlink(missing_ok=True)
    overlay = {"gate": {"min_gain": 0.0, "approval": False}, "train": {"epochs": 5}}
    return play(system.airflow, "sample", HAZED, print, lambda tasks: None, overlay)


def test_haze_that_persists_is_flagged_as_haze_and_asks_for_a_training(recovery: Recovery) -> None:
    before = recovery.before
    assert before.verdict == "drift" and before.retrain
    assert before.odd == before.scenes == 3 and before.distance > before.limit
    assert before.cause is not None and "haze" in before.cause


def test_a_push_of_the_labels_that_were_asked_for_makes_a_champion_that_recovers(
    system: System, recovery: Recovery
) -> None:
    scores, old, new = recovery.scores, recovery.old, recovery.new
    assert scores.changed[old] < scores.usual[old] - 0.05, "haze must cost the champion something"
    assert scores.changed[new] > scores.changed[old] + 0.05
    assert "beats the champion" in recovery.reasons[0] and "trained on left out" not in recovery.reasons[0]
    client = mlflow.MlflowClient(tracking_uri=system.services.mlflow)
    assert str(client.get_model_version_by_alias("sample", "champion").version) == new != old
    assert system.git("show", "-s", "--format=%an", recovery.commit) == "Ana the annotator"


def test_against_what_the_new_champion_learned_from_the_haze_is_nothing_unusual(recovery: Recovery) -> None:
    after = recovery.after
    assert after.version == recovery.new and after.verdict != "drift"
    assert after.distance / after.limit < recovery.before.distance / recovery.before.limit
