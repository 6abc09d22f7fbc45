"""Reading ``params.yaml`` and laying an overlay over it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.config.params import Params
from pipelines.config.settings import settings
from pipelines.errors import BadData

# Without braces: with them `dvc exp run -S` takes a name for a reference within the file, and fails.
_VARIABLE = re.compile(r"\$([A-Z][A-Z0-9_]*)")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a ``params.yaml``; ``$NAME`` in it is replaced from the environment.

    Raises ``BadData`` with one line for each wrong value.
    """
    try:
        return Params.model_validate(_expand(_read(path), path))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (got {repr(e['input'])[:200]})" for e in error.errors()]
        raise BadData(f"{path} has {len(lines)} wrong value(s); correct them:\n" + "\n".join(lines)) from None


def merged_params(base: Path, overlay: Path) -> str:
    """The text of ``base`` with the values of ``overlay`` laid over it; mappings merge, all else is replaced.

    A mapping with the key ``_replace: true`` replaces instead of merging.
    """
    merged = _merge(_read(base), _read(overlay))
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML as it is read: a key stands once in a mapping, and nothing is written by reference."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few of them can stand for more text than fits into memory
            where = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "references (*name) are not taken; write it out", where)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        written = [key.value for key, _ in node.value if isinstance(key.value, str)]
        if doubled := sorted({key for key in written if written.count(key) > 1}):
            what = f"{', '.join(doubled)} is there twice; keep one"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except FileNotFoundError:
        raise BadData(f"{path} does not exist; name a params.yaml or start in a folder that has one.") from None
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise BadData(f"{path} is not valid YAML; correct it: {error}") from None
    if not isinstance(content, dict):
        raise BadData(f"{path} must hold a mapping of settings, not {type(content).__name__}; correct it.")
    return content


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overlay.items():
        former = merged.get(key)
        if isinstance(value, dict) and isinstance(former, dict) and not value.get("_replace"):
            merged[key] = _merge(former, value)
        elif isinstance(value, dict):
            merged[key] = {k: v for k, v in value.items() if k != "_replace"}
        else:
            merged[key] = value
    return merged


def _expand(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _variable(match[1], path), value)
    return value


def _variable(name: str, path: Path) -> str:
    if name == "SWATH_HOME":
        return str(settings().home)
    if (found := os.environ.get(name)) is None:
        raise BadData(f"{path} uses ${name}, which is not set; set it to the folder that holds your data.")
    return found
