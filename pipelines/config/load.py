"""Reading ``params.yaml`` and laying an overlay over it."""

from __future__ import annotations

import io
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.config.params import Params
from pipelines.config.settings import settings
from pipelines.errors import BadData

# Without braces: with them `dvc exp run -S` takes a name for a reference within the file, and fails.
_VARIABLE = re.compile(r"\$([A-Z][A-Z0-9_]*)")


def load_params(path: Path = Path("params.yaml"), name: str | None = None) -> Params:
    """Read and check a ``params.yaml``; ``$NAME`` in it is replaced from the environment.

    Raises ``BadData`` with one line for each wrong value. ``name`` is what a person calls the file, if not ``path``.
    """
    called = name or str(path)
    try:
        return Params.model_validate(_expand(_read(path), called))
    except ValidationError as error:
        lines = [f"  {_sentence(detail)}" for detail in error.errors()]
        many = f"{len(lines)} wrong values; correct them" if len(lines) > 1 else "a wrong value; correct it"
        raise BadData(f"{called} has {many}:\n" + "\n".join(lines)) from None


def merged_params(base: Path, overlay: Path) -> str:
    """The text of ``base``, comments included, with the values of ``overlay`` laid over it; mappings merge, all else is
    replaced.

    A mapping with the key ``_replace: true`` replaces instead of merging. Raises ``BadData`` if one of them is no YAML.
    """
    for path in (base, overlay):
        _read(path)  # more is refused there than by what keeps comments
    written = YAML()
    written.preserve_quotes, written.width = True, 4096
    written.indent(mapping=2, sequence=4, offset=2)
    written.representer.add_representer(type(None), _null)
    text = io.StringIO()
    try:
        merged = written.load(base.read_text(encoding="utf-8"))
        _lay(written.load(overlay.read_text(encoding="utf-8")), merged)
        written.dump(merged, text)
    except (YAMLError, ValueError, AssertionError, RecursionError) as error:
        raise BadData(f"{overlay} cannot be laid over {base}; correct it: {error}") from None
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _sentence(detail: ErrorDetails) -> str:
    """What is wrong with one value, in our words where pydantic's would show its own workings."""
    where = ".".join(map(str, detail["loc"])) or "together"
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(str(detail["loc"][-1]), _settings(detail["loc"][:-1]), 1)
        return f"{where}: there is no such setting" + (f"; is {near[0]} meant?" if near else "")
    said = detail["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    shown = "" if isinstance(detail["input"], dict) else f" (got {repr(detail['input'])[:200]})"
    return f"{where}: {said}{shown}"


def _settings(section: tuple[int | str, ...]) -> list[str]:
    """The names that a section of ``Params`` has; none where it is a list."""
    model: Any = Params
    for name in section:
        field = getattr(model, "model_fields", {}).get(name)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))


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


def _lay(overlay: dict[str, Any], merged: dict[str, Any]) -> None:
    for key, value in overlay.items():
        former = merged.get(key)
        if isinstance(value, dict) and isinstance(former, dict) and not value.get("_replace"):
            _lay(value, former)
            continue
        if isinstance(value, dict):
            value.pop("_replace", None)
        merged[key] = value


def _expand(value: Any, called: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, called) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, called) for item in value]
    return expanded(value, called) if isinstance(value, str) else value


def expanded(text: str, called: str) -> str:
    """``text`` of the file that is ``called`` so, with ``$NAME`` replaced. Raises ``BadData`` where one is not set."""
    return _VARIABLE.sub(lambda match: _variable(match[1], called), text)


def _variable(name: str, called: str) -> str:
    if name == "SWATH_HOME":
        return str(settings().home)
    if (found := os.environ.get(name)) is None:
        raise BadData(f"{called} uses ${name}, which is not set; set it to the folder that holds your data.")
    return found
