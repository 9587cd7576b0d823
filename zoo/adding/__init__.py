"""Adding a model of one's own: recognised, copied, checked, loaded where this version can, and only then kept.

What the files tell is read from them; what they do not tell (above all how pictures become numbers) is asked for, or
stands as not known. Nothing is guessed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.adding.from_run import of_run, refuse_told_twice, run_among
from zoo.adding.from_tensorflow import as_keras
from zoo.adding.inlining import in_one_file
from zoo.adding.looking import looked_at
from zoo.adding.offered import made_name, own_files, refuse_impossible, renamed
from zoo.adding.told import Added, Ask, Size, Told
from zoo.data.seen import FACTS
from zoo.loading.from_archive import saved_model_in
from zoo.loading.mean_pictures import without_mean_picture
from zoo.progress import Progress
from zoo.registry import Entry, FileSpec
from zoo.registry.index import own_entries
from zoo.store.guards.formats import Offered, check_format, recognise
from zoo.store.hub import is_handle
from zoo.store.hub_modules import module_folder
from zoo.store.keeping import copied, keep, refuse_taken
from zoo.store.policy import policy_from_environment

__all__ = ["Added", "Ask", "add"]


def add(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    name: str | None = None,
    arch: str | None = None,
    input_size: Size | None = None,
    preprocess: str | None = None,
    color: str | None = None,
    scale: float | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    labels: str | None = None,
    logits: bool = False,
    summary: str | None = None,
    license: str | None = None,
    replace: bool = False,
    allow_partial: bool = False,
    signature: str | None = None,
    tensors: Sequence[str] = (),
    outputs: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    limit: float | None = None,
    activation: str | None = None,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | Callable[[str], str | None] | None = None,
    layout: Mapping[str, Any] | None = None,
    ask: Ask | None = None,
    progress: Progress | None = None,
) -> Added:
    """Copies a model into the store and the user's own registry; what this version can load is loaded and looked at.

    Args:
        paths: A `.keras`, `.h5`, `.weights.h5`, `.onnx`, `.npz` or `.safetensors` file, the folder of a SavedModel, a
            frozen graph (`.pb`), a `.prototxt` and its `.caffemodel`, with the `.binaryproto` of its mean picture where
            there is one, or a TensorFlow checkpoint (its prefix). Or the address of a module of TF Hub. Or the folder
            of a run, which tells all about its model itself: the net is added without its preprocessing, which the
            entry then has.
        name: What it will be called; None: as the file.
        arch: For weights alone: the net of `keras.applications` that they are of, such as `vgg16`; or the path of a
            `.json` or `.keras` file that describes it; for a checkpoint also one of TF-Slim.
        input_size: Height, width and channels, where the files leave that open.
        preprocess: How pictures become numbers: `none`, `unit`, `tf`, `torch`, `caffe` (`zoo.registry.presets`), or a
            model that wants the same.
        color: Instead, in numbers: the channel order `RGB`, `BGR` or `gray`,
        scale: the factor on pixel values 0..255,
        mean: what is subtracted then,
        std: and what is divided by last.
        labels: Name of the list of classes.
        logits: Whether it puts out the logits of classes: numbers before a softmax, which are taken for features
            otherwise.
        summary: One line for people.
        license: Its license.
        replace: Whether it may take the place of a model of its name.
        allow_partial: Whether weights may lack layers of `arch`, which then start as in training from scratch.
        signature: Of a SavedModel: what is called of it, such as `serving_default` or `__call__`.
        tensors: Of what TensorFlow 1 has saved: where the net begins, as in `("X:0",)`; found where nothing is said.
        outputs: Likewise where it ends, as in `("dnn/outputs/BiasAdd:0",)`; or names of a signature's outputs.
        shapes: Of what TensorFlow has saved as a graph: the sizes of its inputs, as it has them, by name; None for one
            that varies.
        limit: Likewise the largest error that passes when it is converted, relative to the largest value of an output;
            None: 1e-4, or 1e-2 where it computes in 16 bits.
        activation: Of a checkpoint without a graph that is a chain of dense layers: that of the hidden ones.
        include: Of weights alone: regular expressions for the variables that are wanted, as
            `zoo.restore` has them,
        exclude: for those that are not,
        rename: what their names become,
        layout: and how arrays of another framework lie.
        ask: Asked how pictures become numbers, where nothing else says it; None: nobody is.
        progress: Told about bytes as they are copied.

    Returns:
        The entry, and what is worth knowing: weights that are not finite, what is not known, what cannot be loaded yet.

    Raises:
        UsageError: An argument that cannot be right, or contradicts the files; the name is taken; or this version
            accepts no such files.
        NotFoundError: A file is not there.
        IntegrityError: A file is damaged, or not what it should be; weights lack layers; a class is missing.
        UnsafeFileError: A file could do harm.
        DiskError: There is no room for it.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    handle = next((each for each in given if isinstance(each, str) and is_handle(each)), None)
    numbers = {"color": color, "scale": scale, "mean": mean, "std": std}
    means: Sequence[str] = ()
    with contextlib.ExitStack() as held:
        all_paths = [_place(each, progress, held) for each in given]
        run = run_among(all_paths)
        if run is not None:
            said = {"arch": arch, "input_size": input_size, "preprocess": preprocess, **numbers, "logits": logits}
            refuse_told_twice(run, said)
            offered, of_the_run = held.enter_context(of_run(run))
        else:
            all_paths, numbers, means = without_mean_picture(all_paths, preprocess, numbers)
            offered, of_the_run = recognise(all_paths), None
        told = Told(
            name=made_name(offered, handle) if name is None else name,
            arch=arch,
            size=None if input_size is None else tuple(input_size),
            preprocess=preprocess,
            numbers=numbers,
            labels=labels,
            logits=logits,
            summary=summary,
            license=license,
            allow_partial=allow_partial,
            ask=ask,
            run=of_the_run,
            signature=signature,
            tensors=tuple(tensors),
            outputs=tuple(outputs),
            activation=activation,
            variables={
                "include": include or None,
                "exclude": exclude or None,
                "rename": rename or None,
                "layout": layout or None,
            },
            shapes=shapes,
            limit=limit,
            handle=handle,
        )
        return _added(told, offered, means, is_named=bool(name), replace=replace, progress=progress)


