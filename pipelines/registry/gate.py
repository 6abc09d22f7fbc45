"""The gate: challenger against champion on the same frozen test ground."""

from __future__ import annotations

import logging
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from pipelines.bundle.contract import BLOCKS, Contract
from pipelines.bundle.store import Bundle, open_bundle
from pipelines.config.params import Params
from pipelines.dataset.snapshot import Manifest, read_manifest
from pipelines.errors import BadData
from pipelines.evaluation import metrics as m
from pipelines.evaluation.bootstrap import paired_gain
from pipelines.evaluation.finding import Finder, truths_of
from pipelines.evaluation.ground import digest, ground_of, read_plan
from pipelines.evaluation.objects import tally_objects
from pipelines.evaluation.score import Tally, by, tally_scene
from pipelines.evaluation.stitching import Stitcher
from pipelines.evaluation.tracking import store
from pipelines.files import write_json
from pipelines.inference.raster import FINER_OR_COARSER, in_bands
from pipelines.inference.runtime import Runtime
from pipelines.lineage.revision import revision
from pipelines.lineage.run import airflow_run
from pipelines.progress import report
from pipelines.registry import aliases, pictures, record
from pipelines.registry.decision import Decision, Evidence, Verdict, decide
from pipelines.registry.object_pictures import draw_objects
from pipelines.registry.record import Tags
from pipelines.registry.scores import known_scores, log_scores, own_scores
from pipelines.scenes.catalog import verify
from pipelines.workspace.workspace import run_name

log = logging.getLogger(__name__)

RECORD = "decision.json"
PICTURES = "decision"  # folder of the run
_ROUNDS = 5  # of timing; the fastest counts, because what slows a round down is never the model
_TIMED = 4  # windows at a time


def gate(workspace: Path, catalog: Path, params: Params, version: str | None = None) -> Decision:
    """Judge the challenger on the test ground of ``workspace`` and write the decision on its version.

    Where another than ``version`` has become challenger meanwhile, that is all that is said, and nothing is written.
    Raises ``BadData`` if there is no challenger, or its classes are not those of ``params``.
    """
    with store() as client:
        name = params.project
        record.finish(client, name)
        challenger = aliases.holder(client, name, aliases.CHALLENGER)
        if challenger is None:
            raise BadData(f"{name} has no challenger; register a model with `swath model register` first.")
        champion = aliases.holder(client, name, aliases.CHAMPION)
        if version is not None and str(challenger.version) != version:
            asked = aliases.version(client, name, version)
            reasons = (f"Version {challenger.version} has become challenger instead of version {version}.",)
            return _decision("unchanged", reasons, None, asked, champion, workspace, params)
        if champion is not None and champion.version == challenger.version:
            reasons = (f"Version {challenger.version} is champion already.",)
            return _decision("unchanged", reasons, None, challenger, champion, workspace, params)
        if why := challenger.tags.get(aliases.WITHDRAWN):
            reasons = (f"Version {challenger.version} was taken out of charge by a rollback: {why}",)
            decision = _decision("refuse", reasons, None, challenger, champion, workspace, params)
        elif who := challenger.tags.get(aliases.REJECTER):
            reasons = (f"Rejected by {who}.",)  # a person's word is asked for once
            decision = _decision("refuse", reasons, None, challenger, champion, workspace, params)
        else:
            trial = _Trial(client, workspace, catalog, params)
            evidence = trial.evidence(challenger, champion)
            verdict, found = decide(evidence, params.gate)
            decision = _decision(verdict, found, evidence, challenger, champion, workspace, params)
            decision = decision.model_copy(update={"pictures": trial.draw(challenger, champion, evidence)})
        decision = _record(client, challenger, decision)
        for reason in decision.reasons:
            log.info("%s: %s", decision.verdict, reason)
        return decision


