"""What a SavedModel has: graphs with tags, and signatures that tell what goes in and what comes out.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from zoo.converters.tensorflow.graphs import Message

from zoo.errors import IntegrityError, NotConvertible, NotFoundError, UsageError

_DEFAULTS = ("serving_default", "default")
_INITIALIZING = "__saved_model_init_op"
_SERVING, _TRAINING = "serve", "train"


def read_saved_model(folder: Path) -> Message:
    """Returns the message that a SavedModel's folder has.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    binary, text = folder / "saved_model.pb", folder / "saved_model.pbtxt"
    try:
        if binary.is_file():
            return saved_model_pb2.SavedModel.FromString(binary.read_bytes())
        if text.is_file():
            return text_format.Parse(text.read_text(), saved_model_pb2.SavedModel())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        name = binary.name if binary.is_file() else text.name
        raise IntegrityError(f"{name} in {folder} is no SavedModel, or damaged. Get it again.") from error
    except OSError as error:
        raise IntegrityError(f"The SavedModel in {folder} cannot be read: {error.strerror}.") from error
    raise NotFoundError(f"Expected a SavedModel: a folder with a saved_model.pb; {folder} has none.")


def chosen_graph(saved: Message, tags: Sequence[str] | None) -> Message:
    """Returns one of the graphs of a SavedModel: that with some tags, or that for serving.

    Raises:
        UsageError: None has these tags.
        IntegrityError: There is no graph.
    """
    graphs = list(saved.meta_graphs)
    if not graphs:
        raise IntegrityError("The SavedModel has no graph. Get it again.")
    if tags is None:
        order = sorted(graphs, key=lambda each: (_SERVING not in _tags(each), _TRAINING in _tags(each)))
        return order[0]
    found = [each for each in graphs if _tags(each) == set(tags)] or [
        each for each in graphs if set(tags) < _tags(each)
    ]
    if not found:
        known = "; ".join(", ".join(sorted(_tags(each))) or "none" for each in graphs)
        raise UsageError(f"Expected the tags of a graph of the SavedModel ({known}); got {', '.join(tags)}.")
    return found[0]


def _tags(graph: Message) -> set[str]:
    return set(graph.meta_info_def.tags)


def is_of_objects(saved: Message) -> bool:
    """Returns whether a SavedModel is one of TensorFlow 2: one graph, and the objects that it was made of."""
    return len(saved.meta_graphs) == 1 and saved.meta_graphs[0].HasField("object_graph_def")


def signatures_of(graph: Message) -> dict[str, Message]:
    """Returns the signatures of a graph by their names, without that which only prepares it."""
    return {name: each for name, each in graph.signature_def.items() if name != _INITIALIZING}


def chosen_signature(names: Sequence[str], wanted: str | None) -> str | None:
    """Returns which signature is meant; None where there is none, and none is wanted.

    Raises:
        UsageError: There is no such signature, or it is not clear which is meant.
    """
    known = ", ".join(map(repr, sorted(names)))
    if wanted is not None:
        if wanted not in names:
            raise UsageError(f"Expected a signature of the SavedModel ({known or 'it has none'}); got {wanted!r}.")
        return wanted
    if found := [each for each in _DEFAULTS if each in names]:
        return found[0]
    if len(names) > 1:
        first = sorted(names)[0]
        raise UsageError(f"The SavedModel has several signatures: {known}. Say which: --signature {first} (signature).")
    return names[0] if names else None


def tensors_of(infos: Mapping[str, Any], what: str) -> dict[str, str]:
    """Returns the tensors of a signature by what it calls them.

    Raises:
        NotConvertible: One is no tensor, but of several parts.
    """
    for name, info in infos.items():
        if info.WhichOneof("encoding") not in ("name", None) or not info.name:
            raise NotConvertible(f"The {what} {name!r} of the signature is sparse, or of several tensors.")
    return {name: infos[name].name for name in sorted(infos)}