def _place(path: str | os.PathLike[str], progress: Progress | None, held: contextlib.ExitStack) -> Path:
    """Returns the path that was given, or, as long as the context lasts, of the module whose address was."""
    if not (isinstance(path, str) and is_handle(path)):
        return Path(path)
    folder = held.enter_context(module_folder(path, policy_from_environment(), progress))
    return saved_model_in(folder) or folder


def _added(
    told: Told, offered: Offered, means: Sequence[str], *, is_named: bool, replace: bool, progress: Progress | None
) -> Added:
    """Copies, checks, loads and keeps what is offered."""
    refuse_impossible(told, offered)
    own = own_entries()
    there = own.get(told.name)
    if there is None or there.source != "local":
        refuse_taken(told.name, replace=replace)
    with as_keras(offered, told) as made, in_one_file(made.offered) as (whole, remarks):
        check_format(whole)
        with copied(own_files(whole), progress) as copies:
            if there is not None and _digests(there.files) != {copy.sha256 for copy in copies}:
                refuse_taken(told.name, replace=replace)
            kept = offered if made.offered is offered else whole
            added = looked_at(told, kept, copies, offered, made.lacks)
            called = renamed(kept, copies, None if is_named or told.handle else told.name)
            notes = [*called, *means, *made.notes, *remarks, *added.notes, *_twins(added.entry, own)]
            if there is not None and _is_same(there, added.entry):
                notes.append(f"{there.name} is here already, as it is: nothing was changed.")
                added = dataclasses.replace(added, entry=there)
            added = dataclasses.replace(added, notes=tuple(notes))
            keep(added.entry, copies, replace=replace, progress=progress)
    return added


def _twins(entry: Entry, own: Mapping[str, Entry]) -> list[str]:
    """Returns what there is to say where models that were added before have files of the same bytes."""
    mine = _digests([file for file in entry.files if file.name != FACTS])
    twins = [name for name, other in own.items() if name != entry.name and mine & _digests(other.files)]
    return [f"It shares its file with {', '.join(twins)}: the store keeps the same bytes once."] if twins else []


def _digests(files: Sequence[FileSpec]) -> set[str]:
    return {(file.hash or "").removeprefix("sha256:") for file in files}


def _is_same(one: Entry, other: Entry) -> bool:
    """Returns whether two entries say the same, apart from where the files were and the last digits of outputs."""
    return _comparable(one) == _comparable(other)


def _comparable(entry: Entry) -> Entry:
    return dataclasses.replace(entry, origin=None, recorded=None)
