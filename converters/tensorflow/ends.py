"""Finds where a net begins and ends in a graph that trains it: between the placeholder for examples and the loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from zoo.converters.tensorflow.graphs import (
    PLACEHOLDERS,
    Message,
    by_name,
    data_inputs,
    full_name,
    in_order,
    maker,
    readers,
)
from zoo.converters.tensorflow.inlining import output_count

from zoo.errors import IntegrityError, NotConvertible, UsageError, nearest_names

_KERNELS = {
    "MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput",
    "Einsum", "GatherV2", "Gather", "ResourceGather",
}  # fmt: skip
_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_LOSSES = {"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"}
_FEEDING = {"IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2"}
_HANDING_ON = {"Identity", "Reshape", "Cast", "StopGradient"}
_FOLLOWED = {
    "Add", "AddV2", "AvgPool", "BiasAdd", "Elu", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Identity",
    "LeakyRelu", "LogSoftmax", "MaxPool", "Maximum", "Minimum", "Mul", "RealDiv", "Relu", "Relu6", "Reshape", "Selu",
    "Sigmoid", "Softmax", "Softplus", "Softsign", "Squeeze", "StopGradient", "Sub", "Tanh",
}  # fmt: skip
_BACKWARD = re.compile(r"(^|/)gradients(_\d+)?(/|$)")
_WATCHING = re.compile(r".*Summary(V2)?|Assert|Print(V2)?|ArgMax|TopK(V2)?|InTopK(V2)?")


@dataclass
class _Seen:
    """What is known of nodes: those of examples, how many kernels are behind each, and by which inputs it is made."""

    kernels: dict[str, int] = field(default_factory=dict)
    fed: dict[str, frozenset[str]] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)


def named_tensors(graph: Message, names: Sequence[str], what: str) -> list[str]:
    """Returns tensors that a user names, by their full names.

    Raises:
        UsageError: There is no such tensor.
    """
    for name in names:
        if fault := _fault(graph, name):
            raise UsageError(f"Expected {what} of the graph, such as {_examples(graph)}; {fault}")
    return [full_name(each) for each in names]


def refuse_missing(graph: Message, tensors: Mapping[str, str], signature: str) -> None:
    """Refuses a signature of what the graph does not have.

    Args:
        graph: The graph.
        tensors: Those that the signature names, by what it calls them.
        signature: Its name.

    Raises:
        IntegrityError: There is no such tensor.
    """
    for name, tensor in tensors.items():
        if fault := _fault(graph, tensor):
            raise IntegrityError(
                f"{name!r} of the signature {signature!r} is no tensor of the graph: {fault} Get it again."
            )


def _fault(graph: Message, tensor: str) -> str:
    """Returns why a graph has no such tensor, in words; "" where it has."""
    nodes = by_name(graph)
    node = nodes.get(tensor.partition(":")[0])
    if node is None:
        return f"it has no {tensor!r}.{nearest_names(tensor, list(nodes))}"
    count = output_count(node, {each.signature.name: each for each in graph.library.function})
    number = full_name(tensor).partition(":")[2]
    if number.isdecimal() and int(number) < count:
        return ""
    if not count:
        return f"nothing comes out of {node.name!r} ({node.op})."
    last = f" to {node.name}:{count - 1}" if count > 1 else ""
    return f"it has no {tensor!r}: {node.name!r} ({node.op}) makes {node.name}:0{last}."


def _examples(graph: Message) -> str:
    nodes = [each.name for each in graph.node if each.op in PLACEHOLDERS | {"BiasAdd", "Softmax"}]
    return ", ".join(f"{each}:0" for each in (*nodes[:2], *nodes[-1:])) or "X:0"


def inputs_below(graph: Message, outputs: Sequence[str], is_known: Callable[[Message], bool]) -> list[str]:
    """Returns the tensors by which examples come into a graph on their way to some outputs.

    Args:
        graph: What the outputs need of it.
        outputs: Their names.
        is_known: Tells of a placeholder whether it is no input, but known in inference.

    Raises:
        NotConvertible: There is none.
    """
    nodes, found = by_name(graph), dict[str, None]()
    for node in in_order(graph):
        if node.op in PLACEHOLDERS and not is_known(node) and not _has_default(node):
            found[f"{node.name}:0"] = None
        for each in data_inputs(node):
            if maker(each) in nodes and nodes[maker(each)].op in _FEEDING:
                found[each] = None
    if not found:
        raise NotConvertible(
            f"Nothing goes into the graph on its way to {', '.join(outputs)}. Say where it begins: --input X:0"
        )
    return list(found)


def _has_default(node: Message) -> bool:
    """Returns whether a placeholder need not be given: it has a default of sizes that do not vary."""
    sizes = node.attr["shape"].shape
    return node.op == "PlaceholderWithDefault" and not (sizes.dim and sizes.dim[0].size < 0)


def found_output(graph: Message, is_known: Callable[[Message], bool]) -> str:
    """Returns the tensor at which a net ends: the last before the loss, or the last that is made of the last kernel.

    Args:
        graph: The graph, with what trains the net.
        is_known: Tells of a placeholder whether it is no input, but known in inference.

    Raises:
        UsageError: There are several; the message names them.
        NotConvertible: There is none.
    """
    nodes, order = by_name(graph), [node for node in in_order(graph) if not _BACKWARD.search(node.name)]
    seen = _seen(order, is_known)
    before_losses = [_before(nodes, node) for node in order if node.op in _LOSSES]
    if ends := [each for each in dict.fromkeys(before_losses) if maker(each) in seen.fed]:
        return _deepest(ends, seen)
    kernels = [node for node in order if node.op in _KERNELS and seen.kernels.get(node.name)]
    if not kernels:
        raise NotConvertible(
            "Nothing in the graph multiplies what goes in by weights: no net is found in it. Say where it ends: "
            "--output NAME:0"
        )
    most = max(seen.kernels[node.name] for node in kernels)
    take = {
        tensor: [node for node in found if not _BACKWARD.search(node.name)] for tensor, found in readers(graph).items()
    }
    last = [_followed(take, seen, f"{node.name}:0") for node in kernels if seen.kernels[node.name] == most]
    return _deepest(list(dict.fromkeys(last)), seen)


def _seen(order: Sequence[Message], is_known: Callable[[Message], bool]) -> _Seen:
    seen = _Seen()
    for node in order:
        makers = [maker(each) for each in data_inputs(node)]
        behind = max((seen.kernels.get(each, 0) for each in makers), default=0)
        fed = frozenset().union(*(seen.fed.get(each, frozenset()) for each in makers))
        if (node.op in PLACEHOLDERS and not is_known(node)) or node.op in _FEEDING:
            fed |= {node.name}
        has_weight = any(each in seen.fixed for each in makers) or node.op == "ResourceGather"
        if fed:
            seen.fed[node.name] = fed
        elif node.op in _VARIABLES or _is_large(node) or any(each in seen.fixed for each in makers):
            seen.fixed.add(node.name)
        seen.kernels[node.name] = behind + (node.op in _KERNELS and has_weight and bool(fed))
    return seen


def _is_large(node: Message) -> bool:
    return node.op == "Const" and len(node.attr["value"].tensor.tensor_shape.dim) > 1


def _before(nodes: dict[str, Message], loss: Message) -> str:
    """Returns what goes into a loss, before the loss itself has put it into rows."""
    tensor = full_name(loss.input[0])
    scope = loss.name.rpartition("/")[0]
    own = tuple(f"{each}/" for each in (loss.name, scope) if each)
    while (node := nodes.get(maker(tensor))) and node.op in _HANDING_ON and node.name.startswith(own):
        if node.name.rpartition("/")[0] == scope and node.op != "Reshape":
            break  # the user's own, in the same scope
        tensor = full_name(node.input[0])
    return tensor


def _deepest(tensors: Sequence[str], seen: _Seen) -> str:
    most = max(seen.kernels[maker(each)] for each in tensors)
    found = [each for each in tensors if seen.kernels[maker(each)] == most]
    if len(found) > 1:
        raise UsageError(
            f"Expected one net; the graph has {len(found)} that end in {', '.join(found)}. Say which: "
            f"--output {found[-1]}"
        )
    return found[0]


def _followed(take: dict[str, list[Message]], seen: _Seen, tensor: str) -> str:
    """Returns the last tensor that is made of one alone, number by number: at a loss other inputs come in."""
    while True:
        users = [node for node in take.get(tensor, []) if not _WATCHING.fullmatch(node.op)]
        own = seen.fed[maker(tensor)]
        others = [
            each for node in users for each in data_inputs(node)
            if each != tensor and maker(each) in seen.fed and seen.fed[maker(each)] != frozenset()
        ]  # fmt: skip
        following = [node for node in users if node.op in _FOLLOWED]
        if len(following) != 1 or others or not own:
            return tensor
        tensor = f"{following[0].name}:0"


def last_tensors(graph: Message) -> list[str]:
    """Returns the tensors of a graph that nobody takes."""
    taken = readers(graph)
    names = {maker(each) for each in taken}
    return [
        f"{node.name}:0"
        for node in graph.node
        if node.name not in names and node.op not in (*PLACEHOLDERS, "NoOp", "Const")
    ]
