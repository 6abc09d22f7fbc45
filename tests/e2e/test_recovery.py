"""Drift to labels to promotion, in the real scheduler. Late in its folder: it adds scenes, labels and a champion."""

from __future__ import annotations

import mlflow
import pytest

from pipelines.local.chain import TaskState, run_chain
from pipelines.local.drift_demo import play
from pipelines.local.recovery import Recovery
from pipelines.registry.aliases import APPROVER, WITHDRAWN
from pipelines.sample.drift import Drift
from pipelines.sample.region import Order
from tests.e2e.conftest import System
from tests.e2e.runs import known, maker, wait_for_run

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
    overlay = {"gate": {"min_gain": 0.0, "approval": True, "approval_hours": 1}, "train": {"epochs": 5}}

    looked: set[str] = set()

    def approve(tasks: list[TaskState]) -> None:
        """At the second look: Airflow loses an answer that comes before the asking process ends, and asks again."""
        waiting = {task.run for task in tasks if (task.task, task.state) == ("approve", "awaiting_input")}
        for run in waiting & looked:
            system.airflow.respond("train_model", run, "approve", "Approve")
        looked.update(waiting)

    return play(system.airflow, "sample", HAZED, print, approve, overlay)


def test_haze_that_persists_is_flagged_as_haze_and_asks_for_a_training(recovery: Recovery) -> None:
    before = recovery.before
    assert before.verdict == "drift" and before.retrain
    assert before.odd == before.scenes == 3 and before.distance > before.limit
    assert before.cause is not None and "haze" in before.cause


def test_a_push_of_the_labels_that_were_asked_for_makes_a_champion_that_recovers_once_a_person_approves(
    system: System, recovery: Recovery
) -> None:
    scores, old, new = recovery.scores, recovery.old, recovery.new
    # two epochs leave a champion that is worth next to nothing on some processors
    cost = min(0.05, scores.usual[old] / 5)
    assert scores.changed[old] < scores.usual[old] - cost, "haze must cost the champion something"
    assert scores.changed[new] > scores.changed[old] + 0.05
    assert "beats the champion" in recovery.reasons[0] and "trained on left out" not in recovery.reasons[0]
    champion = mlflow.MlflowClient(tracking_uri=system.services.mlflow).get_model_version_by_alias("sample", "champion")
    assert str(champion.version) == new != old
    assert champion.tags[APPROVER] == system.services.user
    assert system.git("show", "-s", "--format=%an", recovery.commit) == "Ana the annotator"


def test_against_what_the_new_champion_learned_from_the_haze_is_nothing_unusual(recovery: Recovery) -> None:
    after = recovery.after
    assert after.version == recovery.new and after.verdict != "drift"
    assert after.distance / after.limit < recovery.before.distance / recovery.before.limit


def test_a_champion_is_taken_back_and_the_former_one_makes_the_maps(system: System, recovery: Recovery) -> None:
    client = mlflow.MlflowClient(tracking_uri=system.services.mlflow)
    runs, maps = known(system, "rollback_model"), known(system, "predict_scenes")
    system.airflow.unpause("rollback_model")
    why = "It takes shadows for lakes"
    system.airflow.trigger("rollback_model", {"version": int(recovery.old), "reason": why})
    wait_for_run(system, "rollback_model", runs)
    assert str(client.get_model_version_by_alias("sample", "champion").version) == recovery.old
    assert why in client.get_model_version("sample", recovery.new).tags[WITHDRAWN]
    assert maker(system, wait_for_run(system, "predict_scenes", maps)) == recovery.old
