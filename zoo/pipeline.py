"""The whole flow, one line a step: from the name of a model and of data to a run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from zoo.features import FeatureCache
from zoo.files import disk_errors
from zoo.laps import Laps
from zoo.phases import train, train_scratch
from zoo.preparing import prepare
from zoo.progress import Progress, Silent
from zoo.registry import InputSpec
from zoo.resuming import job_options, job_record, reopened, resumed_options
from zoo.runs.finishing import Outcome, write_run
from zoo.runs.job import Job
from zoo.runs.judging import judge
from zoo.runs.run import Run
from zoo.runs.saving import save_model
from zoo.runs.unfinished import UnfinishedRun, continued_run, has_progress, new_run
from zoo.searching import resolved
from zoo.surgery import Depth, Pool, refuse_to_train_opaque
from zoo.training import Loss, Optimizer, Schedule, Unfreeze
from zoo.training.tensorboard import TensorBoardLog
from zoo.trials import Search


def transfer(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    reuse: Depth = "all",
    freeze: Depth | None = None,
    hidden: int | Sequence[int] = (),
    pool: Pool = "avg",
    activation: str = "relu",
    dropout: float = 0.0,
    batchnorm: bool = False,
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    optimizer: str | Optimizer = "adam",
    schedule: str | Schedule = "constant",
    loss: Loss | None = None,
    unfreeze: int | Unfreeze = 0,
    train_batchnorm: bool = False,
    train_per_class: int | None = None,
    seed: int = 0,
    views: int = 0,
    engine: str = "tensorflow",
    precision: str = "float32",
    calibrate: bool = False,
    compare_scratch: bool = False,
    search: Search | None = None,
    tensorboard: str | Path | None = None,
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
        reuse: Keep the lowest N units: a number, `"all"` but the classifier, a layer's name, or a pattern of names;
            `"auto"`: what validation examples like best, found by `zoo.search`.
        freeze: Freeze the lowest K of those; None: all of them. 0: train everything. `"auto"`: as of `reuse`.
        hidden: Widths of new hidden layers below the new output layer.
        activation: Of the hidden layers.
        dropout: Share (0..1) of the inputs of each new layer that are left out at random while training.
        batchnorm: Whether the hidden layers have BatchNormalization.
        pool: How feature maps become a vector: `avg`, `max`, `avgmax` or `flatten`.
        epochs: At most so many passes over the training examples.
        batch_size: Examples a step.
        lr: Learning rate of the optimizer; the highest that the schedule reaches.
        patience: Stop after so many epochs without a lower validation loss.
        optimizer: A name (`sgd`, `momentum`, `nesterov`, `adagrad`, `rmsprop`, `adam`, `adamw`), or a `zoo.Optimizer`
            with hyperparameters, weight decay and clipping of gradients.
        schedule: How the learning rate changes: a name (`constant`, `cosine`, `exponential`, `one-cycle`), or a
            `zoo.Schedule`.
        loss: A `zoo.Loss`: label smoothing, weights of classes; None: neither.
        unfreeze: Once the head fits, train so many units from the top of the frozen ones further; or a `zoo.Unfreeze`.
        train_batchnorm: Whether BatchNormalization above the frozen units updates its statistics.
        train_per_class: Train on at most so many examples of each class.
        seed: Of the split, the new weights and the order of the examples.
        views: Have features of so many augmented versions of each training picture, too; an epoch takes one of each.
        engine: Who runs the frozen part: `tensorflow`, `onnxruntime`, `openvino`, or `auto` (see `FeatureCache`).
        precision: What it computes in: `float32` or `bfloat16`.
        calibrate: Whether the model's probabilities are made softer or sharper, so that they fit the validation
            examples best (temperature scaling).
        tensorboard: A folder to log the training in, for TensorBoard; None: nowhere.
        search: How long to look for what is `"auto"`.
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

    What is killed, or ends with an error after some training, can be continued: `zoo.resume`.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = transfer(reuse=4, train_per_class=10, out=f"{folder.name}/run", home=folder.name)
    >>> run.accuracy > 0.8
    True
    >>> folder.cleanup()
    """
    options = job_options(locals())
    laps, progress = Laps(), progress or Silent()
    options, found = resolved(model, data, options, progress)
    laps.end("search")
    job = prepare(model, data, **_of_job(options), progress=progress, laps=laps)
    if compare_scratch:
        refuse_to_train_opaque(job.surgery.units, job.surgery.reuse, 0, random=True)
    with new_run(job.out) as run:
        run.write_job(job_record(job, model, data, options, found))
        return _carried_out(job, run, options, found, progress, laps)


