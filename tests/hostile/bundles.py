"""Model bundles that were changed after they were made, or made to do more than compute."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.files import read_json, sha256, write_json
from tests.hostile.cases import Corpus

BUNDLES = Corpus()  # refused when the bundle is opened
GRAPHS = Corpus()  # refused when its pt2 graph is loaded, though all checksums are right


class Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


def contract(folder: Path, **changes: Any) -> None:
    write_json(folder / "bundle.json", read_json(folder / "bundle.json") | changes)


def listed(folder: Path, name: str, digest: str) -> None:
    contract(folder, files=read_json(folder / "bundle.json")["files"] | {name: digest})


def rewritten(
    folder: Path, member: str, change: Callable[[bytes], bytes], more: dict[str, bytes] | None = None
) -> None:
    """The pt2 archive with one member changed and others added, and its new checksum in the contract."""
    archive = folder / "model.pt2"
    with zipfile.ZipFile(archive) as former:
        members = {name: former.read(name) for name in former.namelist()}
    [name] = [name for name in members if name.endswith(member)]
    members[name] = change(members[name])
    with zipfile.ZipFile(archive, "w") as out:
        for each, content in (members | {f"model/{k}": v for k, v in (more or {}).items()}).items():
            out.writestr(each, content)
    listed(folder, "model.pt2", sha256(archive))


@BUNDLES.refused("model.onnx is not the file that was bundled")
def graph_with_one_byte_changed(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)


@BUNDLES.refused("lacks weights.safetensors")
def weights_missing(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


@BUNDLES.refused("holds sitecustomize.py")
def file_that_nobody_listed(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("raise SystemExit")


@BUNDLES.refused("lists no checksum of model.onnx, model.pt2")
def contract_without_checksums(folder: Path) -> None:
    contract(folder, files={})


@BUNDLES.refused("lacks ../outside")
def contract_that_climbs(folder: Path) -> None:
    (folder.parent / "outside").write_text("x")
    listed(folder, "../outside", sha256(folder.parent / "outside"))


@BUNDLES.refused("lacks /etc/passwd")
def contract_from_the_root(folder: Path) -> None:
    listed(folder, "/etc/passwd", sha256(Path("/etc/passwd")))


@BUNDLES.refused("lacks card.md")
def symlink_out_of_the_bundle(folder: Path) -> None:
    (folder / "card.md").unlink()
    (folder / "card.md").symlink_to("/etc/passwd")
    listed(folder, "card.md", sha256(Path("/etc/passwd")))


@BUNDLES.refused("is not a contract")
def contract_of_text(folder: Path) -> None:
    (folder / "bundle.json").write_text("<html>")


@BUNDLES.refused("is not a contract")
def contract_as_deep_as_the_sea(folder: Path) -> None:
    (folder / "bundle.json").write_text("[" * 100_000)


@BUNDLES.refused("is not a contract")
def contract_in_bytes(folder: Path) -> None:
    (folder / "bundle.json").write_bytes(b"\xff\xfe{}")


@BUNDLES.refused("is not a contract")
def contract_of_other_types(folder: Path) -> None:
    contract(folder, window="large", bands=7, temperature=None)


@BUNDLES.refused("is no model bundle")
def contract_missing(folder: Path) -> None:
    (folder / "bundle.json").unlink()


@GRAPHS.refused("is no graph that swath has exported")
def no_archive(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(pickle.dumps(Opens(folder.parent / "opened")))
    listed(folder, "model.pt2", sha256(folder / "model.pt2"))


@GRAPHS.refused("sample_inputs")
def pickle_in_place_of_example_inputs(folder: Path) -> None:
    rewritten(folder, "sample_inputs/model.pt", lambda _: pickle.dumps(Opens(folder.parent / "opened")))


@GRAPHS.refused("opaque_obj_0")
def pickle_as_an_opaque_constant(folder: Path) -> None:
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
    config = json.dumps({"config": {"constant": meta}}).encode()
    content = pickle.dumps(Opens(folder.parent / "opened"))
    rewritten(folder, "_constants_config.json", lambda _: config, {"data/constants/opaque_obj_0": content})


@GRAPHS.refused("_weights_config.json")
def pickle_as_a_weight(folder: Path) -> None:
    def change(content: bytes) -> bytes:
        return content.replace(b'"use_pickle": false', b'"use_p\\u0069ckle": true', 1)

    rewritten(folder, "_weights_config.json", change)


@GRAPHS.refused("MODEL.JSON")
def member_that_differs_by_case(folder: Path) -> None:
    rewritten(folder, "models/model.json", lambda content: content, {"MODELS/MODEL.JSON": b"{}"})


@GRAPHS.refused("__import__")
def python_in_place_of_a_size(folder: Path) -> None:
    code = f"__import__('pathlib').Path('{folder.parent}/opened').touch()"

    def change(content: bytes) -> bytes:
        graph = content.decode()
        start = graph.index('"expr_str": "') + len('"expr_str": "')
        return (graph[:start] + code + graph[graph.index('"', start) :]).encode()

    rewritten(folder, "models/model.json", change)


@GRAPHS.refused("torch.hub.load")
def call_of_anything_in_torch(folder: Path) -> None:
    def change(content: bytes) -> bytes:
        return content.replace(b'"torch.ops.aten.mul.Tensor"', b'"torch.hub.load"', 1).replace(
            b'"torch.ops.aten.conv2d.default"', b'"torch.hub.load"', 1
        )

    rewritten(folder, "models/model.json", change)


@GRAPHS.refused("torch.ops.aten.from_file.default")
def operator_that_opens_a_file(folder: Path) -> None:
    def change(content: bytes) -> bytes:
        for name in (b"mul.Tensor", b"conv2d.default"):
            content = content.replace(b'"torch.ops.aten.' + name + b'"', b'"torch.ops.aten.from_file.default"', 1)
        return content

    rewritten(folder, "models/model.json", change)
