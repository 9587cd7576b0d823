"""A run: one transfer and the folder that it left behind."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, IntegrityError, NotFoundError
from zoo.files import sha256_of
from zoo.runs.record import read_record, run_paths

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from zoo.exporting import Exported


@dataclass(frozen=True)
class Prediction:
    """What a run's model says of one picture or row: the most probable class, and the probability of each.

    Attributes:
        file: The picture's path, or the row's number.
        label: The most probable class.
        probability: Its probability, 0..1.
        probabilities: Of every class, in the order of `Run.classes`.
    """

    file: str
    label: str
    probability: float
    probabilities: tuple[float, ...]


class Run:
    """A finished transfer, read from its folder; only `predict`, `export` and `load` need TensorFlow.

    Args:
        path: The run's folder.

    Attributes:
        path: The same.
        record: All of `run.json`.
        classes: Names of the classes, in the order of the model's outputs.

    Raises:
        NotFoundError: There is no run.
        IntegrityError: It is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record = read_record(self.path)
        self.classes: tuple[str, ...] = _read_labels(self.path / "labels.json")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, model={self.record['model']!r}, accuracy={self.accuracy:.4f})"

    @property
    def accuracy(self) -> float:
        """Share (0..1) of the test examples that the run's model gets right."""
        return float(self.record["metrics"]["test"]["accuracy"])

    @property
    def report(self) -> Path:
        """The page that shows the run to people."""
        return self.path / "report.html"

    def load(self) -> keras.Model:
        """Returns the run's model: decoded pictures 0..255 (or rows) in, class probabilities out.

        Raises:
            IntegrityError: `model.keras` is not the file that the run wrote.
        """
        return self._model

    def export(self, target: str | os.PathLike[str], **options: Any) -> Exported:
        """Writes the run's model, its preprocessing inside, in the format that the suffix says.

        Args:
            target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
            **options: Those of `zoo.convert`: replace, opset, limit.

        Raises:
            UsageError: The suffix is another, or there is a file and `replace` was not said.
            IntegrityError: The result differs from the model; nothing is written then.
        """
        from zoo.exporting import checked_target, export_model

        checked_target(Path(target), bool(options.get("replace")))
        return export_model(self._model, target, **options)

    def predict(self, inputs: Any) -> list[Prediction]:
        """Returns what the model says of each input.

        Args:
            inputs: A picture file, a folder of them, a list of such; or an array of decoded pictures
                [n, height, width, channels] (0..255) or rows [n, ...].

        Raises:
            NotFoundError: There is no such file.
            DataError: The only file is no picture, or none of several is, or an array does not fit.
        """
        import numpy as np

        if isinstance(inputs, str | Path):
            inputs = [inputs]
        if isinstance(inputs, list | tuple) and all(isinstance(each, str | Path) for each in inputs):
            return self._of_pictures(picture_files([Path(each) for each in inputs]))
        rows = self._probabilities(np.asarray(inputs))
        return [self._named(str(number), row) for number, row in enumerate(rows)]

    @cached_property
    def _model(self) -> keras.Model:
        from zoo.loading import load_model

        path = self.path / "model.keras"
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; the run must be made again.")
        found = f"sha256:{sha256_of(path)}"
        if found != self.record["files"]["model.keras"]:
            raise IntegrityError(
                f"{path} is not the file that the run wrote: expected {self.record['files']['model.keras']}, found "
                f"{found}. Make the run again."
            )
        return load_model(path)

    def _of_pictures(self, files: list[Path]) -> list[Prediction]:
        """Returns a prediction for each file; of several, one that is no picture is passed over with a warning."""
        predictions = []
        for file in files:
            try:
                predictions.append(self._named(str(file), self._of_picture(file)))
            except DataError as error:
                if len(files) == 1 or self.record["input"]["decoded"] is None:
                    raise
                logging.getLogger("zoo").warning("Passed over: %s", error)
        if not predictions:
            raise DataError(f"None of the {len(files)} files could be read as a picture.")
        return predictions

    def _of_picture(self, file: Path) -> NDArray[np.float32]:
        from zoo.data.decode import REDUCED_STILL, decode_picture

        color = self.record["input"]["decoded"]
        if color not in ("gray", "RGB"):
            raise DataError(
                f"{self.path} was trained on rows {self.record['input']['shape']}, not on pictures: pass arrays from "
                "Python (zoo.open_run(path).predict(rows))."
            )
        reduced = self.record["input"].get("decoding", {}).get("jpeg_at_least")
        at_least = (reduced[0] // REDUCED_STILL, reduced[1] // REDUCED_STILL) if reduced else None
        row: NDArray[np.float32] = self._probabilities(decode_picture(file, color, at_least)[None])[0]
        return row

    def _probabilities(self, x: NDArray[Any]) -> NDArray[np.float32]:
        import numpy as np

        dtype = self._model.inputs[0].dtype
        wanted = self._model.input_shape[1:]
        if len(wanted) != x.ndim - 1 or any(
            size not in (None, found) for size, found in zip(wanted, x.shape[1:], strict=True)
        ):
            raise DataError(f"{self.path} expects inputs [n, {', '.join(map(str, wanted))}]; got {list(x.shape)}.")
        if not len(x):
            return np.empty((0, len(self.classes)), np.float32)
        batches = [self._model(x[begin : begin + 256].astype(dtype), training=False) for begin in range(0, len(x), 256)]
        return np.concatenate([np.asarray(batch) for batch in batches])

    def _named(self, file: str, row: NDArray[np.float32]) -> Prediction:
        best = int(row.argmax())
        return Prediction(file, self.classes[best], float(row[best]), tuple(float(value) for value in row))


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        labels = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read ({error}); the run must be made again.") from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise IntegrityError(f"{path}: expected a list of class names; the run must be made again.")
    return tuple(labels)


def open_run(path: str | Path) -> Run:
    """Returns the run in the folder `path`, or called so in `runs/`.

    Raises:
        NotFoundError: There is no run.
    """
    path = Path(path)
    beside = Path("runs") / path
    return Run(beside if not (path / "run.json").exists() and (beside / "run.json").exists() else path)


def list_runs(folder: str | Path = "runs") -> list[Run]:
    """Returns the runs in `folder`, the newest first; those that cannot be read are left out with a warning."""
    runs = []
    for path in run_paths(Path(folder)):
        try:
            runs.append(Run(path))
        except IntegrityError as error:
            logging.getLogger("zoo").warning("%s", error)
    return runs


def picture_files(inputs: Sequence[Path]) -> list[Path]:
    """Returns the picture files among `inputs`, with those inside folders, sorted.

    Raises:
        NotFoundError: No input exists, or a folder has no pictures. One that is missing among others is warned of.
    """
    from zoo.data.decode import SUFFIXES

    files: list[Path] = []
    missing: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("[!.]*") if each.suffix.lower() in SUFFIXES and each.is_file())
            if not inside:
                raise NotFoundError(f"No pictures under {path} ({', '.join(sorted(SUFFIXES))}).")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            missing.append(path)
    if missing and not files:
        raise NotFoundError(f"No file {missing[0]}.")
    for path in missing:
        logging.getLogger("zoo").warning("Passed over: no file %s.", path)
    return files
