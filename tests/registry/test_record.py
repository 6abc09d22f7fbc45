"""Records of decisions in a real repository beside a real MLflow store, and every way of tampering with either."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.atlas.champions import terms
from pipelines.errors import BadData, SwathError
from pipelines.evaluation.tracking import store
from pipelines.lineage.run import PERSON
from pipelines.registry import aliases, record
from pipelines.registry import rollback as rollbacks
from pipelines.registry.promotion import promote, reject
from pipelines.registry.record import Record, check, keep
from pipelines.registry.rollback import rollback
from pipelines.workspace.git import git
from pipelines.workspace.ledger import branch_of_decisions

pytestmark = pytest.mark.slow
BRANCH = branch_of_decisions("p")


class Registry:
    def __init__(self, client: MlflowClient, watched: Path) -> None:
        self.client, self.watched = client, watched
        self.experiment = client.create_experiment("p")
        client.create_registered_model("p")

    def judged(self, verdict: str = "promote", against: str = "") -> str:
        """A new version, the challenger, about which the gate has said ``verdict``."""
        run = self.client.create_run(self.experiment)
        version = self.client.create_model_version("p", "nowhere", run.info.run_id)
        self.client.set_registered_model_alias("p", aliases.CHALLENGER, str(version.version))
        self.judge(str(version.version), verdict, against, slowdown=1.0)
        return str(version.version)

    def judge(self, number: str, verdict: str, against: str, slowdown: float) -> None:
        version = self.client.get_model_version("p", number)
        tags = {aliases.DECISION: verdict, aliases.REASONS: "Because.", aliases.AGAINST: against}
        told = Record(
            kind="judged",
            version=number,
            before=against or None,
            after=against or None,
            reasons=("Because.",),
            who=None,
            run="train_model.monday",
            when=record.now(),
            decision={"verdict": verdict, "when": slowdown, "evidence": {"slowdown": slowdown, "blocks": 11}},
            changes=(record.change(version, tags),),
        )
        keep(self.client, "p", told)

    def tag(self, number: str, name: str, value: str) -> None:
        self.client.set_model_version_tag("p", number, name, value)

    def tags(self, number: str) -> dict[str, str]:
        return self.client.get_model_version("p", number).tags

    def kinds(self) -> list[str]:
        return [kept.record.kind for kept in check(self.client, "p").records]

    def said(self) -> str:
        """All sentences of a check, which has some."""
        found = check(self.client, "p")
        assert not found.agrees
        return "\n".join((*found.faults, *(one for each in found.versions.values() for one in each)))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made, which takes longer than all the rest."""
    made = tmp_path_factory.mktemp("store") / "empty.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made}")
        with store() as client:
            client.search_registered_models()
    return made


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: Path) -> Iterator[Registry]:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "watched.git"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty, tmp_path / 'mlflow.db')}")
    git("init", "--quiet", "--bare", "watched.git", at=tmp_path)
    with store() as client:
        yield Registry(client, tmp_path / "watched.git")


@pytest.fixture
def champion(registry: Registry) -> str:
    number = registry.judged()
    promote(registry.client, "p", approver="kim", run="train_model.monday")
    assert check(registry.client, "p").agrees
    return number


def test_a_decision_that_a_retried_task_tells_again_is_recorded_once(registry: Registry, champion: str) -> None:
    number = registry.judged("promote", champion)
    first = registry.tags(number)[aliases.CHAIN]
    registry.judge(number, "promote", champion, slowdown=1.4)  # a second measurement of the same
    assert registry.tags(number)[aliases.CHAIN] == first
    reject(registry.client, "p", "kim", "train_model.tuesday")
    reject(registry.client, "p", "kim", "train_model.tuesday")
    assert registry.kinds() == ["judged", "promoted", "judged", "rejected"]
    assert check(registry.client, "p").agrees


