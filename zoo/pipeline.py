"""The whole flow, one line a step: from the name of a model and of data to a run.

`plan` says what would happen, `transfer` makes it happen; both begin with the same preparation.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Examples, SomeExamples, Split, open_data, split_examples
from zoo.data.preprocessing import Reader, preprocess
from zoo.errors import DataError
from zoo.features import FeatureCache, Features, FeatureStats
from zoo.files import disk_errors, write_bytes
from zoo.loading import load_artifact
from zoo.progress import Progress, Silent
from zoo.registry import Entry, InputSpec, find_entry
from zoo.runs.record import file_digests, new_run_folder, publish, write_csv, write_json
from zoo.runs.report import Mistake, Report, render_report
from zoo.runs.run import Run
from zoo.store import pull
from zoo.surgery import Depth, Head, Pool, Surgery, put_before
from zoo.training import (
    Evaluation,
    FitSettings,
    History,
    Part,
    evaluate,
    fit,
    predict,
    worst_mistakes,
)

_PARITY_EXAMPLES = 64
_SHOWN_MISTAKES = 24


@dataclass(frozen=True)
class Settings:
    """Everything that decides a transfer's result."""

    reuse: Depth = "all"
    freeze: Depth | None = None
    hidden: tuple[int, ...] = ()
    pool: Pool = "avg"
    train_batchnorm: bool = False
    train_per_class: int | None = None
    seed: int = 0
    fit: FitSettings = field(default_factory=FitSettings)
    compare_scratch: bool = False


@dataclass(frozen=True)
class Plan:
    """What a transfer would do.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        out: Folder of the run, if it is free.
        reuse: Number of reused units, of `units`.
        freeze: Number of frozen units.
        units: Number of the model's units.
        parameters: How many are `frozen`, `trained` and `new`.
        examples: How many are in the parts `train`, `validation` and `test`.
        cached: How many of those have their features on disk already; None where nothing is frozen.
        feature_shape: Shape of the features of one example; None likewise.
        feature_bytes: Bytes on disk of the features of all examples; 0 where nothing is frozen.
    """

    model: str
    data: str
    out: str
    reuse: int
    freeze: int
    units: int
    parameters: dict[str, int]
    examples: dict[str, int]
    cached: int | None
    feature_shape: tuple[int | None, ...] | None
    feature_bytes: int


def plan(model: str | keras.Model = "letters-cnn", data: Any = "digits", **options: Any) -> Plan:
    """Returns what `transfer` with the same arguments would do, and does none of it.

    >>> plan("letters-cnn", "digits", reuse=3, freeze=2).parameters["new"]
    970
    """
    return _describe(_prepare(model, data, **options))


