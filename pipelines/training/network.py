"""Building networks by name, for any number of bands."""

from __future__ import annotations

from typing import Any, cast

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torchgeo.models import FCN, FarSeg

from pipelines.config.params import U_NETS, Model
from pipelines.errors import BadData
from pipelines.training.detector import BODY, Detector, build_detector

ENCODERS = ("encoder", "backbone")  # what the libraries call it
_DECODER = (256, 128, 64, 32, 16)  # smp's channels, from the coarsest level on
_FARSEG_ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")


class Detailed(nn.Module):
    """A network with a skip connection at full resolution beside it.

    The libraries' encoders halve the image before their first skip, so single pixels reach the output by way of half
    the resolution alone. U-Net as published (Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical
    image segmentation") has a skip at full resolution; here two convolutions see the pixels and a third joins both.
    Takes ``(n, bands, h, w)`` and returns logits ``(n, classes, h, w)``.
    """

    def __init__(self, coarse: nn.Module, bands: int, width: int, classes: int) -> None:
        """``coarse`` gives ``width`` channels."""
        super().__init__()
        self.coarse = coarse
        self.fine = nn.Sequential(_convolution(bands, width), _convolution(width, width))
        self.head = nn.Sequential(_convolution(2 * width, width), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(torch.cat([self.coarse(images), self.fine(images)], dim=1)))


class Whole(nn.Module):
    """A network that gives an image one class, as one that gives it to each of its pixels.

    Takes ``(n, bands, h, w)`` and returns logits ``(n, classes, h, w)``, the same in every pixel of an image. Averaged
    over overlapping windows it maps a scene; its cross-entropy with a chip's labels is that with their shares.
    """

    def __init__(self, classifier: nn.Module) -> None:
        """``classifier`` gives ``(n, classes)``."""
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(images)
        return logits[:, :, None, None].expand(-1, -1, images.shape[2], images.shape[3])


def build(model: Model, bands: int, classes: int) -> nn.Module:
    """A network with random weights: float32 ``(n, bands, h, w)`` to logits ``(n, classes, h, w)``.

    Sides must be multiples of 32. With ``model.detail`` channels it is ``Detailed``. With ``model.depth`` a U-Net's
    encoder halves an image so often; else as often as the library's own, mostly five times.

    ``smp`` takes every architecture of segmentation-models-pytorch, on its own encoders, on ``tu-`` and the name of a
    timm encoder, or on that name alone. ``torchgeo`` takes ``FCN`` (its encoder is ``none``) and ``FarSeg``. ``timm``
    takes each of its networks, as ``Whole``. ``torchvision`` takes ``fcos``, which is a ``Detector`` and answers with
    boxes. Raises ``BadData`` for names that the library does not know.
    """
    if model.library == "timm":
        return _of_timm(model, bands, classes)
    if model.library == "torchvision":
        return build_detector(model, bands, classes)
    make = _of_smp if model.library == "smp" else _of_torchgeo
    if model.detail:
        return Detailed(make(model, bands, model.detail), bands, model.detail, classes)
    return make(model, bands, classes)