def cut_off(registry: Registry, monkeypatch: pytest.MonkeyPatch, call: str, run: str) -> None:
    """A promotion that dies at its first ``call`` of MLflow."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, die)
        with pytest.raises(KeyboardInterrupt):
            promote(registry.client, "p", run=run)


def test_a_promotion_killed_between_its_record_and_its_tags_is_finished_by_the_next_try(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = registry.judged()
    cut_off(registry, monkeypatch, "set_model_version_tag", "train_model.monday")
    assert "champion by the records" in registry.said()
    # MLflow's tags lag behind the record now, and the same run writes them
    assert promote(registry.client, "p", run="train_model.monday").champion == number
    assert registry.kinds() == ["judged", "promoted"] and check(registry.client, "p").agrees


@pytest.mark.parametrize("way", ["another run", "the next challenger", "a rollback"])
def test_a_move_cut_off_before_its_alias_is_finished_before_anything_else_is_decided(
    registry: Registry, champion: str, loads: None, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    second = registry.judged("promote", champion)
    cut_off(registry, monkeypatch, "set_registered_model_alias", "train_model.tuesday")

    def decide() -> str | None:
        if way == "a rollback":
            return rollbacks.rollback("p", "It maps clouds as water", champion, run="rollback_model.x").champion
        return promote(registry.client, "p", run="train_model.wednesday").champion

    if way == "another run":
        with pytest.raises(SwathError, match=r"try again from .* UTC on"):
            decide()  # whoever recorded it may still be at it
    monkeypatch.setattr(record, "CUT_OFF", timedelta(0))
    if way == "the next challenger":
        record.finish(registry.client, "p")  # as the gate does
        registry.judged("promote", second)
    after = decide()
    assert after == {"another run": second, "the next challenger": "3", "a rollback": champion}[way]
    moves = [(move.before, move.after) for move in check(registry.client, "p").moves]
    assert moves[:2] == [(None, champion), (champion, second)] and moves[2:] in ([], [(second, after)])
    assert check(registry.client, "p").agrees


@pytest.mark.parametrize("word", ["rejected", "judged anew"])
def test_nothing_is_decided_about_a_version_between_its_promotion_and_its_alias(
    registry: Registry, champion: str, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    second = registry.judged("promote", champion)
    cut_off(registry, monkeypatch, "set_registered_model_alias", "train_model.tuesday")
    with pytest.raises(SwathError, match="try again from"):
        if word == "rejected":
            reject(registry.client, "p", "kim")
        else:
            registry.judge(second, "refuse", champion, slowdown=1.0)
    monkeypatch.setattr(record, "CUT_OFF", timedelta(0))
    if word == "rejected":
        with pytest.raises(BadData, match="is champion already"):
            reject(registry.client, "p", "kim")
    assert promote(registry.client, "p", run="train_model.wednesday").changed == (word == "judged anew")
    assert check(registry.client, "p").agrees


def test_an_alias_that_somebody_moved_by_hand_is_not_taken_for_one_that_was_cut_off(
    registry: Registry, champion: str, loads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "CUT_OFF", timedelta(0))
    second = registry.judged("promote", champion)
    promote(registry.client, "p", run="train_model.tuesday")
    registry.client.delete_model_version_tag("p", second, aliases.IN_CHARGE)  # as of champions of former days
    registry.judged("promote", second)
    record.finish(registry.client, "p")
    registry.client.set_registered_model_alias("p", aliases.CHAMPION, champion)
    registry.judged("promote", champion)
    with pytest.raises(SwathError, match=f"by the records version {second} is: somebody moved the alias by hand"):
        promote(registry.client, "p", run="train_model.wednesday")
    assert "champion by the records" in registry.said()
    holder = aliases.holder(registry.client, "p", aliases.CHAMPION)
    assert holder and str(holder.version) == champion
    registry.client.set_registered_model_alias("p", aliases.CHAMPION, second)
    assert promote(registry.client, "p", override="Go on", run="train_model.wednesday").champion == "4"
    assert check(registry.client, "p").agrees


def test_a_champion_that_was_deleted_after_a_rollback_keeps_no_other_from_its_place(
    registry: Registry, champion: str, loads: None
) -> None:
    registry.judged("promote", champion)
    promote(registry.client, "p", run="train_model.tuesday")
    rollbacks.rollback("p", "It maps clouds as water", champion)
    registry.client.delete_registered_model_alias("p", aliases.CHAMPION)
    registry.client.delete_model_version("p", champion)
    registry.judged("promote", "")
    assert promote(registry.client, "p", run="train_model.wednesday").champion == "3"


def test_who_was_in_charge_is_told_of_versions_that_are_gone_too(
    registry: Registry, champion: str, loads: None
) -> None:
    for day in ("tuesday", "wednesday"):
        newest = registry.judged("promote", str(aliases.holder(registry.client, "p", aliases.CHAMPION).version))  # type: ignore[union-attr]
        promote(registry.client, "p", run=f"train_model.{day}")
    rollbacks.rollback("p", "It maps clouds as water", champion)
    registry.client.delete_model_version("p", newest)
    assert [term.version for term in terms(check(registry.client, "p").moves)] == [1, 3, 2, 1]


def test_a_rollback_by_a_run_is_that_of_whoever_triggered_it_and_never_the_gate_s(
    registry: Registry, champion: str, loads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = registry.judged("promote", champion)
    promote(registry.client, "p", run="train_model.tuesday")
    rollbacks.rollback("p", "It maps clouds as water", champion, run="rollback_model.x")
    monkeypatch.setenv(PERSON, "ada")
    rollbacks.rollback("p", "It maps water as clouds", second, run="rollback_model.y")
    told = [kept.record.by for kept in check(registry.client, "p").records]
    assert told == ["the gate", "kim", "the gate", "the gate", "a run of Airflow", "ada"]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles of versions that have none."""
    monkeypatch.setattr(rollbacks, "open_bundle", lambda uri: uri)
    monkeypatch.setattr(rollbacks, "prove", lambda bundle: None)