def transfer(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    reuse: Depth = "all",
    freeze: Depth | None = None,
    hidden: Sequence[int] = (),
    pool: Pool = "avg",
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    train_batchnorm: bool = False,
    train_per_class: int | None = None,
    seed: int = 0,
    compare_scratch: bool = False,
    out: str | Path | None = None,
    home: str | Path | None = None,
    preprocessing: InputSpec | None = None,
    progress: Progress | None = None,
) -> Run:
    """Makes a model for `data` out of a pretrained one, and returns the run that it leaves behind.

    Args:
        model: A name in the registry, or a built Keras model.
        data: What `zoo.open_data` takes: `"digits"`, `"digits:5-9"`, arrays `(x, y)`.
        reuse: Keep the lowest N units: a number, `"all"` but the classifier, a layer's name, or a pattern of names.
        freeze: Freeze the lowest K of those; None: all of them. 0: train everything.
        hidden: Widths of new hidden layers below the new output layer.
        pool: How feature maps become a vector: `avg`, `max`, `avgmax` or `flatten`.
        epochs: At most so many passes over the training examples.
        batch_size: Examples a step.
        lr: Learning rate of Adam.
        patience: Stop after so many epochs without a lower validation loss.
        train_batchnorm: Whether BatchNormalization above the frozen units updates its statistics.
        train_per_class: Train on at most so many examples of each class.
        seed: Of the split, the new weights and the order of the examples.
        compare_scratch: Also train the same shape from random weights on the same examples.
        out: Folder of the run; None: `runs/` and the data's name. Where it exists, `-2` is added.
        home: Where features are kept; None: `$ZOO_HOME`.
        preprocessing: What a Keras model passed as `model` wants to see; a named model knows it itself.
        progress: Told about features and epochs as they are done.

    Raises:
        NotFoundError: No such model or data.
        UsageError: A setting that cannot be right; `CutError` where the model cannot be cut so.
        DataError: Examples that cannot be used.
        DiskError: The run or the features cannot be written.
        TrainingError: The loss is not finite, or memory ran out.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = transfer(reuse=4, train_per_class=10, out=f"{folder.name}/run", home=folder.name)
    >>> run.accuracy > 0.8
    True
    >>> folder.cleanup()
    """
    work = _prepare(
        model, data, reuse=reuse, freeze=freeze, hidden=hidden, pool=pool, epochs=epochs, batch_size=batch_size,
        lr=lr, patience=patience, train_batchnorm=train_batchnorm, train_per_class=train_per_class, seed=seed,
        compare_scratch=compare_scratch, out=out, home=home, preprocessing=preprocessing,
    )  # fmt: skip
    progress = progress or Silent()
    with new_run_folder(work.out) as folder:
        features, stats = _features(work, progress)
        history = fit(work.surgery.logits, work.part("train", features), work.part("validation", features),
                      work.settings.fit, progress)  # fmt: skip
        result = _test(work, work.surgery.trainable, features)
        deployable = _deployable(work)
        parity = _parity(work, deployable, features)
        scratch = _from_scratch(work, progress) if compare_scratch else None
        with disk_errors(work.out):
            deployable.save(folder / "model.keras")
            _write(folder, work, stats, history, result, parity, scratch)
            return Run(publish(folder, work.out))


@dataclass(frozen=True)
class _Work:
    """What is known before anything is computed."""

    name: str
    source: str
    digests: dict[str, str]
    model: keras.Model
    spec: InputSpec | None
    examples: Examples
    split: Split
    surgery: Surgery
    cache: FeatureCache
    settings: Settings
    out: Path

    def part(self, name: str, x: Any) -> Part:
        """Returns one part of the split, as rows of `x`."""
        return Part(x, self.examples.labels, getattr(self.split, name))

    def head(self) -> Head:
        """Returns the head that the settings ask for."""
        return _head(self.examples, self.settings)


@dataclass(frozen=True)
class _Result:
    """What the test part says: probabilities of its examples, and the figures made of them."""

    probabilities: Any
    evaluation: Evaluation


@dataclass(frozen=True)
class _Scratch:
    """The rival that was trained from random weights."""

    settings: FitSettings
    history: History
    evaluation: Evaluation


def _prepare(
    model: str | keras.Model,
    data: Any,
    *,
    out: str | Path | None = None,
    home: str | Path | None = None,
    preprocessing: InputSpec | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    seed: int = 0,
    hidden: Sequence[int] = (),
    **options: Any,
) -> _Work:
    fitting = FitSettings(epochs, batch_size, lr, patience, seed)
    settings = Settings(hidden=tuple(hidden), seed=seed, fit=fitting, **options)
    everything = open_data(data)
    split = split_examples(everything.ids, everything.labels, seed, train_per_class=settings.train_per_class)
    _check_split(everything, split)
    examples, split = _only_used(everything, split)
    name, source, digests, loaded, spec = _load(model, preprocessing)
    surgery = Surgery(
        loaded, settings.reuse, settings.freeze, _head(examples, settings),
        preprocessing=spec, train_batchnorm=settings.train_batchnorm,
    )  # fmt: skip
    folder = Path(out) if out else Path("runs") / (re.sub(r"[^\w.-]+", "-", examples.name).strip("-.") or "data")
    return _Work(name, source, digests, loaded, spec, examples, split, surgery, FeatureCache(home), settings, folder)


def _load(
    model: str | keras.Model, preprocessing: InputSpec | None
) -> tuple[str, str, dict[str, str], keras.Model, InputSpec | None]:
    if isinstance(model, keras.Model):
        return model.name, "memory", {}, model, preprocessing
    entry: Entry = find_entry(model)
    artifact = pull(entry)
    digests = {spec.name: spec.hash for spec in entry.files if spec.hash}
    return entry.name, entry.source, digests, load_artifact(artifact), entry.input


