"""What a run's model says of pictures, texts and rows, in batches, as they come.

Pictures are decoded and preprocessed by `zoo.data.reading.Reader`, in threads and ahead of the net, as they were for
training; what has one size then goes through the net together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from zoo.data.decode import REDUCED_STILL, SUFFIXES, DecodedColor, decode_bytes, decode_picture
from zoo.data.targets import SEPARATOR
from zoo.data.walking import files_under
from zoo.errors import DataError, NotFoundError, UsageError, ZooError
from zoo.progress import Progress, Silent
from zoo.runs.rows import ROW_FILES, read_rows
from zoo.runs.run import Prediction
from zoo.runs.texts import NamedText

if TYPE_CHECKING:
    import keras

    from zoo.data import Examples
    from zoo.data.reading import Reader

Failed = Callable[[ZooError], object]
Source = Path | bytes

STANDARD_INPUT = "-"
_BATCH = 32
_ROWS = 256


@dataclass(frozen=True)
class Wanted:
    """How outputs become words.

    Attributes:
        classes: Names of the outputs.
        task: What they are.
        top_k: How many of the most probable classes to tell.
        threshold: The probability above which a label of a `multilabel` run is told.
    """

    classes: tuple[str, ...]
    task: str = "classification"
    top_k: int = 0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise UsageError(f"Expected 1 or more for --top-k; got {self.top_k}.")
        if not 0 <= self.threshold < 1:
            raise UsageError(f"Expected a threshold of 0 to below 1; got {self.threshold}.")
        if self.top_k and self.task == "regression":
            raise UsageError("Expected no --top-k: this run puts out values, and no classes.")

    def named(self, file: str, row: NDArray[np.float32]) -> Prediction:
        """Returns what one row of outputs says.

        >>> Wanted(("cat", "dog")).named("a.png", np.array([0.25, 0.75], np.float32)).label
        'dog'
        """
        numbers = tuple(float(value) for value in row)
        if self.task == "regression":
            return Prediction(file, SEPARATOR.join(f"{value:.7g}" for value in numbers), None, (), values=numbers)
        best = np.argsort(-row, kind="stable")
        top = tuple((self.classes[each], numbers[each]) for each in best[: self.top_k])
        if self.task == "multilabel":
            is_there = row > self.threshold
            labels = tuple(self.classes[each] for each in np.flatnonzero(is_there))
            sure = float(np.where(is_there, row, 1 - row).min())
            return Prediction(file, SEPARATOR.join(labels), sure, numbers, labels=labels, top=top)
        return Prediction(file, self.classes[best[0]], numbers[best[0]], numbers, top=top)


class Predictor:
    """A run's model, ready to be asked.

    Args:
        model: The run's model.
        record: Its `run.json`.
        name: What the run is called in messages.
    """

    def __init__(self, model: keras.Model, record: Mapping[str, Any], name: str) -> None:
        from zoo.runs.parts import net_of, recorded_spec

        self._spec = recorded_spec(record)
        self._net = net_of(model, self._spec)
        self._input, self._name = record["input"], name
        self._shape: tuple[int | None, ...] = tuple(model.input_shape[1:])
        self._dtype = str(model.inputs[0].dtype)

    def of_array(self, x: NDArray[Any], wanted: Wanted, name: str = "") -> Iterator[Prediction]:
        """Yields what the model says of each row of an array, or of each decoded picture.

        Raises:
            DataError: The model does not take such an array.
        """
        if len(self._shape) != x.ndim - 1 or any(
            size not in (None, found) for size, found in zip(self._shape, x.shape[1:], strict=True)
        ):
            sizes = ", ".join("any" if size is None else str(size) for size in self._shape)
            raise DataError(f"{self._name} expects inputs [n, {sizes}]; got {list(x.shape)}{name and f' in {name}'}.")
        if not len(x):
            return
        reader = self._reader(_Rows(name or "the array", x))
        for batch in reader.batches(np.arange(len(x)), _ROWS):
            for number, row in zip(batch.rows.tolist(), self._outputs(batch.x), strict=True):
                yield wanted.named(f"{name}:{number}" if name else str(number), row)

    def of_texts(
        self, texts: Sequence[NamedText], wanted: Wanted, progress: Progress | None = None
    ) -> Iterator[Prediction]:
        """Yields what the model says of each text."""
        progress = progress or Silent()
        progress.start(len(texts), "inputs")
        try:
            reader = self._reader(_Rows("the texts", np.array([each.text for each in texts], object)))
            for batch in reader.batches(np.arange(len(texts)), _ROWS):
                for number, row in zip(batch.rows.tolist(), self._outputs(batch.x), strict=True):
                    yield wanted.named(texts[number].name, row)
                progress.advance(len(batch.rows))
        finally:
            progress.close()

    def of_sources(
        self, sources: Sequence[Source], wanted: Wanted, failed: Failed, progress: Progress | None = None
    ) -> Iterator[Prediction]:
        """Yields what the model says of each file; what cannot be read is told to `failed`, and passed over.

        Raises:
            DataError: They are pictures, and the model takes rows.
        """
        progress = progress or Silent()
        progress.start(len(sources), "inputs")
        try:
            for is_rows, group in groupby(sources, _is_rows):
                some = list(group)
                yield from (self._of_row_files if is_rows else self._of_pictures)(some, wanted, failed, progress)
        finally:
            progress.close()

    def _of_row_files(
        self, files: Sequence[Source], wanted: Wanted, failed: Failed, progress: Progress
    ) -> Iterator[Prediction]:
        for file in files:
            try:
                yield from self.of_array(read_rows(cast(Path, file)), wanted, str(file))
            except DataError as error:
                failed(error)
            progress.advance(1)

    def _of_pictures(
        self, sources: Sequence[Source], wanted: Wanted, failed: Failed, progress: Progress
    ) -> Iterator[Prediction]:
        color = self._input["decoded"]
        if color not in ("gray", "RGB"):
            raise DataError(
                f"{self._name} was trained on rows {self._input['shape']}, not on pictures: give it a file of rows "
                f"({', '.join(ROW_FILES)}), or arrays from Python (zoo.open_run(path).predict(rows))."
            )
        pictures = _Pictures(sources, color, self._reduced_to(), self._shape)
        for batch in self._reader(pictures).batches(np.arange(len(sources)), _BATCH):
            if len(batch.rows):
                for number, row in zip(batch.rows.tolist(), self._outputs(batch.x), strict=True):
                    yield wanted.named(pictures.paths[number], row)
            for _, bad in batch.bad:
                failed(DataError(str(bad)))
            progress.advance(len(batch.rows) + len(batch.bad))

    def _reduced_to(self) -> tuple[int, int] | None:
        """Returns the size that JPEGs may be reduced towards while they are decoded, as they were for training."""
        reduced = self._input.get("decoding", {}).get("jpeg_at_least")
        return (reduced[0] // REDUCED_STILL, reduced[1] // REDUCED_STILL) if reduced else None

    def _reader(self, examples: _Rows | _Pictures) -> Reader:
        from zoo.data.reading import Reader

        return Reader(cast("Examples", examples), self._spec, self._dtype)

    def _outputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        import keras

        taken = keras.ops.convert_to_tensor(x, "string") if x.dtype == object else x
        return np.asarray(self._net(taken, training=False))


class _Rows:
    """As much of `Examples` as a `Reader` needs: an array."""

    paths = None

    def __init__(self, name: str, x: NDArray[Any]) -> None:
        self.name, self.shape, self._x = name, x.shape[1:], x

    def __len__(self) -> int:
        return len(self._x)

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns those rows."""
        return self._x[rows]


