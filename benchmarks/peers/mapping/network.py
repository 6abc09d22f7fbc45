"""The network of all: a U-Net with ResNet-18 for 4 bands and 6 classes, that takes digital numbers."""

from __future__ import annotations

from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from benchmarks.peers import BANDS
from benchmarks.peers.mapping import NETWORK

CLASSES = 6
SCALE, MEAN, SPREAD = 1e-4, 0.2, 0.1  # of the numbers to reflectance, and of reflectance


def unet() -> nn.Module:
    """With random weights."""
    return smp.Unet("resnet18", encoder_weights=None, in_channels=len(BANDS), classes=CLASSES)


class OfNumbers(nn.Module):
    """Digital numbers to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network((pixels * SCALE - MEAN) / SPREAD)


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def load(folder: Path) -> nn.Module:
    """That of the folder, to predict with, on ``DEVICE``."""
    network = unet()
    network.load_state_dict(torch.load(folder / NETWORK, weights_only=True))
    return OfNumbers(network).eval().to(DEVICE)
