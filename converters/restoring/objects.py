"""Object checkpoints whose variables have no names that tell: each is reached by the same attributes in the model.

That is how `tf.train.Checkpoint.restore` finds them, and Keras 3 leaves no other way: its variables are all called
`kernel` and `bias` there, and its layers have numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def variables_by_key(graph: Any, model: keras.Layer) -> dict[str, int]:
    """Returns the `id` of the model's variable for each key of a checkpoint that is reached as in the model.

    Args:
        graph: The `TrackableObjectGraph` of the checkpoint. The model stands at its root, or one attribute below.
        model: The model.
    """
    starts = [0, *(child.node_id for child in graph.nodes[0].children)] if graph.nodes else []
    found = [dict(_reached(graph, start, model)) for start in starts]
    return max(found, key=len, default={})


def _reached(graph: Any, start: int, model: keras.Layer) -> Iterator[tuple[str, int]]:
    import tensorflow as tf

    view = tf.train.TrackableView(model)
    variables = {id(each): id(each) for each in model.variables}
    # A variable of Keras holds one of TensorFlow; its `value` would make one where the model is bare.
    variables |= {id(each._value): id(each) for each in model.variables if each._value is not None}
    waiting, seen = [(start, model)], set()
    while waiting:
        number, item = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        for attribute in graph.nodes[number].attributes:
            if id(item) in variables:
                yield attribute.checkpoint_key, variables[id(item)]
        children = view.children(item)
        waiting += [
            (child.node_id, children[child.local_name])
            for child in graph.nodes[number].children
            if child.local_name in children
        ]
