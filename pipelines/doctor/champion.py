"""The model in charge: it loads, predicts, and takes what ``params.yaml`` describes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import Params, settings
from pipelines.doctor.finding import Finding, fault, fine, skipped
from pipelines.errors import BadData, SwathError

if TYPE_CHECKING:
    from pipelines.bundle.contract import Contract
    from pipelines.config.params import Labels

_SQLITE = "sqlite:///"
_TRAIN = "Train for it (push params.yaml), or correct params.yaml."


def champion(params: Params) -> list[Finding]:
    """Takes seconds where there is one, for it is run; where there is no store nothing heavy is imported."""
    name, uri = "Champion", settings().mlflow_uri
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():  # which MLflow would make
        return [skipped(name, f"There is no MLflow store at {uri} yet")]
    from pipelines.bundle.store import NoModel, open_bundle
    from pipelines.registry.rollback import prove

    try:
        bundle = open_bundle(f"models:/{params.project}@champion")
    except NoModel:
        return [skipped(name, f"{params.project} has none yet")]
    except BadData as error:
        return [fault(name, str(error), "Roll back to a former one: `swath model rollback --reason ...`.")]
    except SwathError as error:
        return [skipped(name, str(error))]
    findings = [
        fault(name, f"It {verb} {', '.join(theirs)}, and params.yaml says {', '.join(ours)}.", do)
        for verb, theirs, ours, do in (
            ("takes the bands", bundle.contract.band_names, params.scenes.image_bands, _TRAIN),
            ("knows the classes", _classes(bundle.contract), _classes(params.labels), _TRAIN),
            ("is for", (bundle.contract.task,), (params.task,), _TRAIN),
            ("reads pixels as", (bundle.contract.radiometry,), (params.scenes.radiometry.kind,), _TRAIN),
        )
        if tuple(theirs) != tuple(ours)
    ]
    try:
        prove(bundle)
    except BadData as error:
        findings.append(fault(name, str(error), "Roll back to a former one: `swath model rollback --reason ...`."))
    return findings or [fine(name, f"{bundle.name} loads, predicts and fits params.yaml")]


def _classes(owner: Labels | Contract) -> tuple[str, ...]:
    return tuple(each.name for each in owner.classes)