class _Trial:
    """The frozen test of a workspace, and models scored on it."""

    def __init__(self, client: MlflowClient, workspace: Path, catalog: Path, params: Params) -> None:
        self.client, self.catalog, self.params = client, catalog, params
        self.data = Path(workspace) / "data"
        self.manifest: Manifest = read_manifest(self.data / "manifest.json")
        self.plan = read_plan(self.data / "plan.parquet")
        self.names = [c.name for c in params.labels.classes]
        self.test = digest(self.manifest, self.plan, params.labels)
        self.void = m.void_of(params.task)
        self.miou = partial(m.miou, void=self.void)

    def evidence(self, challenger: ModelVersion, champion: ModelVersion | None) -> Evidence:
        ours = open_bundle(f"models:/{challenger.name}/{challenger.version}")
        if [c.name for c in ours.contract.classes] != self.names:
            raise BadData(f"Version {challenger.version} has other classes than params.yaml; train and register again.")
        seen = self.seen(ours)  # none, where it was trained on this dataset
        frame = self.scores(challenger, ours)
        frame = frame[~frame["block_id"].isin(seen)]
        _, total = by(frame, "block_id", len(self.names))
        scenes, per_scene = by(frame, "scene_id", len(self.names))
        ious = m.class_scores(total.sum(axis=0), self.void).iou
        told = [(n, float(iou)) for i, (n, iou) in enumerate(zip(self.names, ious, strict=True)) if i != self.void]
        found = Evidence(
            test=self.test,
            blocks=len(total),
            seen=len(seen),
            opponent=None,
            miou=_number(self.miou(total.sum(axis=0))),
            opponent_miou=None,
            gain=None,
            classes={name: iou for name, iou in told if np.isfinite(iou)},
            untested=tuple(name for name, iou in told if not np.isfinite(iou)),
            scenes={s: float(v) for s, v in zip(scenes, self.miou(per_scene), strict=True) if np.isfinite(v)},
        )
        if champion is None:
            return self.against_baseline(found, frame, ours)
        return self.against_champion(found, frame, ours, champion)

    def seen(self, bundle: Bundle) -> set[str]:
        """The blocks of this test that a model was trained on."""
        return seen_blocks(bundle.folder / BLOCKS, self.data / "blocks.parquet", self.data / "plan.parquet")

    def against_baseline(self, found: Evidence, frame: pd.DataFrame, ours: Bundle) -> Evidence:
        if not self.params.evaluate.baseline:
            return found
        bar = own_scores(ours, self.test, "baseline")
        if bar is None or bar.empty:
            return found.model_copy(update={"opponent": "baseline", "unscored": True})
        bar = bar[bar["block_id"].isin(set(frame["block_id"]))]
        return found.model_copy(update={"opponent": "baseline"} | compared(frame, bar, self.params))

    def against_champion(self, found: Evidence, frame: pd.DataFrame, ours: Bundle, champion: ModelVersion) -> Evidence:
        theirs = open_bundle(f"models:/{champion.name}/{champion.version}")
        found = found.model_copy(update={"opponent": "champion"})
        if differences := contract_differences(ours.contract, theirs.contract):
            return found.model_copy(update={"contract": differences})
        seen = self.seen(ours) | self.seen(theirs)
        changes = {"seen": len(seen), "slowdown": slowdown(ours, theirs)}
        other = self.scores(champion, theirs)
        mine, opposite = (scores[~scores["block_id"].isin(seen)] for scores in (frame, other))
        return found.model_copy(update=changes | compared(mine, opposite, self.params))

    def draw(
        self, challenger: ModelVersion, champion: ModelVersion | None, evidence: Evidence
    ) -> tuple[pictures.Shown, ...]:
        """Log pictures of the worst and the median block to the challenger's run."""
        versions = {"challenger": challenger} | ({"champion": champion} if champion and not evidence.contract else {})
        models = {name: open_bundle(f"models:/{v.name}/{v.version}") for name, v in sorted(versions.items())}
        frame = self.scores(challenger, models["challenger"])
        frame = frame[~frame["block_id"].isin(self.seen(models["challenger"]))]
        if frame.empty:
            return ()
        shown, labels = [], self.params.labels
        with tempfile.TemporaryDirectory() as scratch:
            for rank, block, scene, miou in pictures.choose(frame, len(self.names), self.miou):
                report(0, 1, f"drawing the {rank} test block, {block} of scene {scene}")
                panels = self.panels(Path(scratch), rank, block, scene, models)
                shown.append(pictures.Shown(rank=rank, block=block, scene=scene, miou=miou, panels=panels))
            pictures.draw_legend(Path(scratch) / pictures.LEGEND, labels.classes)
            self.client.log_artifacts(str(challenger.run_id), scratch, PICTURES)
        return tuple(shown)

    def panels(self, folder: Path, rank: str, block: str, scene: str, models: dict[str, Bundle]) -> tuple[str, ...]:
        labels, part = self.params.labels, self.plan[(self.plan["scene_id"] == scene) & (self.plan["split"] == "test")]
        if self.params.task == "detection":
            bands = next(iter(models.values())).contract.band_names
            [truth] = truths_of(self.manifest, part, "test", self.catalog, bands, self.data, labels)
            return draw_objects(folder, rank, truth, block, self.catalog, models, labels.classes)
        part = part[part["block_id"] == block]
        ground = ground_of(self.manifest.scene(scene), part, "test", self.data / "labels", labels)
        assert ground is not None
        return pictures.draw(folder, rank, ground, self.catalog, models, labels.classes)

    def scores(self, version: ModelVersion, bundle: Bundle) -> pd.DataFrame:
        """Block scores of a version on this test: its bundle's, those on record, or counted now and put on record."""
        known = known_scores(self.client, str(version.run_id), bundle, self.test)
        if known is not None:
            return known
        frame = self.scored(bundle).frame("network")
        log_scores(self.client, str(version.run_id), self.test, frame)
        return frame

    def scored(self, bundle: Bundle) -> Tally:
        contract, tally = bundle.contract, Tally(len(self.names))
        if contract.task == "detection":
            self.count_objects(bundle, tally)
            return tally
        runtime = Runtime(bundle, precision="f32")
        windows = contract.window, contract.overlap
        stitch = Stitcher(runtime, len(self.names), contract.means, *windows, contract.task, runtime.calls)
        tested = set(self.plan.loc[self.plan["split"] == "test", "scene_id"])
        scenes = [scene for scene in self.manifest.scenes if scene.id in tested]
        for done, scene in enumerate(scenes):
            report(done, len(scenes), f"scoring {bundle.name} on scene {scene.id}")
            verify(scene, self.catalog)
            ground = ground_of(scene, self.plan, "test", self.data / "labels", self.params.labels)
            if ground:
                with in_bands(scene, self.catalog, contract.band_names).open() as source:
                    tally_scene(tally, ground, stitch(source))
        return tally

    def count_objects(self, bundle: Bundle, tally: Tally) -> None:
        contract = bundle.contract
        runtime = Runtime(bundle, precision="f32")
        windows = contract.window, contract.overlap
        finder = Finder(runtime, contract.band_names, contract.means, *windows, runtime.calls)
        truths = truths_of(self.manifest, self.plan, "test", self.catalog, finder.bands, self.data, self.params.labels)
        for done, truth in enumerate(truths):
            report(done, len(truths), f"scoring {bundle.name} on scene {truth.scene.id}")
            objects = finder.objects(truth.scene, self.catalog)
            tally_objects(tally, truth, objects[objects.scores >= contract.threshold])


