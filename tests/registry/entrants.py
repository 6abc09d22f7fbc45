"""Two packaged networks, one poor and one good, on the same ground, and models of which they can be versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from pipelines.config import Params
from pipelines.evaluation.evaluate import evaluate
from pipelines.files import read_json
from pipelines.registry.aliases import CHAMPION, holder
from pipelines.registry.decision import Decision
from pipelines.registry.gate import gate
from pipelines.registry.package import package
from pipelines.registry.promotion import Promotion, promote, reject
from pipelines.registry.register import register
from tests.evaluation.parcels import Workspace, write_trained


@dataclass(frozen=True)
class Entrant:
    workspace: Workspace
    run: str

    @property
    def score(self) -> float:
        return read_json(self.workspace.data / "metrics.json")["miou"]["value"]


@dataclass(frozen=True)
class World:
    poor: Entrant
    good: Entrant
    home: Path
    client: MlflowClient

    def artifacts(self, entrant: Entrant) -> Path:
        return Path(self.client.get_run(entrant.run).info.artifact_uri.removeprefix("file://"))


@dataclass(frozen=True)
class Model:
    """A registered model of its own, so that tests do not meet."""

    name: str
    client: MlflowClient

    def enter(self, entrant: Entrant) -> str:
        return register(entrant.workspace.folder, self.params(entrant), entrant.run).version

    def judge(self, entrant: Entrant) -> Decision:
        return gate(entrant.workspace.folder, entrant.workspace.catalog, self.params(entrant))

    def promote(self, **options: str) -> Promotion:
        return promote(self.client, self.name, **options)

    def reject(self, rejecter: str, **options: str) -> Promotion:
        return reject(self.client, self.name, rejecter, **options)

    def tags(self, version: str) -> dict[str, str]:
        return self.client.get_model_version(self.name, version).tags

    @property
    def champion(self) -> str | None:
        found = holder(self.client, self.name, CHAMPION)
        return str(found.version) if found else None

    def params(self, entrant: Entrant) -> Params:
        return entrant.workspace.params.model_copy(update={"project": self.name})


def pack(workspace: Workspace, steps: int) -> Entrant:
    write_trained(workspace, steps)
    evaluate(workspace.folder, workspace.catalog, workspace.params)
    return Entrant(workspace, package(workspace.folder, workspace.params).run_id)
