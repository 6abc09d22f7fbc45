"""The one door to whylogs 1.6.4, and what has to be set right before and after it.

whylogs is no longer maintained and uses ``np.unicode_``, which numpy 2 removed; the alias has to exist before the
import. It also reports its use over the network unless told not to, and writes its maps in an order that differs
from process to process, so that equal profiles would have unequal bytes.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import numpy as np

os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
if not hasattr(np, "unicode_"):
    np.unicode_ = np.str_  # type: ignore[attr-defined]

from whylogs.core import DatasetProfile, DatasetProfileView, DatasetSchema
from whylogs.core.metrics import MetricConfig
from whylogs.core.proto import ChunkHeader, ChunkMessage, DatasetProfileHeader, DatasetSegmentHeader
from whylogs.core.utils import read_delimited_protobuf
from whylogs.core.view.dataset_profile_view import WHYLOGS_MAGIC_HEADER_BYTES as MAGIC

__all__ = ["SKETCH", "DatasetProfile", "DatasetProfileView", "metadata", "schema", "serialized"]

SKETCH = 16_384
"""Values that a distribution holds exactly. Beyond it whylogs' KLL sketch drops values by an unseeded draw."""


def schema() -> DatasetSchema:
    """whylogs' standard metrics, with distributions that are exact, so repeatable, up to ``SKETCH`` values."""
    return DatasetSchema(default_configs=MetricConfig(kll_k=SKETCH, kll_k_large=SKETCH))


def serialized(view: DatasetProfileView) -> bytes:
    """The view in whylogs' own file format, with its maps in sorted order: equal views give equal bytes."""
    source = io.BytesIO(view.serialize())
    target = io.BytesIO()
    target.write(source.read(len(MAGIC)))
    _copy(source, target, DatasetSegmentHeader)
    _copy(source, target, DatasetProfileHeader)
    end = len(source.getbuffer())
    while source.tell() < end:
        header = _copy(source, target, ChunkHeader)
        chunk = ChunkMessage.FromString(source.read(header.length))
        target.write(chunk.SerializeToString(deterministic=True))
    return target.getvalue()


def metadata(source: BinaryIO) -> dict[str, str]:
    """What a view's file says of it as a whole, without reading its columns. Raises ``ValueError`` for another file."""
    if source.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as whylogs' files do")
    read_delimited_protobuf(source, DatasetSegmentHeader)
    return dict(read_delimited_protobuf(source, DatasetProfileHeader).properties.metadata)


def _copy(source: io.BytesIO, target: io.BytesIO, kind: type) -> ChunkHeader:
    from google.protobuf.internal.encoder import _EncodeVarint  # type: ignore[import-untyped]

    message = read_delimited_protobuf(source, kind)
    body = message.SerializeToString(deterministic=True)
    _EncodeVarint(target.write, len(body))
    target.write(body)
    return message