class _Pictures:
    """As much of `Examples` as a `Reader` needs: picture files that nobody has looked at, of any size."""

    name = "the pictures"

    def __init__(
        self,
        sources: Sequence[Source],
        color: DecodedColor,
        at_least: tuple[int, int] | None,
        shape: tuple[int | None, ...],
    ) -> None:
        self.shape, self._sources, self._color, self._at_least = shape, sources, color, at_least
        self.paths = [STANDARD_INPUT if isinstance(each, bytes) else str(each) for each in sources]

    def __len__(self) -> int:
        return len(self._sources)

    def read(self, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Returns the decoded pictures at `rows`."""
        return [self._decoded(self._sources[row], self.paths[row]) for row in rows.tolist()]

    def _decoded(self, source: Source, name: str) -> NDArray[np.uint8]:
        try:
            if isinstance(source, bytes):
                picture = decode_bytes(source, self._color, "standard input", self._at_least)
            else:
                picture = decode_picture(source, self._color, self._at_least)
        except NotFoundError as error:  # it went away in the meantime
            raise DataError(str(error)) from error
        if any(size not in (None, found) for size, found in zip(self.shape, picture.shape, strict=True)):
            wanted, found = (f"{width}x{height}" for height, width, _ in (self.shape, picture.shape))
            raise DataError(
                f"{name} has {found} pixels; the run takes {wanted} only, for it was made without a size to bring "
                "pictures to."
            )
        return picture


def _is_rows(source: Source) -> bool:
    return isinstance(source, Path) and source.suffix.lower() in ROW_FILES


def found_sources(inputs: Iterable[str | Path | bytes], failed: Failed) -> list[Source]:
    """Returns files, the picture files inside folders (sorted), and pictures as bytes, in the order of `inputs`.

    Args:
        inputs: Paths of files and folders, or the bytes of pictures.
        failed: Told about each path that is not there, and each folder without pictures.
    """
    found: list[Source] = []
    for each in inputs:
        path = each if isinstance(each, bytes) else Path(each)
        if isinstance(path, bytes) or (path.exists() and not path.is_dir()):
            found.append(path)
        elif path.is_dir():
            names = sorted(one.path for one in files_under(str(path)) if Path(one.path).suffix.lower() in SUFFIXES)
            inside = [path / name for name in names]
            found += inside
            if not inside:
                failed(NotFoundError(f"No pictures under {path} ({', '.join(sorted(SUFFIXES))})."))
        else:
            failed(NotFoundError(f"No file {path}."))
    return found


def failure_of(failures: Sequence[ZooError]) -> ZooError:
    """Returns the error to end with where nothing at all could be predicted."""
    if len(failures) == 1 or all(isinstance(each, NotFoundError) for each in failures):
        return failures[0]
    return DataError(f"None of the {len(failures)} inputs could be read. The first: {failures[0]}")
