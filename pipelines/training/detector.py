"""Networks that find objects: torchvision's one-stage detectors, for any number of bands and small objects."""

from __future__ import annotations

from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOS, FCOSHead

from pipelines.config.params import Model
from pipelines.errors import BadData

DETECTORS = ("fcos",)
_ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")
_STRIDES = (4, 8, 16, 32)  # pixels between places of each level: from above, objects are small
_CHANNELS, _CONVOLUTIONS = 128, 2  # half of the paper's, at twice its resolution
BODY = "model.backbone.body"  # the part that pretrained weights are for

Target = dict[str, Tensor]  # boxes (k, 4) float32: x0, y0, x1, y1 in pixels; labels (k,) int64


class Detector(nn.Module):
    """FCOS (Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection") by torchvision.

    Takes ``(n, bands, h, w)`` and returns ``(n, places, 4 + classes)``, float32: at each place of each level a box, x0,
    y0, x1, y1 in pixels of the image, and a score from 0 to 1 for each class, of which the first is the background's
    and means nothing. Boxes overlap until ``suppressed``; images keep their size, and normalisation lies before it.
    """

    def __init__(self, encoder: str, bands: int, classes: int) -> None:
        super().__init__()
        if encoder not in _ENCODERS:
            raise BadData(
                f"Detectors stand on {', '.join(_ENCODERS)}, not on {encoder!r}; correct train.model.encoder."
            )
        body: Any = getattr(torchvision.models, encoder)(weights=None)
        body.conv1 = nn.Conv2d(bands, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
        widths = [body.fc.in_features // 2**i for i in (3, 2, 1, 0)]
        layers = {f"layer{i + 1}": str(i) for i in range(4)}
        backbone = BackboneWithFPN(body, layers, widths, _CHANNELS)
        self.model = FCOS(
            backbone,
            classes,
            anchor_generator=AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES)),
            head=FCOSHead(_CHANNELS, 1, classes, num_convs=_CONVOLUTIONS),
        )
        self.model.transform = nn.Identity()  # it would resize

    def forward(self, images: Tensor) -> Tensor:
        answers, places = self._answers(images)
        # in full precision, whatever the network computes in: bfloat16 knows every fourth pixel from 512 on
        boxes = self.model.box_coder.decode(answers["bbox_regression"].float(), torch.cat(places)[None])
        scores = (answers["cls_logits"].sigmoid() * answers["bbox_ctrness"].sigmoid()).sqrt()
        return torch.cat([boxes, scores], dim=2).float()

    def losses(self, images: Tensor, targets: list[Target]) -> Tensor:
        """The sum of FCOS's three losses: focal of the classes, GIoU of the boxes, centreness."""
        answers, places = self._answers(images)
        answers = {name: answer.float() for name, answer in answers.items()}
        each = [torch.cat(places)] * len(images)
        found = self.model.compute_loss(targets, answers, each, [len(level) for level in places])
        return torch.stack(list(found.values())).sum()

    def _answers(self, images: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        features = list(self.model.backbone(images).values())[: len(_STRIDES)]  # torchvision adds a coarser one
        generator = self.model.anchor_generator
        generator.set_cell_anchors(images.dtype, images.device)
        strides = [[torch.tensor(stride, device=images.device)] * 2 for stride in _STRIDES]
        places = generator.grid_anchors([list(feature.shape[-2:]) for feature in features], strides)
        return cast(dict[str, Tensor], self.model.head(features)), places


def build_detector(model: Model, bands: int, classes: int) -> Detector:
    """``Detector`` with random weights. Raises ``BadData`` for names that torchvision's one-stage detectors lack."""
    if model.name not in DETECTORS:
        raise BadData(f"train.model.name {model.name!r} is no detector of Swath; choose {', '.join(DETECTORS)}.")
    return Detector(model.encoder, bands, classes)
