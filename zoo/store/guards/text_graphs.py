"""Turns the graph of a SavedModel that is text into the message that it stands for, as far as guards ask about it.

So that there is one judge of graphs, however they are written. Fields that no guard reads are left out.
Format: https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

from zoo.errors import IntegrityError
from zoo.store.guards.text_messages import Messages, encoded
from zoo.store.unpacking import Held, Source

_LARGEST = 256 << 20

MESSAGES: Messages = {
    "SavedModel": {"saved_model_schema_version": (1, "number"), "meta_graphs": (2, "MetaGraph")},
    "MetaGraph": {
        "meta_info_def": (1, "Information"),
        "graph_def": (2, "Graph"),
        "saver_def": (3, "Saver"),
        "collection_def": (4, "CollectionEntry"),
        "signature_def": (5, "SignatureEntry"),
        "asset_file_def": (6, "Asset"),
        "object_graph_def": (7, "Objects"),
    },
    "Information": {"tags": (4, "text")},
    "Graph": {"node": (1, "Node"), "library": (2, "Library")},
    "Node": {"name": (1, "text"), "op": (2, "text"), "input": (3, "text"), "attr": (5, "Attribute")},
    "Attribute": {"key": (1, "text"), "value": (2, "Value")},
    "Value": {"list": (1, "List"), "s": (2, "text"), "tensor": (8, "Tensor"), "func": (10, "Reference")},
    "List": {"tensor": (8, "Tensor"), "func": (9, "Reference")},
    "Reference": {"name": (1, "text"), "attr": (2, "Attribute")},
    "Tensor": {"tensor_shape": (2, "Shape"), "tensor_content": (4, "text"), "string_val": (8, "text")},
    "Shape": {"dim": (2, "Dimension")},
    "Dimension": {"size": (1, "number")},
    "Library": {"function": (1, "Function")},
    "Function": {"signature": (1, "Operation"), "node_def": (3, "Node"), "attr": (5, "Attribute")},
    "Operation": {"name": (1, "text"), "input_arg": (2, "Argument")},
    "Argument": {"name": (1, "text")},
    "Saver": {"restore_op_name": (3, "text")},
    "CollectionEntry": {"key": (1, "text"), "value": (2, "Collection")},
    "Collection": {"node_list": (1, "Texts"), "any_list": (5, "AnyList")},
    "Texts": {"value": (1, "text")},
    "AnyList": {"value": (1, "Any")},
    "Any": {"value": (2, "text"), "[tensorflow.AssetFileDef]": (2, "Asset")},
    "SignatureEntry": {"key": (1, "text"), "value": (2, "Signature")},
    "Signature": {"inputs": (1, "SignatureTensor"), "outputs": (2, "SignatureTensor")},
    "SignatureTensor": {"key": (1, "text"), "value": (2, "TensorInfo")},
    "TensorInfo": {"name": (1, "text"), "coo_sparse": (4, "Sparse"), "composite_tensor": (5, "Composite")},
    "Sparse": {
        "values_tensor_name": (1, "text"),
        "indices_tensor_name": (2, "text"),
        "dense_shape_tensor_name": (3, "text"),
    },
    "Composite": {"components": (2, "TensorInfo")},
    "Asset": {"tensor_info": (1, "TensorInfo"), "filename": (2, "text")},
    "Objects": {"nodes": (1, "Object"), "concrete_functions": (2, "FunctionEntry")},
    "Object": {
        **{"user_object": (4, "Nothing"), "asset": (5, "Nothing"), "function": (6, "Polymorphic")},
        **{"variable": (7, "Nothing"), "bare_concrete_function": (8, "Concrete"), "constant": (9, "Nothing")},
        **{"resource": (10, "Nothing"), "captured_tensor": (12, "Nothing"), "registered_name": (13, "text")},
    },
    "Nothing": {},
    "Polymorphic": {"concrete_functions": (1, "text")},
    "Concrete": {"concrete_function_name": (1, "text")},
    "FunctionEntry": {"key": (1, "text"), "value": (2, "BoundFunction")},
    "BoundFunction": {"bound_inputs": (2, "number")},
}
"""Fields by message and name: their numbers, and what they hold."""


def text_graph(source: Source) -> Source:
    """Returns the message that a text stands for, as far as guards ask about it.

    Raises:
        IntegrityError: It is no such text, or larger than any.
        UnsafeFileError: It nests deeper, or has more words, than a graph needs.
        DiskError: It cannot be read.
    """
    if source.size > _LARGEST:
        raise IntegrityError(f"it has {source.size:,} bytes, and a graph as text has {_LARGEST:,} at most")
    return Held(encoded(source.read_at(0, source.size), MESSAGES, "SavedModel"))