def encoder(network: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of the part that pretrained weights are for, by name: all but decoder, head and skips of pixels."""
    if isinstance(network, Whole):
        heads = cast(Any, network.classifier).get_classifier()  # several where one was distilled
        heads = heads if isinstance(heads, tuple) else (heads,)
        head = {id(parameter) for layer in heads for parameter in layer.parameters()}
        return {name: parameter for name, parameter in network.named_parameters() if id(parameter) not in head}
    if isinstance(network, Detector):
        return {name: parameter for name, parameter in network.named_parameters() if name.startswith(f"{BODY}.")}
    own = tuple(f"{stem}{part}." for stem in ("", "coarse.") for part in ENCODERS)
    return {name: parameter for name, parameter in network.named_parameters() if name.startswith(own)}


def first_conv(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """The convolution that sees the bands, with the name of its module."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise BadData(f"{type(network).__name__} has no convolution that sees the bands; choose another model.")


def convolutions_of_bands(network: nn.Module) -> list[str]:
    """Names of all convolutions that see the bands."""
    fine = ["fine.0.0"] if isinstance(network, Detailed) else []
    return [first_conv(network)[0], *fine]


def _convolution(given: int, made: int) -> nn.Module:
    layers = nn.Conv2d(given, made, 3, padding=1, bias=False), nn.BatchNorm2d(made), nn.ReLU(inplace=True)
    return nn.Sequential(*layers)


def _of_timm(model: Model, bands: int, classes: int) -> nn.Module:
    if not timm.is_model(model.name):
        raise BadData(f"train.model.name {model.name!r} is no network of timm; correct the name.")
    return Whole(timm.create_model(model.name, in_chans=bands, num_classes=classes))


def _of_smp(model: Model, bands: int, classes: int) -> nn.Module:
    architectures = smp.MODEL_ARCHITECTURES_MAPPING
    if model.name.lower() not in architectures:
        names = ", ".join(sorted(kind.__name__ for kind in architectures.values()))
        raise BadData(f"train.model.name {model.name!r} is no architecture of smp; choose one of {names}.")
    own = model.encoder in smp.encoders.get_encoder_names()
    encoder = model.encoder if own or model.encoder.startswith("tu-") else f"tu-{model.encoder}"
    if not own and not timm.is_model(encoder.removeprefix("tu-")):
        raise BadData(
            f"train.model.encoder {model.encoder!r} is neither an encoder of smp nor of timm; correct the name."
        )
    shape: dict[str, Any] = {}
    if model.depth and model.name.lower() in U_NETS:
        shape = {"encoder_depth": model.depth, "decoder_channels": _DECODER[-model.depth :]}
    try:
        network: nn.Module = smp.create_model(
            model.name, encoder_name=encoder, encoder_weights=None, in_channels=bands, classes=classes, **shape
        )
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadData(
            f"smp cannot put {model.name} on the encoder {model.encoder}: {error}. Choose another pair."
        ) from error
    if shape:
        _drop_unused(network.get_submodule(ENCODERS[0]), bands)
    return network


def _drop_unused(encoder: nn.Module, bands: int) -> None:
    """Delete the stages below the depth, which smp keeps: most of an encoder's weights are in its last ones."""
    used = set()
    hooks = [part.register_forward_hook(lambda module, *_: used.add(module)) for part in encoder.modules()]
    was_training = encoder.training
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(1, bands, 64, 64))
    except (RuntimeError, ValueError, AssertionError):  # it takes images of another size alone, and is left whole
        return
    finally:
        encoder.train(was_training)
        for hook in hooks:
            hook.remove()
    for name, stage in list(encoder.named_children()):
        if not used & set(stage.modules()):
            delattr(encoder, name)


def _of_torchgeo(model: Model, bands: int, classes: int) -> nn.Module:
    if model.name == "FCN":
        if model.encoder != "none":
            raise BadData(f"torchgeo's FCN has no encoder; set train.model.encoder to none, not {model.encoder!r}.")
        return cast(nn.Module, FCN(bands, classes))
    if model.name != "FarSeg":
        raise BadData(
            f"train.model.name {model.name!r} is no plain segmentation network of torchgeo; choose FCN or FarSeg."
        )
    if model.encoder not in _FARSEG_ENCODERS:
        raise BadData(
            f"FarSeg stands on {', '.join(_FARSEG_ENCODERS)}, not on {model.encoder!r}; correct train.model.encoder."
        )
    network = FarSeg(model.encoder, classes, backbone_pretrained=False)
    stem = network.backbone.conv1  # torchvision's, for three bands
    network.backbone.conv1 = nn.Conv2d(
        bands, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False
    )
    nn.init.kaiming_normal_(network.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.backbone.fc = nn.Identity()  # the classifier of images is never used
    return cast(nn.Module, network)
