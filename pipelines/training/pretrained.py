"""Starting from weights that the user has: a file, or torchgeo weights by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchgeo.models import get_weight

from pipelines.errors import BadData, SwathError
from pipelines.training.detector import BODY
from pipelines.training.network import ENCODERS, convolutions_of_bands

_log = logging.getLogger(__name__)
_PREFIXES = ("", "network.", "model.", "module.", "encoder.", "backbone.", "model.encoder.")
_ENCODERS = (*ENCODERS, "encoder.model", BODY)
_WITHIN = ("state_dict", "model_state_dict", "model", "teacher")  # where a checkpoint keeps its network
_EARLIER = re.compile(r"-\d+$")  # of a band of an earlier date in a stack
_LEAST = 0.5  # share of the network's or the encoder's tensors that must be found


def load_pretrained(
    network: nn.Module, weights: str, bands: Sequence[str] = (), weights_bands: Sequence[str] = ()
) -> float:
    """Copy weights into ``network``, or into its encoder alone, and return the share of tensors that were found.

    ``weights`` is a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file with a state dict, or the name of torchgeo
    weights such as ``ResNet18_Weights.SENTINEL2_ALL_MOCO``. The first convolution keeps the kernels of those of
    ``bands``, the network's, that are in ``weights_bands``, the weights', and gives the mean kernel to the others;
    a band of an earlier date, ``B02-1``, has that of ``B02``. Without names it is kept where the numbers of bands
    agree. It is scaled by the ratio of these numbers, so that activations keep their size. Tensors that do not fit,
    such as a head for other classes, stay random. Raises ``BadData`` when the weights are of another architecture, of
    other bands or unreadable, ``SwathError`` when they cannot be downloaded.
    """
    state = _from_file(Path(weights)) if Path(weights).is_file() else _from_torchgeo(weights)
    share, target, fitting = max(
        (_fitting(target, state, prefix, bands, weights_bands) for target in _targets(network) for prefix in _PREFIXES),
        key=lambda found: found[0],
    )
    if share < _LEAST:
        raise BadData(
            f"{weights} fits {share:.0%} of the tensors of {type(network).__name__}; "
            "it is of another architecture. Set train.model.name and encoder to those that it was trained with."
        )
    target.load_state_dict(fitting, strict=False)
    _log.info("took %d tensors (%.0f %%) of %s from %s", len(fitting), 100 * share, type(target).__name__, weights)
    return share


def _targets(network: nn.Module) -> Iterator[nn.Module]:
    """Largest first: a state dict of the whole network fits that best, one of an encoder its encoder."""
    yield network
    for name in ("coarse", "classifier", *(f"{stem}{part}" for stem in ("", "coarse.") for part in _ENCODERS)):
        try:
            yield network.get_submodule(name)
        except AttributeError:
            continue


def _fitting(
    target: nn.Module, state: dict[str, Tensor], prefix: str, bands: Sequence[str], weights_bands: Sequence[str]
) -> tuple[float, nn.Module, dict[str, Tensor]]:
    wanted = {name: tensor for name, tensor in target.state_dict().items() if tensor.ndim}  # counters aside
    stems = {f"{name}.weight" for name in convolutions_of_bands(target)}
    found = {}
    for name, tensor in wanted.items():
        given = state.get(prefix + name)
        if given is None:
            continue
        if name in stems and given.ndim == 4:
            given = _to_bands(given, tensor.shape[1], bands, weights_bands)
        if given.shape == tensor.shape:
            found[name] = given
    return len(found) / len(wanted), target, found


def _to_bands(kernel: Tensor, count: int, bands: Sequence[str], weights_bands: Sequence[str]) -> Tensor:
    """A first convolution ``(out, former bands, h, w)`` for ``count`` bands."""
    former = kernel.shape[1]
    if not weights_bands:
        return kernel if former == count else kernel.mean(1, keepdim=True).repeat(1, count, 1, 1) * (former / count)
    if len(weights_bands) != former:
        raise BadData(
            f"The weights take {former} bands, but train.model.weights_bands names {len(weights_bands)}; name them all."
        )
    known = {name: kernel[:, i] for i, name in enumerate(weights_bands)}
    mean = kernel.mean(dim=1)
    kept = [known.get(name, known.get(_EARLIER.sub("", name), mean)) for name in bands]
    return torch.stack(kept, dim=1) * (former / count)


def _from_file(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything, and torch's words tell people to load it unsafely
        raise BadData(
            f"{path} cannot be read as weights ({type(error).__name__}). Give a file that holds a plain state dict, "
            "saved by torch.save(model.state_dict(), ...) or as .safetensors."
        ) from error
    while isinstance(content, dict) and (inner := [content[n] for n in _WITHIN if isinstance(content.get(n), dict)]):
        content = inner[0]
    if not isinstance(content, dict):
        raise BadData(f"{path} holds a {type(content).__name__} where a state dict is needed.")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _from_torchgeo(name: str) -> dict[str, Tensor]:
    try:
        weights = get_weight(name)
    except ValueError:
        raise BadData(
            f"train.model.weights {name!r} is neither a file here nor the name of torchgeo weights; correct it."
        ) from None
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=False, map_location="cpu", weights_only=True, check_hash=True
        )
    except (URLError, OSError) as error:
        raise SwathError(
            f"{name} cannot be downloaded from {weights.url}: {error}. Go online, or set train.model.weights to a file."
        ) from error
    return state
