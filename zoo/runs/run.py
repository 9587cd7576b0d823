"""A run: one transfer and the folder that it left behind."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError, ZooError
from zoo.progress import Progress
from zoo.runs.folder import RunFolder, readable_runs, run_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.exporting import Exported
    from zoo.runs.prediction import Failed, Predictor


@dataclass(frozen=True)
class Prediction:
    """What a run's model says of one picture or row.

    Attributes:
        file: The picture's path, or the number of the row or text; both for a row of a file, as in `rows.csv:3`; of a
            text in a file its line.
        label: The most probable class; of a `multilabel` run the labels that are likely enough, with `|` between them;
            of a `regression` the values.
        probability: That the label is right, 0..1; of several labels that of the least certain one, there or not. None
            for values.
        probabilities: Of every class or label, in the order of `Run.classes`; empty for values.
        labels: The labels of a `multilabel` run.
        values: What a `regression` puts out, in the unit of the data.
        top: The most probable classes with their probabilities, as many as were asked for.
    """

    file: str
    label: str
    probability: float | None
    probabilities: tuple[float, ...]
    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    top: tuple[tuple[str, float], ...] = ()


class Run(RunFolder):
    """A finished transfer, read from its folder; only `predict`, `export` and `load` need TensorFlow.

    Args:
        path: The run's folder.

    Its model takes decoded pictures 0..255 (or rows, or texts), and puts out probabilities of classes, or values.

    Attributes:
        classes: Names of the classes, in the order of the model's outputs.

    Raises:
        NotFoundError: There is no run.
        IntegrityError: It is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "transfer")
        self.classes: tuple[str, ...] = _read_labels(self.path / "labels.json")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, model={self.record['model']!r}, {self.score_name}={self.score:.4f})"

    @property
    def task(self) -> str:
        """What the run's model says: `classification`, `multilabel` or `regression`."""
        return str(self.record.get("task", "classification"))

    @property
    def score_name(self) -> str:
        """What `score` is: `accuracy`, `example_f1` (multilabel: mean over examples) or `mae` (regression)."""
        return {"multilabel": "example_f1", "regression": "mae"}.get(self.task, "accuracy")

    @property
    def score(self) -> float:
        """How good the run's model is on the test examples; what that is, `score_name` says."""
        return float(self.record["metrics"]["test"][self.score_name])

    @property
    def accuracy(self) -> float:
        """Share (0..1) of the test examples that the run's model gets right; NaN where the task has no such thing."""
        return float(self.record["metrics"]["test"].get("accuracy", math.nan))

    def export(self, target: str | os.PathLike[str], **options: Any) -> Exported:
        """Writes the run's model, its preprocessing and its labels inside, in the format that the suffix says.

        Labels also lie beside, one a line: `digits.onnx` has `digits.onnx.labels.txt`. The result is compared with the
        run's model on test examples that the run has kept.

        Args:
            target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
            **options: Those of `zoo.convert`: replace, opset, limit.

        Raises:
            UsageError: The suffix is another, or there is a file and `replace` was not said.
            IntegrityError: The result differs from the model; nothing is written then.
        """
        from zoo.exporting import checked_target, export_model
        from zoo.formats import Labels

        checked_target(Path(target), bool(options.get("replace")))
        return export_model(
            self._model, target, labels=Labels(self.classes, self.task), examples=self.samples(), **options
        )

    def samples(self) -> list[NDArray[Any]]:
        """Returns a few test examples as the model takes them, each [h, w, c] or a row; none of a run of old.

        Raises:
            IntegrityError: Their file is damaged.
        """
        from zoo.data.npz import NpzFile

        path = self.kept("samples.npz")
        if path is None:
            return []
        arrays = NpzFile(path)
        return [arrays.array(name) for name in sorted(arrays.names)]

    def predict(self, inputs: Any, *, top_k: int = 0, threshold: float = 0.5) -> list[Prediction]:
        """Returns what the model says of each input.

        Args:
            inputs: A picture file, a folder of them, a file of rows (`.npy`, `.npz`, `.csv`), the bytes of a picture,
                or a list of such; or an array of decoded pictures [n, height, width, channels] (0..255) or rows
                [n, ...]. Of a run that was trained on texts: a text (`str`, or UTF-8 `bytes`), a file of them (`Path`:
                `.txt` with one a line, or a `.csv` with a column `text`), or a list or array of such.
            top_k: How many of the most probable classes each prediction has in `top`.
            threshold: Of a `multilabel` run: the probability above which a label is told.

        Raises:
            NotFoundError: There is no such file.
            DataError: The only file is no picture, or none of several is, or an array does not fit.
        """
        from zoo.runs.prediction import failure_of

        failures: list[ZooError] = []
        found = list(self.predictions(inputs, top_k=top_k, threshold=threshold, failed=failures.append))
        if failures and not found:
            raise failure_of(failures)
        for each in failures:
            _warn(each)
        return found

    def predictions(
        self,
        inputs: Any,
        *,
        top_k: int = 0,
        threshold: float = 0.5,
        failed: Failed | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Yields what the model says of each input, as soon as it is computed; arguments are those of `predict`.

        Args:
            inputs: The same.
            top_k: The same.
            threshold: The same.
            failed: Told about each input that is not there or cannot be read, as an error; None: a warning is logged.
            progress: Told about inputs.

        Raises:
            DataError: An array does not fit, or the model takes no pictures.
        """
        import numpy as np

        from zoo.runs.prediction import Wanted, found_sources
        from zoo.runs.texts import named_texts

        wanted = Wanted(self.classes, self.task, top_k, threshold)
        if isinstance(inputs, str | Path | bytes):
            inputs = [inputs]
        if self.record["input"]["decoded"] == "text":
            if texts := list(named_texts(inputs, failed or _warn)):
                yield from self._predictor.of_texts(texts, wanted, progress)
            return
        some = list(inputs) if isinstance(inputs, Iterable) and not hasattr(inputs, "shape") else inputs
        if isinstance(some, list) and all(isinstance(each, str | Path | bytes) for each in some):
            sources = found_sources(some, failed or _warn)
            if sources:
                yield from self._predictor.of_sources(sources, wanted, failed or _warn, progress)
        else:
            yield from self._predictor.of_array(np.asarray(some), wanted)

    @cached_property
    def _predictor(self) -> Predictor:
        from zoo.runs.prediction import Predictor

        return Predictor(self._model, self.record, str(self.path))


def _warn(error: ZooError) -> None:
    logging.getLogger("zoo").warning("Passed over: %s", error)


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
    return Run(run_folder(path))


def list_runs(folder: str | Path = "runs") -> list[Run]:
    """Returns the transfers in `folder`, the newest first; those that cannot be read are left out with a warning."""
    return readable_runs(Path(folder), "transfer", Run)
