"""The whole flow, one line a step: from the name of a model and of data to a run.

`plan` says what would happen, `transfer` makes it happen; both begin with the same preparation.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Examples, SomeExamples, Split, open_data, split_examples
from zoo.data.checking import data_warnings
from zoo.data.preprocessing import preprocessed_shape
from zoo.data.reading import Reader
from zoo.errors import DataError, UsageError
from zoo.features import FeatureCache, Features, FeatureStats
from zoo.files import disk_errors
from zoo.garbage import without_collection
from zoo.laps import Laps
from zoo.loading.building import without_memory
from zoo.progress import Progress, Silent
from zoo.registry import InputSpec
from zoo.reusing import Reused, reused_by_name, reused_in_memory
from zoo.runs.finishing import Outcome, Training, write_run
from zoo.runs.job import Job, Settings
from zoo.runs.record import free_name, new_run_folder, publish
from zoo.runs.run import Run
from zoo.runs.saving import input_dtype, refuse_unsavable, save_model
from zoo.surgery import Depth, Pool, Surgery
from zoo.training import FitSettings, fit, predict


@dataclass(frozen=True)
class Plan:
    """What a transfer would do.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        out: Folder of the run.
        reuse: Number of reused units, of `units`.
        freeze: Number of frozen units.
        units: Number of the model's units.
        parameters: How many are `frozen`, `trained` and `new`.
        examples: How many are in the parts `train`, `validation` and `test`.
        views: How many augmented versions of each training example there will be.
        cached: How many of all those have their features on disk already; None where nothing is frozen, or files are to
            be fetched: only the weights can tell.
        feature_shape: Shape of the features of one example; None likewise.
        feature_bytes: Bytes on disk of the features of all examples; 0 where nothing is frozen.
        fetch: Files of the model that would be fetched first.
    """

    model: str
    data: str
    out: str
    reuse: int
    freeze: int
    units: int
    parameters: dict[str, int]
    examples: dict[str, int]
    views: int
    cached: int | None
    feature_shape: tuple[int | None, ...] | None
    feature_bytes: int
    fetch: tuple[str, ...] = ()


def plan(model: str | keras.Model = "letters-cnn", data: Any = "digits", **options: Any) -> Plan:
    """Returns what `transfer` with the same arguments would do, and does none of it.

    >>> plan("letters-cnn", "digits", reuse=3, freeze=2).parameters["new"]
    970
    """
    kept = {name: options.pop(name) for name in ("home", "engine", "precision") if name in options}
    for only_when_run in ("compare_scratch", "progress"):
        options.pop(only_when_run, None)
    return _describe(_prepare(model, data, **options, fetch=False), FeatureCache(**kept))


def transfer(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    reuse: Depth = "all",
    freeze: Depth | None = None,
    hidden: int | Sequence[int] = (),
    pool: Pool = "avg",
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    train_batchnorm: bool = False,
    train_per_class: int | None = None,
    seed: int = 0,
    views: int = 0,
    engine: str = "tensorflow",
    precision: str = "float32",
    compare_scratch: bool = False,
    out: str | Path | None = None,
    home: str | Path | None = None,
    preprocessing: InputSpec | None = None,
    allow_nonfinite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Makes a model for `data` out of a pretrained one, and returns the run that it leaves behind.

    Args:
        model: A name in the registry, or a built Keras model.
        data: What `zoo.open_data` takes: a folder with a sub-folder for each class, a `.csv`, an `.npz`, `"digits"`,
            arrays `(x, y)`; or what it returns, where something is to be said of the data, such as how many bad files
            are passed over.
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
        views: Have features of so many augmented versions of each training picture, too; an epoch takes one of each.
        engine: Who runs the frozen part: `tensorflow`, `onnxruntime`, `openvino`, or `auto` (see `FeatureCache`).
        precision: What it computes in: `float32` or `bfloat16`.
        compare_scratch: Also train the same shape from random weights on the same examples.
        out: Folder of the run; None: `runs/` and the data's name. Where it exists, `-2` is added.
        home: Where features are kept; None: `$ZOO_HOME`.
        preprocessing: What the model wants to see; None: what the registry says of a named one. For a Keras model
            passed as `model`, None means that pictures are resized to its input, but keep their values 0..255; of that
            a UserWarning tells, unless the model begins with a Rescaling or Normalization. Where a named model is a net
            of `keras.applications`, the size is the net's too.
        allow_nonfinite: Whether to go on with a model that has NaN or infinite weights.
        progress: Told about bytes that are fetched, features and epochs as they are done.

    Raises:
        NotFoundError: No such model or data, or the model's files cannot be had.
        IntegrityError: A file of the model is damaged or another model's, or has weights that are not finite.
        UnsafeFileError: A file of the model could do harm.
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
    laps = Laps()
    job = _prepare(
        model, data, reuse=reuse, freeze=freeze, hidden=hidden, pool=pool, epochs=epochs, batch_size=batch_size,
        lr=lr, patience=patience, train_batchnorm=train_batchnorm, train_per_class=train_per_class, seed=seed,
        views=views, allow_nonfinite=allow_nonfinite, out=out, preprocessing=preprocessing, progress=progress,
        laps=laps,
    )  # fmt: skip
    cache = FeatureCache(home, engine=engine, precision=precision)
    progress = progress or Silent()
    with new_run_folder(job.out) as folder:
        features = _features(job, cache, progress)
        job = _with_features(job, features)
        laps.end("features")
        training = _train(job, job.surgery, features, job.settings.fit, progress)
        laps.end("training")
        scratch = _train_scratch(job, progress) if compare_scratch else None
        laps.end("scratch")
        parity = save_model(job, folder / "model.keras", features, precision)
        laps.end("save")
        outcome = Outcome(*_feature_figures(features), training, scratch, parity, laps.seconds)
        with disk_errors(job.out):
            write_run(folder, job, outcome)
            return Run(publish(folder, job.out))


def _prepare(
    model: str | keras.Model,
    data: Any,
    *,
    out: str | Path | None = None,
    preprocessing: InputSpec | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    seed: int = 0,
    hidden: int | Sequence[int] = (),
    progress: Progress | None = None,
    laps: Laps | None = None,
    fetch: bool = True,
    **options: Any,
) -> Job:
    laps = laps or Laps()
    seed = operator.index(seed)
    fitting = FitSettings(epochs, batch_size, lr, patience, seed)
    widths = (hidden,) if isinstance(hidden, int) else hidden
    settings = Settings(hidden=tuple(operator.index(width) for width in widths), seed=seed, fit=fitting, **options)
    examples, split = _split(open_data(data, progress=progress), settings)
    laps.end("data")
    if isinstance(model, str):
        reused = reused_by_name(model, preprocessing, settings, progress, fetch=fetch)
    else:
        reused = reused_in_memory(model, preprocessing, examples, settings)
    surgery = _cut(reused, settings, len(examples.classes))
    spec = reused.origin.spec
    examples = examples.seen_by(spec)
    refuse_unsavable(surgery)
    if settings.views and surgery.trunk is None:
        raise UsageError("Expected --views with frozen units, whose features they are; nothing is frozen: --freeze 1.")
    _check_range(examples, spec)
    seen = preprocessed_shape(spec, examples.shape, surgery.stitch().input_shape[1:])
    folder = Path(out) if out else Path("runs") / _plain_name(examples.name)
    if surgery.trunk is None and None in seen:
        raise DataError(
            f"Nothing is frozen, and pictures of several sizes ({list(seen)}) make no batch to train on. Give them one "
            "size: preprocessing=zoo.InputSpec((height, width, channels)); or freeze a unit: --freeze 1."
        )
    warnings = data_warnings(examples, split)
    laps.end("build")
    return Job(reused.origin, reused.model, examples, split, surgery, settings, folder, reused.missing, warnings)


def _plain_name(data: str) -> str:
    """Returns what a run on this data is called: as the folder or file is, without what a path could be upset by."""
    last = Path(data).resolve().name if data.startswith(".") or "/" in data or os.sep in data else data
    return re.sub(r"[^\w.-]+", "-", last.removesuffix(".csv").removesuffix(".npz")).strip("-.") or "data"


def _cut(reused: Reused, settings: Settings, classes: int) -> Surgery:
    def cut() -> Surgery:
        return Surgery(
            reused.model, settings.reuse, settings.freeze, settings.head(classes), preprocessing=reused.origin.spec,
            train_batchnorm=settings.train_batchnorm, random=bool(reused.missing), whole=reused.whole,
            name=reused.origin.name,
        )  # fmt: skip

    with without_collection():
        return without_memory(cut) if reused.missing else cut()


def _split(examples: Examples, settings: Settings) -> tuple[Examples, Split]:
    """Returns the examples that some part of the split uses, and the split of those."""
    if len(examples.classes) < 2:
        raise DataError(f"Data {examples.name!r} has {len(examples.classes)} class; a classifier needs two or more.")
    split = split_examples(
        examples.ids, examples.labels, settings.seed, train_per_class=settings.train_per_class, parts=examples.parts,
        groups=examples.groups,
    )  # fmt: skip
    if not len(split.test):
        raise DataError(f"Data {examples.name!r} has no class with two different examples; none is left to test on.")
    parts = split.train, split.validation, split.test
    ends = np.cumsum([0, *(len(part) for part in parts)])
    ranges = [np.arange(begin, end) for begin, end in itertools.pairwise(ends)]
    return SomeExamples(examples, np.concatenate(parts)), Split(*ranges)


def _describe(job: Job, cache: FeatureCache) -> Plan:
    trunk = job.surgery.trunk
    seen = preprocessed_shape(job.origin.spec, job.examples.shape, job.surgery.stitch().input_shape[1:])
    shape = trunk.output_shape(seen) if trunk else None
    count = len(job.examples) + job.settings.views * len(job.split.train)
    return Plan(
        model=job.origin.name,
        data=job.examples.name,
        out=str(free_name(job.out)),
        reuse=job.surgery.reuse,
        freeze=job.surgery.freeze,
        units=len(job.surgery.units),
        parameters=job.surgery.parameters(),
        examples=job.counts(),
        views=job.settings.views,
        cached=cache.cached(trunk, job.examples, **job.views()) if trunk and not job.missing else None,
        feature_shape=shape,
        feature_bytes=4 * count * int(np.prod([size or 1 for size in shape])) if shape else 0,
        fetch=job.missing,
    )


def _features(job: Job, cache: FeatureCache, progress: Progress) -> Features | Reader:
    """Returns what the trainable part is fed with: features, or the examples themselves where nothing is frozen."""
    if job.surgery.trunk is None:
        return _reader(job)
    return cache.features(job.surgery.trunk, job.examples, **job.views(), progress=progress)


def _with_features(job: Job, x: Features | Reader) -> Job:
    """Returns the job without the examples that turned out not to be readable."""
    if not isinstance(x, Features):
        return job
    kept = x.kept[: len(x) // (job.settings.views + 1)]
    if len(kept) == len(job.examples):
        return job
    parts = [np.flatnonzero(np.isin(kept, part)) for part in (job.split.train, job.split.validation, job.split.test)]
    return dataclasses.replace(
        job, examples=SomeExamples(job.examples, kept), split=Split(*parts), unread=x.bad[len(job.examples.bad) :]
    )


def _train(job: Job, surgery: Surgery, x: Any, settings: FitSettings, progress: Progress) -> Training:
    history = fit(surgery.logits, job.part("train", x), job.part("validation", x), settings, progress)
    return Training(settings, history, predict(surgery.trainable, job.part("test", x)))


def _train_scratch(job: Job, progress: Progress) -> Training:
    """Trains the same shape from random weights, fairly: all of it, for as many steps as it wants."""
    head = job.settings.head(len(job.examples.classes))
    surgery = Surgery(job.model, job.surgery.reuse, 0, head, train_batchnorm=True, random=True, whole=job.surgery.units)
    settings = job.settings.fit.from_scratch(len(job.split.train))
    return _train(job, surgery, _reader(job), settings, progress)


def _reader(job: Job) -> Reader:
    return Reader(job.examples, job.origin.spec, input_dtype(job))


def _feature_figures(x: Features | Reader) -> tuple[FeatureStats, str | None]:
    return (x.stats, x.key) if isinstance(x, Features) else (FeatureStats(0, 0, 0.0, 0), None)


def _check_range(examples: Examples, spec: InputSpec | None) -> None:
    """Refuses pictures that were scaled already."""
    if spec is None or len(examples.shape) != 3 or examples.paths is not None:  # files hold 0 to 255
        return
    sample = np.concatenate([np.ravel(picture) for picture in examples.read(np.arange(min(64, len(examples))))])
    if sample.dtype.kind == "f" and 0 < sample.max() <= 1 and sample.min() >= -1:
        raise DataError(
            f"The pictures of {examples.name!r} have values {sample.min():g} to {sample.max():g}; the model's own "
            "preprocessing expects 0 to 255. Multiply them by 255."
        )