def resume(
    run: str | Path,
    *,
    model: keras.Model | None = None,
    data: Any = None,
    force: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Run:
    """Goes on with a transfer that was killed, from its last checkpoint, and returns the run that it leaves behind.

    No epoch is logged twice, and what comes out is what would have come out without the kill.

    Args:
        run: The run's folder, or its name in `runs/`.
        model: The model, where it was none that the registry knows.
        data: The data, where it was arrays.
        force: Whether to go on with `changes`, or with data or a model that are no longer the same.
        progress: As of `transfer`.
        **changes: Further arguments of `transfer`, which must be those that it was called with, unless `force` is set.

    Raises:
        NotFoundError: There is no such unfinished run.
        BusyError: Another process works on it.
        UsageError: Something is no longer as it was; the message lists what.
        ZooError: As `transfer` does.
    """
    laps, progress = Laps(), progress or Silent()
    with continued_run(Path(run)) as unfinished:
        record, options = resumed_options(unfinished, changes, force=force)
        model, data = reopened(record, model, data, progress)
        options["out"] = unfinished.wanted
        job = prepare(model, data, **_of_job(options), progress=progress, laps=laps)
        unfinished.write_job(job_record(job, model, data, options, record["search"], record, force=force))
        return _carried_out(job, unfinished, options, record["search"], progress, laps)


def _of_job(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that a job is made of, without those of carrying it out."""
    others = ("home", "engine", "precision", "search", "tensorboard")
    return {name: value for name, value in options.items() if name not in others}


def _log(folder: str | Path | None, job: Job, run: UnfinishedRun) -> AbstractContextManager[TensorBoardLog | None]:
    """Returns the log of a training for TensorBoard, where one is wanted; that of a run gone on with begins anew."""
    if folder is None:
        return contextlib.nullcontext()
    score_name, settings = job.objective().score_name, dataclasses.asdict(job.settings)
    anew = has_progress(run.path)
    return TensorBoardLog(Path(folder) / run.wanted.name, score_name=score_name, settings=settings, anew=anew)


def _carried_out(
    job: Job,
    run: UnfinishedRun,
    options: Mapping[str, Any],
    search: Mapping[str, Any] | None,
    progress: Progress,
    laps: Laps,
) -> Run:
    """Does a job in the folder of an unfinished run, and publishes what comes of it."""
    cache = FeatureCache(options["home"], engine=options["engine"], precision=options["precision"])
    with _log(options["tensorboard"], job, run) as log:
        watch = None if log is None else lambda epoch, rate: log.epoch(epoch, learning_rate=rate)
        job, trained = train(job, cache, run.checkpoint, progress, laps, watch)
        scratch = train_scratch(job, run.checkpoint, progress) if options["compare_scratch"] else None
        laps.end("scratch")
        job = dataclasses.replace(job, surgery=trained.surgery)
        verdict = judge(job, trained, scratch)
        laps.end("test")
        if log is not None:
            log.evaluation(verdict.test.to_json(), len(trained.history.epochs) - 1)
    parity = save_model(job, run.result / "model.keras", trained.x, options["precision"])
    laps.end("save")
    outcome = Outcome(trained, verdict, scratch, parity, search, laps.seconds)
    with disk_errors(run.wanted):
        write_run(run.result, job, outcome)
        return Run(run.publish())