def compared(ours: pd.DataFrame, theirs: pd.DataFrame, params: Params) -> dict[str, object]:
    """What block scores of two models on the same blocks say of them: fields of ``Evidence``.

    Blocks whose truth has no class but the void one, as ground without objects, count for the gain and not as blocks.
    """
    miou, size = partial(m.miou, void=m.void_of(params.task)), len(params.labels.classes)
    blocks, mine = by(ours, "block_id", size)
    others, opposite = by(theirs, "block_id", size)
    if blocks != others:
        raise BadData("The two models were scored on different blocks; run `swath evaluate` and package again.")
    telling = int(np.isfinite(miou(mine)).sum())
    if not telling:
        return {"blocks": 0, "gain": None}
    evaluate, confidence = params.evaluate, params.gate.confidence
    gain = paired_gain(mine, opposite, miou, resamples=evaluate.bootstrap, confidence=confidence)
    return {"blocks": telling, "gain": gain, "opponent_miou": _number(miou(opposite.sum(axis=0)))}


def contract_differences(challenger: Contract, champion: Contract) -> tuple[str, ...]:
    """Sentences that say how two contracts differ in what maps and their users rely on; empty where they agree."""
    sentences = []
    if challenger.task != champion.task:
        sentences.append(f"It is a model of {challenger.task}; the champion is one of {champion.task}.")
    bands = [tuple(f"{b.name} in {b.units}" for b in contract.bands) for contract in (challenger, champion)]
    if bands[0] != bands[1]:
        sentences.append(f"It takes the bands {', '.join(bands[0])}; the champion takes {', '.join(bands[1])}.")
    classes = [tuple(c.name for c in contract.classes) for contract in (challenger, champion)]
    if classes[0] != classes[1]:
        sentences.append(f"It gives the classes {', '.join(classes[0])}; the champion gives {', '.join(classes[1])}.")
    (finest, coarsest), (finer, coarser) = challenger.resolution, champion.resolution
    if finer < finest / FINER_OR_COARSER or coarser > coarsest * FINER_OR_COARSER:
        sentences.append(
            f"It was trained on pixels of {finest:.3g} to {coarsest:.3g} m and will refuse scenes of the {finer:.3g} "
            f"to {coarser:.3g} m that the champion knows."
        )
    return tuple(sentences)