def _check_split(examples: Examples, split: Split) -> None:
    if len(examples.classes) < 2:
        raise DataError(f"Data {examples.name!r} has {len(examples.classes)} class; a classifier needs two or more.")
    if not len(split.test):
        raise DataError(f"Data {examples.name!r} has one example a class; none is left to test on. Add examples.")


def _only_used(examples: Examples, split: Split) -> tuple[Examples, Split]:
    """Returns the examples that some part uses, and the split of those."""
    parts = split.train, split.validation, split.test
    ends = np.cumsum([0, *(len(part) for part in parts)])
    ranges = [np.arange(begin, end) for begin, end in itertools.pairwise(ends)]
    return SomeExamples(examples, np.concatenate(parts)), Split(*ranges)


def _head(examples: Examples, settings: Settings) -> Head:
    return Head(len(examples.classes), settings.hidden, settings.pool, seed=settings.seed)


def _describe(work: _Work) -> Plan:
    trunk = work.surgery.trunk
    shape = tuple(trunk.output.shape[1:]) if trunk else None
    return Plan(
        model=work.name,
        data=work.examples.name,
        out=str(work.out),
        reuse=work.surgery.reuse,
        freeze=work.surgery.freeze,
        units=len(work.surgery.units),
        parameters=work.surgery.parameters(),
        examples=_counts(work.split),
        cached=work.cache.cached(trunk, work.examples) if trunk else None,
        feature_shape=shape,
        feature_bytes=4 * len(work.examples) * int(np.prod([size or 1 for size in shape])) if shape else 0,
    )


def _counts(split: Split) -> dict[str, int]:
    return {name: len(getattr(split, name)) for name in ("train", "validation", "test")}


def _features(work: _Work, progress: Progress) -> tuple[Features | Reader, FeatureStats]:
    """Returns what the trainable part is fed with: features, or the examples themselves where nothing is frozen."""
    if work.surgery.trunk is None:
        return Reader(work.examples, work.spec), FeatureStats(0, 0, 0.0, 0)
    features = work.cache.features(work.surgery.trunk, work.examples, progress=progress)
    return features, features.stats


def _test(work: _Work, model: keras.Model, x: Any) -> _Result:
    probabilities = predict(model, work.part("test", x))
    return _Result(probabilities, evaluate(probabilities, work.examples.labels[work.split.test]))


def _deployable(work: _Work) -> keras.Model:
    """Returns the model that takes examples as the user has them: pictures of any size, or rows."""
    shape = work.examples.shape
    if len(shape) == 3 and work.spec is not None and None not in work.spec.size:
        shape = (None, None, shape[-1])
    examples = keras.Input(shape, name="examples")
    stitched = work.surgery.stitch()
    return put_before(examples, preprocess(examples, work.spec), stitched)


def _parity(work: _Work, model: keras.Model, features: Any) -> float:
    """Returns the largest difference between the saved model on raw examples and the fitted one on their features."""
    rows = work.split.test[:_PARITY_EXAMPLES]
    expected = predict(work.surgery.trainable, Part(features, work.examples.labels, rows))
    pictures = [np.asarray(picture, np.float32)[None] for picture in work.examples.read(rows)]
    if len({picture.shape for picture in pictures}) == 1:
        found = np.asarray(model(np.concatenate(pictures), training=False))
    else:
        found = np.concatenate([np.asarray(model(picture, training=False)) for picture in pictures])
    return float(np.abs(found - expected).max())


def _from_scratch(work: _Work, progress: Progress) -> _Scratch:
    """Trains the same shape from random weights, fairly: all of it, for as many steps as it wants."""
    surgery = Surgery(work.model, work.surgery.reuse, 0, work.head(), train_batchnorm=True, random=True)
    x = Reader(work.examples, work.spec)
    train = work.part("train", x)
    settings = work.settings.fit.from_scratch(len(train))
    history = fit(surgery.logits, train, work.part("validation", x), settings, progress)
    return _Scratch(settings, history, _test(work, surgery.trainable, x).evaluation)