def test_a_rollback_for_the_same_reason_as_before_is_a_decision_of_its_own(
    registry: Registry, champion: str, loads: None
) -> None:
    later = registry.judged("promote", champion)
    promote(registry.client, "p", run="train_model.tuesday")
    for _ in range(2):
        rollbacks.rollback("p", "It maps clouds as water", champion)
        assert check(registry.client, "p").agrees
        assert aliases.WITHDRAWN in registry.tags(later)
        promote(registry.client, "p", override="It does not, look again")
        assert check(registry.client, "p").agrees
    assert registry.kinds()[4:] == ["restored", "promoted", "restored", "promoted"]


def test_a_rollback_during_which_another_is_promoted_does_not_undo_that(
    registry: Registry, champion: str, loads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.judged("promote", champion)
    second = promote(registry.client, "p", run="train_model.tuesday").champion
    third = registry.judged("promote", second)

    def meanwhile(bundle: object) -> None:
        promote(registry.client, "p", run="train_model.wednesday")

    monkeypatch.setattr(rollbacks, "prove", meanwhile)
    with pytest.raises(SwathError, match=f"Version {third} of p is champion by now, not {second}"):
        rollbacks.rollback("p", "It maps clouds as water", champion)
    assert check(registry.client, "p").agrees and "restored" not in registry.kinds()
    holder = aliases.holder(registry.client, "p", aliases.CHAMPION)
    assert holder and str(holder.version) == third


@pytest.mark.parametrize(
    ("tag", "value"), [(aliases.REASONS, "It is splendid."), (aliases.APPROVER, "eve"), (aliases.FORMER, "7")]
)
def test_an_altered_tag_is_told_with_what_it_was(registry: Registry, champion: str, tag: str, value: str) -> None:
    was = registry.tags(champion)[tag]
    registry.tag(champion, tag, value)
    assert f"tag {tag} says {value!r}; the record says {was!r}" in registry.said()


@pytest.mark.parametrize("tag", [aliases.APPROVER, aliases.DECISION, aliases.CHAIN])
def test_a_removed_tag_is_told(registry: Registry, champion: str, tag: str) -> None:
    registry.client.delete_model_version_tag("p", champion, tag)
    assert tag in registry.said()


@pytest.mark.parametrize("tag", [aliases.REJECTER, aliases.WITHDRAWN, aliases.RESTORED])
def test_a_tag_that_no_decision_wrote_is_told(registry: Registry, champion: str, tag: str) -> None:
    registry.tag(champion, tag, "somebody")
    assert f"tag {tag} says 'somebody'; no record does" in registry.said()


def test_a_champion_that_no_record_made_is_told(registry: Registry, champion: str) -> None:
    other = registry.judged("refuse", champion)
    registry.client.set_registered_model_alias("p", aliases.CHAMPION, other)
    assert f"Version {champion} is champion by the records, and version {other} in MLflow" in registry.said()


def test_a_refusal_edited_into_a_promotion_promotes_nothing(registry: Registry, champion: str) -> None:
    number = registry.judged("refuse", champion)
    registry.tag(number, aliases.DECISION, "promote")
    done = promote(registry.client, "p")
    assert not done.changed and "the record says 'refuse'" in done.reason
    registry.judge(number, "refuse", champion, slowdown=1.0)  # the gate, again
    assert check(registry.client, "p").agrees


def test_a_version_that_nobody_promoted_is_not_rolled_back_to(registry: Registry, champion: str) -> None:
    number = registry.judged("refuse", champion)
    registry.tag(number, aliases.PROMOTED, "2026-01-01T00:00:00+00:00")
    with pytest.raises(BadData, match="none of its 1 records does"):
        rollback("p", "because", number)


def test_a_deleted_record_is_told_and_stops_promotions(registry: Registry, champion: str, tmp_path: Path) -> None:
    registry.judged("promote", champion)
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", BRANCH, str(registry.watched), str(clone), at=tmp_path)
    git("rm", "--quiet", "0002.json", at=clone)
    git("commit", "--quiet", "-m", "Record 4", at=clone)
    git("push", "--quiet", at=clone)
    assert "D 0002.json" in registry.said()
    with pytest.raises(SwathError, match="Nothing is promoted on that"):
        promote(registry.client, "p")
    with pytest.raises(SwathError, match="No decision is added"):
        reject(registry.client, "p", "kim")


def test_a_rewritten_history_is_told_by_mlflow_where_no_copy_is_left(
    registry: Registry, champion: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that never saw the branch has only the commit that MLflow's tags name."""
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", BRANCH, str(registry.watched), str(clone), at=tmp_path)
    text = (clone / "0002.json").read_text().replace("kim", "eve")
    git("reset", "--quiet", "--hard", "HEAD~1", at=clone)
    (clone / "0002.json").write_text(text)
    git("add", "--all", at=clone)
    git("commit", "--quiet", "-m", "Record 2", at=clone)
    git("push", "--quiet", "--force", at=clone)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "another machine"))
    registry.tag(champion, aliases.APPROVER, "eve")
    assert "which is gone: it was taken out, or the history rewritten" in registry.said()


