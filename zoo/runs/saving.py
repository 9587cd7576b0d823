"""Saves a run's model as one that takes examples as the user has them, and proves that the file says the same."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data.preprocessing import preprocess
from zoo.errors import CutError, IntegrityError
from zoo.files import disk_errors, temporary_name
from zoo.garbage import without_collection
from zoo.runs.job import Job
from zoo.surgery import Surgery, put_before, sublayers
from zoo.training import Part, predict

_PARITY_EXAMPLES = 4
_PARITY_SIZES = 3  # of pictures that differ in size: each is computed alone
_PARITY_LIMIT = 1e-3
_METADATA, _CONFIG = "metadata.json", "config.json"
_SHARED = "shared_object_id"
_NO_DATE = "1980-01-01@00:00:00"  # instead of when the file was written, which tells nothing of the model


def save_model(job: Job, path: Path, x: Any, precision: str) -> tuple[float, int]:
    """Saves the model that takes examples as the user has them; returns its parity with what was trained.

    Raises:
        IntegrityError: Loaded back, it says something else than what was trained and tested.
    """
    with without_collection():
        with disk_errors(job.out):
            _deployable(job).save(path)
        parity, count = _parity(job, keras.models.load_model(path, compile=False, safe_mode=True), x)
    precise = precision == "float32" and all(
        weight.dtype in ("float32", "float64") for weight in job.surgery.stitch().weights
    )
    limit = _PARITY_LIMIT if precise else 20 * _PARITY_LIMIT
    if not parity <= limit:
        raise IntegrityError(
            f"The saved model puts out something else than what was trained: it differs by {parity:.2g}, more than "
            f"{limit:g}, so the run is not kept. A layer of yours may lose something when it is saved: check that "
            "keras.models.load_model gives back your model."
        )
    return parity, count


def save_alike(model: keras.Model, path: Path) -> None:
    """Writes a Keras 3 archive without what is of this process, times and addresses: the same net is the same bytes."""
    saved = temporary_name(path).with_suffix(".keras")
    try:
        model.save(saved)
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "x") as new:
            for member in old.infolist():
                with (
                    old.open(member) as file,
                    new.open(zipfile.ZipInfo(member.filename), "w", force_zip64=True) as sink,
                ):
                    if member.filename == _METADATA:
                        sink.write(json.dumps({**json.load(file), "date_saved": _NO_DATE}).encode())
                    elif member.filename == _CONFIG:
                        sink.write(json.dumps(_renumbered(json.load(file), {})).encode())
                    else:
                        shutil.copyfileobj(file, sink, 1 << 20)
    finally:
        saved.unlink(missing_ok=True)


def _renumbered(config: Any, numbers: dict[int, int]) -> Any:
    """Returns a configuration in which objects that several layers share are known by numbers from 0.

    Keras has their addresses there. Nothing but whether two are equal counts.
    """
    if isinstance(config, list):
        return [_renumbered(each, numbers) for each in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers)) if key == _SHARED else _renumbered(value, numbers)
        for key, value in config.items()
    }


def _deployable(job: Job) -> keras.Model:
    """Returns the model that takes examples as the user has them: pictures of any size, or rows."""
    shape, spec = job.examples.shape, job.origin.spec
    if len(shape) == 3 and spec is not None and None not in spec.size:
        shape = (None, None, shape[-1])
    examples = keras.Input(shape, dtype=input_dtype(job), name="examples")
    return put_before(examples, preprocess(examples, spec), job.surgery.stitch())


def input_dtype(job: Job) -> str:
    """Returns the dtype of examples as they enter: pictures are computed with, rows go in as the model takes them."""
    return "float32" if job.origin.spec else str(job.surgery.stitch().inputs[0].dtype)


def _parity(job: Job, model: keras.Model, x: Any) -> tuple[float, int]:
    """Returns the largest difference between `model` on raw examples and what was trained, and on how many.

    Of probabilities it is absolute; of values it is relative to the largest, where that is above 1.
    """
    rows = job.split.test[:_PARITY_EXAMPLES]
    pictures = [np.asarray(each) for each in job.examples.read(rows)]
    if len({picture.shape for picture in pictures}) == 1:
        batches = [np.stack(pictures)]
    else:
        batches = [picture[None] for picture in pictures[:_PARITY_SIZES]]
    rows = rows[: sum(map(len, batches))]
    expected = predict(job.surgery.trainable, Part(x, job.examples.labels, rows))
    dtype = input_dtype(job)
    found = np.concatenate([np.asarray(model(_as_taken(batch, dtype), training=False)) for batch in batches])
    difference = float(np.abs(found - expected).max())
    if job.examples.task == "regression":  # whose values may be of any size
        difference /= max(1.0, float(np.abs(expected).max()))
    return difference, len(rows)


def _as_taken(batch: NDArray[Any], dtype: str) -> Any:
    """Returns examples as a model of that dtype takes them."""
    return keras.ops.convert_to_tensor(batch, dtype) if dtype == "string" else batch.astype(dtype)


def refuse_unsavable(surgery: Surgery) -> None:
    """Refuses, before any work, layers that a saved run could not be loaded with."""
    for calls in surgery.units.calls[: surgery.reuse]:
        for layer in (part for call in calls for part in sublayers(call.layer)):
            if isinstance(layer, keras.layers.Lambda):
                raise CutError(
                    f"Layer {layer.name!r} is a Lambda: saved code is not loaded, for it could be anybody's. Write "
                    "it as a layer class, registered with @keras.saving.register_keras_serializable()."
                )
            name = keras.saving.get_registered_name(type(layer))
            own = type(layer).__module__.split(".")[0] != "keras"
            if own and keras.saving.get_registered_object(name) is not type(layer):
                raise CutError(
                    f"Layer {layer.name!r} is of your class {type(layer).__name__}, which Keras could not load again. "
                    "Put @keras.saving.register_keras_serializable() above the class."
                )
