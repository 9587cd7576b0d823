"""The guard of TensorFlow checkpoints: which files one has, which tensors, and whether those can lie in these.

A checkpoint is a table of names and descriptions in `.index`, with the values in `.data-?????-of-?????`; or, as
TF-Slim's of 2016 are, one table with the values in it. How these are written, `bundles` and `old_checkpoints` know.
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.names import path_fault
from zoo.store.guards.bundles import read_bundle, refuse_bad_places, refuse_bad_texts
from zoo.store.guards.old_checkpoints import old_outline
from zoo.store.guards.places import file_size, kind_of
from zoo.store.guards.refusals import explained
from zoo.store.guards.tensorflow_graphs import check_meta_graph
from zoo.store.guards.tensors import Tensor
from zoo.store.guards.texts import refuse_other_than_text
from zoo.store.guards.wire import Wire
from zoo.store.unpacking import opened, shown

_WHAT = "the index of a TensorFlow checkpoint"
_WHAT_OLD = "a TensorFlow checkpoint in one file"
_SHARD_NAME = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_PART_NAME = re.compile(rf".+\.(?:index|meta)|{_SHARD_NAME.pattern}")
_LARGEST_LIST = 1 << 20


def checkpoint_outline(prefix: Path, name: str = "") -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name, in the order of the table, which is that of their names.

    Args:
        prefix: The path that all its files begin with, or the one file of an old checkpoint.
        name: What it is called in messages; empty: the path of the file that is wrong.

    Raises:
        IntegrityError: A file of it is missing, damaged, or of a kind that this version does not read.
        UnsafeFileError: Tensors claim more than the files have, lie over each other, or contradict themselves.
        DiskError: A file of it cannot be read.
    """
    index = index_of(prefix)
    if index == prefix:
        with explained(name or str(index), _WHAT_OLD), opened(index) as source:
            return old_outline(Wire(source))
    with explained(name or str(index), _WHAT):
        if kind_of(prefix) == "folder":
            raise UnsafeFileError(
                f"beside it is the folder {shown(prefix.name)}, and readers that are given this prefix take what the "
                "folder names in its place; rename one of the two"
            )
        bundle = read_bundle(index)
        shards = _shards(prefix, bundle.shards)
        refuse_bad_places(bundle, [file_size(path) or 0 for path in shards])
        refuse_bad_texts(bundle, shards)
        return {name: bundle.tensor(name) for name in bundle.tensors}


def check_checkpoint(prefix: Path) -> None:
    """Sees whether a checkpoint is whole, and the graph beside it one, if it has any.

    Raises:
        IntegrityError: A file of it is missing, damaged, or of a kind that this version does not read.
        UnsafeFileError: It claims more than it has, or contradicts itself.
        UsageError: What is called like its graph is neither file nor folder.
        DiskError: A file of it cannot be read.
    """
    checkpoint_outline(prefix)
    meta = prefix.with_name(f"{prefix.name}.meta")
    if kind_of(meta) == "file":
        check_meta_graph(meta)


def checkpoint_files(prefix: Path) -> tuple[Path, ...]:
    """Returns the files of a checkpoint: its index and data, or the one file; and the `.meta` with its graph, if any.

    Raises:
        IntegrityError: A file of it is missing, or the index is damaged.
        UnsafeFileError: The index contradicts itself.
        DiskError: A file of it cannot be read.
    """
    index = index_of(prefix)
    shards: tuple[Path, ...] = ()
    if index != prefix:
        with explained(str(index), _WHAT):
            shards = _shards(prefix, read_bundle(index).shards)
    meta = prefix.with_name(f"{prefix.name}.meta")
    return (index, *shards, *((meta,) if file_size(meta) is not None else ()))


def checkpoint_prefix(path: Path) -> Path:
    """Returns the prefix of the checkpoint that a file is of, by its name alone.

    >>> checkpoint_prefix(Path("ckpt/net-100.data-00000-of-00001")).name
    'net-100'
    """
    if match := _SHARD_NAME.fullmatch(path.name):
        return path.with_name(match[1])
    return path.with_suffix("") if path.suffix in (".index", ".meta") and path.stem else path


def is_part(path: Path) -> bool:
    """Returns whether a file is called like one of a checkpoint: its index, its graph or one with values."""
    return bool(_PART_NAME.fullmatch(path.name))


def is_shard(path: Path) -> bool:
    """Returns whether a file is called like one of a checkpoint that has values only."""
    return bool(_SHARD_NAME.fullmatch(path.name))


def listed_checkpoint(path: Path) -> Path:
    """Returns the prefix of the one checkpoint that a file `checkpoint` names: by its last part, in the same folder.

    Raises:
        UsageError: It names several.
        IntegrityError: It is no such list, or names none.
        UnsafeFileError: It names what can be no file in that folder.
        DiskError: It cannot be read.
    """
    what = "the list of a folder's checkpoints"
    with explained(str(path), what), opened(path) as source:
        if source.size > _LARGEST_LIST:
            raise IntegrityError(f"it has {source.size:,} bytes")
        refuse_other_than_text(source)
        text = source.read_at(0, source.size).decode()
        paths = re.findall(r'^(?:all_)?model_checkpoint_paths?: "([^"\\]*)"$', text, re.M)
        names = sorted({each.replace("\\", "/").rpartition("/")[2] for each in paths})
        if not names:
            raise IntegrityError("it names no checkpoint")
        if faults := [fault for name in names if (fault := path_fault(name))]:
            raise UnsafeFileError(f"it names a file that cannot be one: {faults[0]}")
    if len(names) > 1:
        few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise UsageError(
            f"Expected one checkpoint; {path.parent} has {len(names)} ({few}). Give one: {path.parent / names[-1]}."
        )
    return path.with_name(names[0])


def index_of(prefix: Path) -> Path:
    """Returns the file that holds the names of a checkpoint's tensors.

    Raises:
        IntegrityError: There is none.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    if file_size(index) is not None:
        return index
    if file_size(prefix) is not None:
        return prefix
    raise IntegrityError(
        f"The checkpoint {prefix} is not whole: expected {index}, and there is no such file. Put all files that begin "
        f"with {prefix.name} into one folder, or get them again."
    )


def _shards(prefix: Path, count: int) -> tuple[Path, ...]:
    """Returns the data files of a checkpoint, which must all be there."""
    names = [f"{prefix.name}.data-{number:05}-of-{count:05}" for number in range(count)]
    for name in names:
        if file_size(prefix.with_name(name)) is None:
            raise IntegrityError(f"its data file {shown(name)} is missing in {prefix.parent}")
    return tuple(prefix.with_name(name) for name in names)
