"""The assets that connect the DAGs. An event says that content changed; its extra says at which revision."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from plugins.git_push import GitPushTrigger

scenes = Asset("scenes")
dataset = Asset("dataset")
champion = Asset("champion")
predictions = Asset("predictions")
retrain = Asset("retrain")
git_push = Asset("git_push", watchers=[AssetWatcher(name="git_push", trigger=GitPushTrigger())])
