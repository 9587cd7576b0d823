"""Checkpoints of TensorFlow as sources: those of TF 1 in one file or several, and the object checkpoints of TF 2.

A variable of TF 1 is called as its graph calls it. One of TF 2 is reached by attributes from a root; its name here is
the one that the variable had, where that is unique and tells its layer, and else the path of attributes.
Format: trackable_object_graph.proto of TensorFlow.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import keras
from zoo.converters.literal_paths import literal_prefix
from zoo.converters.restoring.objects import variables_by_key
from zoo.converters.restoring.sources import Array, Saved, Source

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_END = "/.ATTRIBUTES/VARIABLE_VALUE"
_PART = re.compile(r"(.+)(?:\.index|\.meta|\.data-\d{5}-of-\d{5})")


def prefix_of(path: Path) -> Path:
    """Returns the prefix of the checkpoint that a path is a part of, or the path itself.

    >>> prefix_of(Path("net.ckpt.data-00000-of-00001")).name
    'net.ckpt'
    """
    match = _PART.fullmatch(path.name)
    return path.with_name(match[1]) if match else path


def is_there(path: Path) -> bool:
    """Returns whether a checkpoint has files of this prefix, or is in this one file."""
    prefix = prefix_of(path)
    if prefix.with_name(f"{prefix.name}.index").is_file():
        return True
    return prefix.is_file() and _ends_as_table(prefix)


def _ends_as_table(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        return file.read() == bytes.fromhex("57fb808b247547db")


@contextlib.contextmanager
def checkpoint(prefix: Path) -> Iterator[Source]:
    """Gives the variables of the checkpoint whose files begin with exactly this prefix.

    Nothing else is looked for: `tf.train.load_checkpoint` would follow a list in a folder of that name to any path.
    """
    import tensorflow as tf

    with literal_prefix(prefix) as path:
        reader = tf.compat.v1.train.NewCheckpointReader(str(path))
        yield _source(reader, prefix.name, path)


def _source(reader: Any, name: str, prefix: Path) -> Source:
    dtypes = reader.get_variable_to_dtype_map()
    told = {
        key: Saved(tuple(shape), dtypes[key].name)
        for key, shape in sorted(reader.get_variable_to_shape_map().items())
        if key != _GRAPH
    }
    graph = _object_graph(reader)
    names = _names(graph, told)
    keys = {name: key for key, name in names.items()}
    return Source(
        name,
        {names[key]: saved for key, saved in told.items()},
        lambda name: _values(reader, prefix, keys[name]),
        None if graph is None else lambda model: _by_objects(graph, model, names),
    )


def _values(reader: Any, prefix: Path, key: str) -> Array:
    import tensorflow as tf

    try:
        return cast(Array, reader.get_tensor(key))
    except tf.errors.UnimplementedError:  # the reader does not join the pieces of old checkpoints; this does
        dtype = reader.get_variable_to_dtype_map()[key]
        (values,) = tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[key], shape_and_slices=[""], dtypes=[dtype])
        return cast(Array, values.numpy())


def _object_graph(reader: Any) -> Any:
    """Returns the TrackableObjectGraph of a checkpoint of TF 2; None where it has none."""
    if not reader.has_tensor(_GRAPH):
        return None
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH))


def _by_objects(graph: Any, model: keras.Layer, names: Mapping[str, str]) -> dict[str, int]:
    return {names[key]: number for key, number in variables_by_key(graph, model).items() if key in names}


def _names(graph: Any, told: Mapping[str, Saved]) -> dict[str, str]:
    """Returns what the variable under each key is called."""
    if graph is None:
        return {key: key for key in told}
    slots = {each.slot_variable_node_id for node in graph.nodes for each in node.slot_variables}
    full = {
        each.checkpoint_key: each.full_name
        for number, node in enumerate(graph.nodes)
        for each in node.attributes
        if number not in slots and "/" in each.full_name
    }
    count = Counter(full.values())
    plain = {key: key.removesuffix(_END) for key in told}
    taken = set(plain.values())
    return {
        key: name if (name := full.get(key, "")) and count[name] == 1 and name not in taken else plain[key]
        for key in told
    }