def test_records_of_another_mlflow_say_nothing_of_this_one(
    registry: Registry, champion: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: Path
) -> None:
    """Whoever empties SWATH_HOME begins with version 1 again, and the repository knows of another version 1."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty, tmp_path / 'new.db')}")
    with store() as client:
        anew = Registry(client, registry.watched)
        number = anew.judged()
        assert number == champion and check(client, "p").agrees
        assert promote(client, "p").changed and check(client, "p").agrees
        assert len(anew.kinds()) == 4


def test_what_was_decided_before_there_were_records_is_told_as_such(registry: Registry) -> None:
    run = registry.client.create_run(registry.experiment)
    number = str(registry.client.create_model_version("p", "nowhere", run.info.run_id).version)
    registry.client.set_registered_model_alias("p", aliases.CHALLENGER, number)
    registry.tag(number, aliases.DECISION, "promote")
    assert "tagged as decided on, and no record says so" in registry.said()
    assert "run `swath model gate` again" in promote(registry.client, "p").reason


def test_a_repository_out_of_reach_fails_a_promotion_that_can_be_tried_again(
    registry: Registry, champion: str, tmp_path: Path
) -> None:
    number = registry.judged("promote", champion)
    registry.watched.rename(tmp_path / "away.git")
    with pytest.raises(SwathError, match="cannot be reached"):
        promote(registry.client, "p", run="train_model.tuesday")
    (tmp_path / "away.git").rename(registry.watched)
    assert promote(registry.client, "p", run="train_model.tuesday").champion == number
    assert check(registry.client, "p").agrees
