"""Makes a model where there is none to reuse, one line a step: from examples to an entry of the user's own registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.adding import add
from zoo.data import Examples, Split, open_data, split_of
from zoo.data.checking import data_warnings, pictures_shape
from zoo.data.examples import are_pictures
from zoo.data.split import used_examples
from zoo.errors import UsageError
from zoo.features import FeatureCache
from zoo.files import disk_errors
from zoo.laps import Laps
from zoo.names import name_fault
from zoo.preparing import plain_name
from zoo.pretraining.methods import Method, method_named, settings_of
from zoo.pretraining.steps import picture_spec
from zoo.progress import Progress, Silent
from zoo.registry import InputSpec
from zoo.resuming import data_record, from_json, reopened_data, to_json
from zoo.runs.pretrained import Pretrained
from zoo.runs.pretraining_folder import Pretraining, write_pretraining
from zoo.runs.unfinished import UnfinishedRun, continued_run, new_run, read_job
from zoo.store.keeping import refuse_taken

_OTHERS = ("name", "size", "replace", "out", "home")  # arguments that are no settings of a method


def pretrain(
    method: str,
    data: Any = "digits",
    *,
    units: int | Sequence[int] = (),
    conv: int | Sequence[int] = (),
    name: str | None = None,
    size: int | tuple[int, int] | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    lr: float | None = None,
    seed: int = 0,
    replace: bool = False,
    out: str | Path | None = None,
    home: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Pretrained:
    """Makes a model out of examples without labels, adds it to the user's own registry, and returns what it leaves.

    It is reused like any other: `zoo.transfer(name, data=...)`. Its last unit is what learning needed on top. Examples
    of the test part are left aside: a transfer on the same data with the same seed tests on them, and warns of others.

    Args:
        method: `autoencoder`: layers that restore examples; `rbm`: restricted Boltzmann machines, one on the other;
            `auxiliary`: telling good examples from corrupted ones; `pairs`: putting the same close together.
        data: What `zoo.open_data` takes. Labels are not looked at and need not be there, but of `pairs`.
        units: Widths of dense layers, from below.
        conv: Filters of 3x3 convolutions, each followed by max pooling, below the dense layers.
        name: What the model will be called; None: after data and method.
        size: Height and width that pictures are brought to, or one number for both; None: as they are.
        epochs: At most so many passes over the examples, of each layer where they are trained one by one.
        batch_size: Examples a step.
        lr: Learning rate; None: 0.001, and of `rbm` as `RBMSettings` says.
        seed: Of the split, the weights and the order of the examples.
        replace: Whether it may take the place of a model of its name.
        out: Its folder; None: `runs/` and its name. Where it exists, `-2` is added.
        home: Where features are kept; None: `$ZOO_HOME`.
        progress: Told about features and epochs.
        **options: The method's own: fields of `zoo.pretraining.stack.AutoencoderSettings`,
            `zoo.pretraining.contrastive_divergence.RBMSettings`, `zoo.pretraining.auxiliary.AuxiliarySettings` or
            `zoo.pretraining.pairs.PairSettings`; `mask` and `noise` of an autoencoder; `patience` and `optimizer` of
            all but `rbm`.

    Raises:
        UsageError: A setting that cannot be right, or that the method does not have; or the name is taken.
        NotFoundError: No such data.
        DataError: Examples that cannot be used.
        DiskError: Something cannot be written.
        TrainingError: The loss is not finite, or memory ran out.

    What is killed, or ends with an error after some training, can be continued: `zoo.resume_pretraining`.

    >>> made = pretrain("autoencoder", units=(32, 16), name="mine", epochs=2)
    >>> made.name, [unit["name"] for unit in made.record["units"]]
    ('mine', ['layer1', 'layer2', 'decoder'])
    """
    given = {
        "units": units, "conv": conv, "name": name, "size": size, "epochs": epochs, "batch_size": batch_size, "lr": lr,
        "seed": seed, "replace": replace, "out": out, "home": home, **options,
    }  # fmt: skip
    laps, progress = Laps(), progress or Silent()
    way, settings = checked(method, given)
    opened = open_data(data, unlabelled=not way.needs_classes(settings), progress=progress)
    pretraining = _prepared(way, settings, opened, given)
    refuse_taken(pretraining.name, replace=replace)
    laps.end("data")
    with new_run(pretraining.out) as run:
        job = _job_record(pretraining, opened, given)
        run.write_job(job)
        return _carried_out(pretraining, run, job, progress, laps)


def resume_pretraining(
    run: str | Path,
    *,
    data: Any = None,
    name: str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Pretrained:
    """Goes on with a pretraining that was killed, from its last checkpoint, and returns what it leaves behind.

    Args:
        run: Its folder, or its name in `runs/`.
        data: The data, where it was arrays.
        name: What the model will be called, where its name was taken meanwhile.
        replace: Whether it may take the place of a model of its name.
        progress: As of `pretrain`.

    Raises:
        NotFoundError: There is no such unfinished pretraining.
        BusyError: Another process works on it.
        UsageError: The data are no longer the same, or were in memory; it is a transfer; or the name is taken.
        ZooError: As `pretrain` does.
    """
    laps, progress = Laps(), progress or Silent()
    with continued_run(Path(run)) as unfinished:
        job = read_job(unfinished.path, "pretraining")
        given = {key: from_json(key, value) for key, value in job["options"].items()} | {"out": unfinished.wanted}
        given |= {"name": name or given["name"], "replace": replace or given["replace"]}
        way, settings = checked(job["method"], given, is_known=job.get("is_adding", False))
        data = reopened_data(job, data, "zoo.resume_pretraining", progress)
        opened = open_data(data, unlabelled=not way.needs_classes(settings), progress=progress)
        pretraining = _prepared(way, settings, opened, given)
        laps.end("data")
        if pretraining.digests() != job["digests"]:
            raise UsageError(
                f"The data {pretraining.examples.name!r} are no longer those that {unfinished.wanted} began with. "
                "Bring them back, or begin anew: zoo pretrain"
            )
        return _carried_out(pretraining, unfinished, {**job, "options": _as_json(given)}, progress, laps)


def checked(method: str, given: Mapping[str, Any], *, is_known: bool = False) -> tuple[Method, Any]:
    """Returns the method of a name and its settings, before any data is opened.

    Args:
        method: The name.
        given: The other arguments of `pretrain`.
        is_known: Whether the model's name may be in the registry.

    Raises:
        UsageError: Something cannot be right, or the name is taken.
    """
    way = method_named(method)
    seed = given["seed"]
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"Expected a seed of 0 or more; got {seed!r}.")
    settings = settings_of(way, {name: value for name, value in given.items() if name not in _OTHERS})
    if (name := given["name"]) is not None:
        _refuse_impossible(name)
        refuse_taken(name, replace=given["replace"] or is_known)
    return way, settings


def _refuse_impossible(name: str) -> None:
    if fault := name_fault(name):
        raise UsageError(f"A model cannot be called {name!r}: {fault}. Choose another: --name (Python: name).")


def _prepared(method: Method, settings: Any, opened: Examples, given: Mapping[str, Any]) -> Pretraining:
    """Returns what is to be done; nothing is computed or written yet."""
    name = given["name"] or f"{plain_name(opened.name)}-{method.name}"
    _refuse_impossible(name)
    examples, split = used_examples(opened, split_of(opened, given["seed"]))
    spec = _spec(examples, opened, given["size"])
    return Pretraining(
        name, method, settings, examples.seen_by(spec), split, spec,
        Path(given["out"]) if given["out"] else Path("runs") / plain_name(name),
        (*data_warnings(examples, split), *_warnings(examples, split)), tuple(opened.bad),
    )  # fmt: skip


def _warnings(examples: Examples, split: Split) -> Iterator[str]:
    """Yields what is worth knowing of the examples, beside what a transfer would say."""
    if not len(split.validation):
        yield "There are no validation examples: nothing says when to stop, and figures are of training examples."
    if len(examples.shape) == 2 and examples.paths is None and examples.read(np.arange(1))[0].dtype == np.uint8:
        yield (
            f"Examples of shape {list(examples.shape)} are taken as numbers, each standardized by itself. If they are "
            "gray pictures, give them a channel: x[..., None]."
        )


def _spec(examples: Examples, opened: Examples, size: int | Sequence[int] | None) -> InputSpec | None:
    """Returns what pictures become: of their own colours, and size where they have one; None for all else.

    Args:
        examples: What is learned from.
        opened: All of the data.
        size: Height and width that are wanted.
    """
    size = (size, size) if isinstance(size, int) else size
    wanted = None if size is None else (size[0], size[1])
    shape = pictures_shape(opened) if are_pictures(examples) else tuple(examples.shape)
    spec = picture_spec(shape, wanted) if are_pictures(examples) else None
    if spec is None and size is not None:
        raise UsageError(
            f"Expected pictures of 1 or 3 channels to bring to a size; examples of {examples.name!r} have shape "
            f"{list(examples.shape)}. Leave --size (Python: size) away."
        )
    return spec


def _job_record(pretraining: Pretraining, opened: Examples, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `job.json` says."""
    return {
        "kind": "pretraining",
        "method": pretraining.method.name,
        "data": data_record(opened),
        "options": _as_json(given),
        "digests": pretraining.digests(),
    }


def _as_json(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_json(value) for name, value in given.items()}


def _carried_out(
    pretraining: Pretraining, run: UnfinishedRun, job: Mapping[str, Any], progress: Progress, laps: Laps
) -> Pretrained:
    """Does what is to be done in the folder of an unfinished run, and publishes what comes of it."""
    learned = pretraining.method.run(
        pretraining.examples, pretraining.split, pretraining.spec, pretraining.settings,
        cache=FeatureCache(job["options"]["home"]), checkpoints=run.checkpoint, progress=progress,
    )  # fmt: skip
    laps.end("training")
    with disk_errors(run.wanted):
        write_pretraining(run.result, pretraining, learned, laps.seconds)
        run.write_job({**job, "is_adding": True})  # after which whoever has the name is this one, killed before
    add(run.result, name=pretraining.name, replace=job["options"]["replace"] or job.get("is_adding", False))
    with disk_errors(run.wanted):
        return Pretrained(run.publish())