def _write(
    folder: Path,
    work: _Work,
    stats: FeatureStats,
    history: History,
    result: _Result,
    parity: float,
    scratch: _Scratch | None,
) -> None:
    write_json(folder / "labels.json", list(work.examples.classes))
    write_csv(folder / "history.csv", *_table(history))
    if scratch:
        write_csv(folder / "history_scratch.csv", *_table(scratch.history))
    write_bytes(folder / "bad_files.jsonl", b"")  # arrays have none
    record = _record(work, stats, history, result.evaluation, parity, scratch)
    names = sorted(path.name for path in folder.iterdir())
    record["files"] = file_digests(folder, names)
    write_json(folder / "run.json", record)
    report = Report(record, history, scratch.history if scratch else None, _mistakes(work, result))
    write_bytes(folder / "report.html", render_report(report).encode())


def _table(history: History) -> tuple[list[str], list[tuple[Any, ...]]]:
    header = [each.name for each in dataclasses.fields(history.epochs[0])]
    return header, [dataclasses.astuple(epoch) for epoch in history.epochs]


def _mistakes(work: _Work, result: _Result) -> list[Mistake]:
    labels = work.examples.labels[work.split.test]
    classes = work.examples.classes
    mistakes = []
    for number in worst_mistakes(result.probabilities, labels, _SHOWN_MISTAKES):
        row = result.probabilities[number]
        example = work.examples.read(work.split.test[number : number + 1])[0]
        picture = example if example.ndim == 3 and example.dtype == np.uint8 else None
        mistakes.append(Mistake(picture, classes[labels[number]], classes[row.argmax()], float(row.max())))
    return mistakes


def _record(
    work: _Work,
    stats: FeatureStats,
    history: History,
    test: Evaluation,
    parity: float,
    scratch: _Scratch | None,
) -> dict[str, Any]:
    surgery, settings = work.surgery, work.settings
    best = history.epochs[history.best_epoch - 1]
    channels = work.examples.shape[-1] if len(work.examples.shape) == 3 else None
    record = {
        "schema": 1,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": work.name,
        "data": work.examples.name,
        "reuse": surgery.reuse,
        "freeze": surgery.freeze,
        "source": {"kind": work.source, "files": work.digests},
        "settings": dataclasses.asdict(settings),
        "input": {
            "shape": list(work.examples.shape),
            "decoded": {1: "gray", 3: "RGB"}.get(channels or 0),
            "preprocessing": dataclasses.asdict(work.spec) if work.spec else None,
        },
        "units": [
            {
                "index": unit.index,
                "name": unit.name,
                "params": unit.params,
                "output_shape": list(unit.output_shape),
                "state": _state(unit.index, surgery),
            }
            for unit in surgery.units
        ],
        "classes": list(work.examples.classes),
        "parameters": surgery.parameters(),
        "examples": _counts(work.split),
        "split": {"seed": settings.seed, "train_per_class": settings.train_per_class},
        "features": dataclasses.asdict(stats),
        "training": _training_record(history, settings.fit),
        "metrics": {
            "train": {"accuracy": best.accuracy, "loss": best.loss},
            "validation": {"accuracy": best.val_accuracy, "loss": best.val_loss},
            "test": _figures(test),
        },
        "parity": {"examples": min(_PARITY_EXAMPLES, len(work.split.test)), "largest_difference": parity},
        "scratch": _scratch_record(scratch) if scratch else None,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("zoo-transfer", "keras", "tensorflow", "numpy")},
        },
    }
    return record


def _state(index: int, surgery: Surgery) -> str:
    if index <= surgery.freeze:
        return "frozen"
    return "trained" if index <= surgery.reuse else "dropped"


def _training_record(history: History, settings: FitSettings) -> dict[str, Any]:
    return {
        **dataclasses.asdict(settings),
        "epochs": len(history.epochs),
        "most_epochs": settings.epochs,
        "best_epoch": history.best_epoch,
        "steps": history.steps,
        "seconds": history.seconds,
        "stopped": history.stopped,
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "count": evaluation.count,
        "confusion": evaluation.confusion.tolist(),
    }


def _scratch_record(scratch: _Scratch) -> dict[str, Any]:
    return {
        "metrics": {"test": _figures(scratch.evaluation)},
        "training": _training_record(scratch.history, scratch.settings),
    }
