"""Features of a data set, for whoever trains on them by other means: NumPy, scikit-learn, PyTorch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import open_data
from zoo.errors import UsageError
from zoo.features import FeatureCache, Features
from zoo.files import write_whole
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.reusing import reused_by_name, reused_in_memory
from zoo.runs.job import Settings
from zoo.surgery import Depth, Head, Surgery, Tap, Trunk

_ROWS = 1024


def extract_features(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    freeze: Depth = "all",
    pool: Tap = "avg",
    views: int = 0,
    dtype: str = "float32",
    engine: str = "tensorflow",
    precision: str = "float32",
    preprocessing: InputSpec | None = None,
    home: str | Path | None = None,
    progress: Progress | None = None,
) -> Features:
    """Returns what the lowest units of a pretrained model put out for each example, computed once, ever.

    Args:
        model: A name in the registry, or a built Keras model.
        data: What `zoo.open_data` takes, or what it returned.
        freeze: How many of the lowest units: a number, `"all"` but the classifier, a layer's name, or a pattern.
        pool: How feature maps become a vector: `avg`, `max`, `avgmax`, `flatten`; `map`: they stay as they are.
        views: Of how many augmented versions of each picture to have features, too: those of version v (0: the picture
            itself) are rows `v * n` to `(v + 1) * n` of the result.
        dtype: Storage dtype, `float32` or `float16`.
        engine: Who runs the units: `tensorflow`, `onnxruntime`, `openvino`, or `auto` (see `FeatureCache`).
        precision: What it computes in: `float32` or `bfloat16`.
        preprocessing: What the model wants to see; None: what the registry says of a named one.
        home: Where features are kept; None: `$ZOO_HOME`.
        progress: Told about bytes that are fetched, files and examples as they are done.

    Returns:
        Features: an array on disk, [n, ...], with `labels` int64 [n], `classes`, and `kept`, the numbers of the
        examples that it has rows of: all but those that could not be read.

    Raises:
        NotFoundError: No such model or data, or the model's files cannot be had.
        UsageError: A setting that cannot be right; `CutError` where the model cannot be cut so.
        DataError: Examples that cannot be used.
        DiskError: The features cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     features = extract_features("letters-cnn", "digits:0-1", freeze=3, home=home)
    ...     features.shape, features.labels[:4].tolist(), features.classes
    ((360, 96), [0, 1, 0, 1], ('0', '1'))
    """
    cache = FeatureCache(home, dtype=dtype, engine=engine, precision=precision)
    examples = open_data(data, progress=progress)
    settings = Settings(reuse=freeze)
    if isinstance(model, str):
        reused = reused_by_name(model, preprocessing, settings, progress)
    else:
        reused = reused_in_memory(model, preprocessing, examples, settings)
    head = Head(2, pool="flatten" if pool == "map" else pool)
    surgery = Surgery(
        reused.model, freeze, None, head, preprocessing=reused.origin.spec, whole=reused.whole, name=reused.origin.name
    )
    return cache.features(_trunk(surgery, pool), examples, views=views, progress=progress)


def _trunk(surgery: Surgery, pool: Tap) -> Trunk:
    trunk = surgery.trunk
    if trunk is None:
        raise UsageError(f"Expected at least one unit to have features of (--freeze 1 to {surgery.units.most}).")
    return trunk.at(trunk.depth) if pool == "map" else trunk


def save_features(features: Features, path: str | Path) -> Path:
    """Writes features as an `.npz` file, wholly or not at all, and returns its path.

    It has `x`, the features; `y`, the name of each row's class (or its labels as 0 and 1, or its values); `example`,
    the number of the example that a row belongs to. Features larger than memory pass through it piece by piece.

    Raises:
        UsageError: The path does not end with `.npz`.
        DiskError: It cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UsageError(f"Expected a path that ends with .npz; got {str(path)!r}.")
    names = features.labels if features.labels.ndim > 1 else np.array(features.classes or ("",))[features.labels]
    return write_whole(path, lambda file: _write(file, features, {"y": names, "example": features.kept}))


def _write(file: IO[bytes], features: Features, arrays: dict[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            header = {"descr": features.dtype.str, "fortran_order": False, "shape": features.shape}
            np.lib.format.write_array_header_2_0(member, header)
            for piece in _pieces(features):
                member.write(piece.tobytes())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _pieces(features: Features) -> Iterator[NDArray[Any]]:
    for begin in range(0, len(features), _ROWS):
        yield features[begin : begin + _ROWS]
