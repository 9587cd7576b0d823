"""Reads the mean pictures that Caffe subtracts, as its `compute_image_mean` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from zoo.converters.caffe.blobs import blob_array
from zoo.converters.caffe.reading import file_bytes
from zoo.converters.caffe.wire import Array

from zoo.errors import IntegrityError

_LARGEST = 64 << 20  # bytes; that of ImageNet, 256 x 256 in three colours, has 0.8 MB


def read_mean(path: Path) -> Array:
    """Returns the mean picture in a `.binaryproto` file, float32 [channels, height, width], BGR 0..255 as a rule.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is damaged, or something else.
        UnsafeFileError: It is larger than such files are.
    """
    data = file_bytes(path, _LARGEST, "the path of a .binaryproto")
    try:
        found = blob_array(memoryview(data))
    except IntegrityError as error:
        raise IntegrityError(
            f"{path.name} is no mean picture of Caffe, or damaged: {error}. Fetch it again."
        ) from error
    picture = found[0] if found.ndim == 4 and len(found) == 1 else found
    if picture.ndim != 3 or not picture.size or not np.isfinite(picture).all():
        raise IntegrityError(
            f"{path.name} is no mean picture of Caffe: expected finite numbers of the shape (1, channels, height, "
            f"width), found {found.shape}. Fetch it again."
        )
    return picture
