"""Takes the way through a graph that it takes in inference: branches on what is known, and no dropout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.graphs import (
    BRANCHES,
    PLACEHOLDERS,
    Message,
    by_name,
    copy_of,
    data_inputs,
    full_name,
    in_order,
    known_number,
    maker,
    use_instead,
)
from zoo.converters.tensorflow.lifting import dtype_of

_SWITCHES, _MERGES = {"Switch", "RefSwitch"}, {"Merge", "RefMerge"}
_RANDOM = {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"}
_CHOOSING = {"Mul", "Select", "SelectV2"}
_SCALING = {"Mul", "RealDiv", "Div"}
_TRAINING = {"train", "training", "trainable", "phase", "istrain", "istraining"}
_INFERRING = {"infer", "inference", "predict", "predicting", "prediction", "eval", "evaluate", "evaluating",
              "evaluation", "test", "testing"}  # fmt: skip
_KEPT, _LOST = {"keep", "pkeep", "keepprob"}, {"drop", "dropout", "droprate", "dropprob", "dropoutrate"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_UNNAMED = re.compile(r"placeholder(with_?default)?(_\d+)?", re.IGNORECASE)


def inference_value(node: Message, declared: str | None = None) -> Any:
    """Returns what a placeholder is in inference: whether to train, how much to drop; None where it is an input.

    Whole words of its name tell; a `heart_rate` is an input. A default counts, where there is one: but for what says
    that a net trains.

    Args:
        node: The placeholder.
        declared: What a signature calls it as an input; None: none has it. It is one then unless its name says else.
    """
    dtype, name = tf.as_dtype(node.attr["dtype"].type), node.name.rpartition("/")[2]
    shape = node.attr["shape"].shape if "shape" in node.attr else None
    if shape is not None and shape.dim:
        return None
    is_single = shape is not None and not shape.unknown_rank
    words = _words(name) | _words(declared or "")
    if dtype == tf.bool:
        if words & _TRAINING:
            return False
        if node.op == "PlaceholderWithDefault":
            return None
        if words & _INFERRING:
            return True
        return False if declared is None and (is_single or _UNNAMED.fullmatch(name)) else None
    if not dtype.is_floating:
        return None
    if words & _KEPT:
        return 1.0
    return 0.0 if words & _LOST or (declared is None and words == {"rate"}) else None


def _words(name: str) -> set[str]:
    """Returns the words of a name.

    >>> sorted(_words("isTraining_1")), sorted(_words("heart_rate"))
    (['is', 'training'], ['heart', 'rate'])
    """
    return {each.lower() for each in _WORD.findall(name)}


def with_known(graph: Message, values: Mapping[str, Any]) -> None:
    """Makes known values of some placeholders, and of every other with a default its default, in a graph.

    Args:
        graph: The graph; it is changed.
        values: By the names of the placeholders.
    """
    for node in graph.node:
        if node.name in values:
            dtype = tf.as_dtype(node.attr["dtype"].type)
            node.CopyFrom(known_number(node.name, values[node.name], dtype))
        elif node.op == "PlaceholderWithDefault":
            node.CopyFrom(copy_of(node.input[0], node.name, tf.as_dtype(node.attr["dtype"].type)))


def take_branches(graph: Message) -> bool:
    """Replaces branches on what is known by the one that is taken, in a graph, and returns whether functions were.

    The nodes of the others stay; nothing needs them any more.
    """
    known = dict[str, bool | None]()
    dead, instead, calls = set[str](), dict[str, str](), False
    for node in in_order(graph):
        node.input[:] = [each if each[0] == "^" else instead.get(full_name(each), each) for each in node.input]
        known[node.name] = _value(node, known)
        if node.op in _SWITCHES and (chosen := known.get(maker(node.input[1]))) is not None:
            instead[f"{node.name}:{int(chosen)}"] = full_name(node.input[0])
            dead.add(f"{node.name}:{int(not chosen)}")
            if maker(node.input[0]) in dead:
                dead.add(node.name)
        elif node.op in _MERGES:
            alive = [each for each in node.input if each[0] != "^" and not _is_dead(dead, each)]
            if len(alive) == 1:
                instead[f"{node.name}:0"] = full_name(alive[0])
            elif not alive:
                dead.add(node.name)
        elif any(_is_dead(dead, each) for each in node.input):
            dead.add(node.name)
        elif node.op in BRANCHES and (chosen := known.get(maker(node.input[0]))) is not None:
            _take_function(node, chosen)
            calls = True
    use_instead(graph, instead)
    return calls


def _is_dead(dead: set[str], tensor: str) -> bool:
    return maker(tensor) in dead or (tensor[0] != "^" and full_name(tensor) in dead)


def _take_function(node: Message, chosen: bool) -> None:
    """Makes a call of the function that is chosen of a branch."""
    made = tf.compat.v1.NodeDef(name=node.name, op="PartitionedCall", input=node.input[1:])
    made.attr["f"].CopyFrom(node.attr["then_branch" if chosen else "else_branch"])
    made.attr["Tin"].CopyFrom(node.attr["Tin"])
    made.attr["Tout"].CopyFrom(node.attr["Tout"])
    node.CopyFrom(made)


def _value(node: Message, known: Mapping[str, bool | None]) -> bool | None:
    """Returns whether what a node makes is one number by which branches are chosen, and true; None where not known.

    Args:
        node: The node.
        known: The same of the nodes before it.
    """
    given = [known.get(maker(each)) for each in data_inputs(node)]
    match node.op:
        case "Const":
            return _single(node.attr["value"].tensor)
        case "Identity" | "StopGradient" | "Squeeze" | "Reshape" | "Cast" | "Switch" if given:
            return given[0]
        case "LogicalNot" if given:
            return None if given[0] is None else not given[0]
        case "LogicalAnd" | "LogicalOr" as operation:
            ends = operation == "LogicalOr"
            return ends if ends in given else None if None in given else not ends
    return None


def _single(tensor: Message) -> bool | None:
    if math.prod(each.size for each in tensor.tensor_shape.dim) != 1:
        return None
    array = tf.make_ndarray(tensor)
    return bool(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "bif" else None


def without_dropout(graph: Message) -> int:
    """Takes out what drops some numbers by chance, in a graph, and returns how often that was."""
    nodes, by_chance, fixed = by_name(graph), set[str](), set[str]()
    instead: dict[str, str] = {}
    for node in in_order(graph):
        makers = [maker(each) for each in data_inputs(node)]
        if node.op in _RANDOM:
            by_chance.add(node.name)
        elif node.op == "Const" or (node.op not in PLACEHOLDERS and makers and all(each in fixed for each in makers)):
            fixed.add(node.name)
        elif any(each in by_chance for each in makers):
            if node.op in _CHOOSING and (source := _chosen_from(nodes, node, by_chance, fixed)):
                instead[f"{node.name}:0"] = instead.get(source, source)
            else:
                by_chance.add(node.name)
    use_instead(graph, instead)
    return len(instead)


def _chosen_from(nodes: Mapping[str, Message], node: Message, by_chance: set[str], fixed: set[str]) -> str | None:
    """Returns of what a node drops some numbers; None where it does not."""
    given = [each for each in data_inputs(node) if maker(each) not in by_chance | fixed]
    if len(given) != 1 or dtype_of(node) not in (tf.float32, tf.float16, tf.float64, tf.bfloat16):
        return None
    before = nodes.get(maker(given[0]))
    if before is None or before.op not in _SCALING:
        return given[0]
    scaled = [each for each in data_inputs(before) if maker(each) not in fixed]
    return scaled[0] if len(scaled) == 1 else given[0]