def seen_blocks(trained: Path, blocks: Path, plan: Path) -> set[str]:
    """Blocks whose test chips, by ``blocks`` and ``plan``, show ground that a model learned from.

    Its own blocks file ``trained`` tells what it gave to train and val; chips reach half their width beyond a block.
    """
    former, now, chips = gpd.read_parquet(trained), gpd.read_parquet(blocks), gpd.read_parquet(plan)
    learned, seen = former.geometry[former["split"].isin(["train", "val"])], set[str]()
    for region, projection in now.drop_duplicates("region").set_index("region")["projection"].items():
        tested = chips[(chips["split"] == "test") & (chips["region"] == region)].to_crs(projection)
        theirs = learned.to_crs(projection)
        reach = shapely.area(tested.geometry.to_numpy()).max(initial=0) ** 0.5 / 2
        theirs = theirs[np.isfinite(theirs.bounds).all(axis=1)].to_numpy()  # the other side of the Earth
        at, _ = shapely.STRtree(theirs).query(tested.geometry.to_numpy(), predicate="dwithin", distance=reach)
        seen |= set(tested["block_id"].iloc[at])
    return seen


def slowdown(challenger: Bundle, champion: Bundle) -> float:
    """Time of the challenger over that of the champion for the same ground, the fastest of a few rounds each.

    Timed on the same windows, and multiplied by how often each sees a pixel where its own windows overlap.
    Both in full precision, as they are scored: what bfloat16 saves is no merit of one network over the other.
    """
    window = min(challenger.contract.window, champion.contract.window)
    noise = np.random.default_rng(0).normal(size=(_TIMED, len(champion.contract.bands), window, window))
    statistics = champion.contract.statistics
    pixels = (noise * statistics.stds[:, None, None] + statistics.means[:, None, None]).astype(np.float32)
    runtimes = Runtime(challenger, precision="f32"), Runtime(champion, precision="f32")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for runtime, taken in zip(runtimes, times, strict=True):
            started = time.perf_counter()
            runtime(pixels)
            taken.append(time.perf_counter() - started)
    return round(min(times[0]) / min(times[1]) * _looks(challenger.contract) / _looks(champion.contract), 3)


def _looks(contract: Contract) -> float:
    """How many windows see a pixel, on the mean."""
    return (contract.window / (contract.window - contract.overlap)) ** 2


def _decision(
    verdict: Verdict,
    reasons: tuple[str, ...],
    evidence: Evidence | None,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    workspace: Path,
    params: Params,
) -> Decision:
    made_from = revision(workspace)
    return Decision(
        verdict=verdict,
        reasons=reasons,
        challenger=str(challenger.version),
        champion=str(champion.version) if champion else None,
        evidence=evidence,
        thresholds=params.gate,
        commit=challenger.tags.get(aliases.COMMIT) or made_from.commit,
        dataset=challenger.tags.get(aliases.DATASET) or made_from.dataset,
        when=datetime.now(UTC),
        run=airflow_run(),
    )


def _record(client: MlflowClient, version: ModelVersion, decision: Decision) -> Decision:
    """The decision goes into the records, whole into the challenger's run, and what people look for on its version.

    Returns the one on record, which is an earlier one where the same was decided before.
    """
    tags: Tags = {
        aliases.REASONS: "\n".join(decision.reasons),
        aliases.AGAINST: decision.champion or "",
        aliases.RECORD: f"runs:/{version.run_id}/{RECORD}",
        aliases.DECIDED: decision.when.isoformat(timespec="seconds"),
        aliases.DECIDED_BY: decision.run or "",
        aliases.DECISION: decision.verdict,
    }
    kept = record.keep(
        client,
        str(version.name),
        record.Record(
            kind="judged",
            version=decision.challenger,
            before=decision.champion,
            after=decision.champion,
            reasons=decision.reasons,
            who=None if decision.run else record.person(),
            run=run_name(*decision.run.split("/", 1)) if decision.run else None,
            when=decision.when,
            decision=decision.model_dump(mode="json"),
            changes=(record.change(version, tags),),
        ),
    )
    told = Decision.model_validate(kept.decision)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / RECORD
        write_json(path, told.model_dump(mode="json"))
        client.log_artifact(str(version.run_id), str(path))
    return told


def _number(value: object) -> float | None:
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None
