"""ONNX to Keras: the walk over a graph, node by node."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import zoo.converters.importing.operators  # noqa: F401  declares them
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.cuts import nearest_cut
from zoo.converters.importing.folding import folded
from zoo.converters.importing.graph import ONNX, PATTERN, Graph, Info, Node, free_names
from zoo.converters.importing.registry import known_operator
from zoo.converters.importing.unsupported import Unsupported, shapes_hint
from zoo.converters.importing.values import Layout, Tensor, Value, symbol

from zoo.errors import IntegrityError, UsageError, ZooError

# Operators to whose eyes axis 1 is the channels and what follows are places: what they read is held channels_last.
_SPATIAL = {
    *("Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"),
    *("GlobalLpPool", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "Resize", "Upsample"),
    *("DepthToSpace", "SpaceToDepth", "PRelu", "MaxUnpool", "MaxRoiPool", "RoiAlign", "GridSample", "SeparableConv"),
    "ChannelShuffle",
}
# Operators that compute element by element: what they read is held as others wish.
_INDIFFERENT = {
    *("Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "Pad", "Pow"),
    *("Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish"),
    *("Tanh", "ThresholdedRelu", "Where", "Celu", "QuickGelu", "Concat", "Split", "Slice"),
}
# Operators of models that were quantized: what they compute in is no type of Keras' layers.
_QUANTIZED = "the model is quantized to 8 bits, which layers of Keras do not compute in. Take the original in float32"
_UNLIKE = dict.fromkeys(
    ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"), _QUANTIZED
)
_UNLIKE |= dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearGlobalAveragePool"), _QUANTIZED)
# What Keras has inputs of.
_TYPES = {"bool", "float16", "float32", "float64", "bfloat16"}
_TYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Converted:
    """A graph as Keras has it.

    Attributes:
        inputs: By the names in ONNX.
        values: The outputs, and what else was wanted, by the names in ONNX.
        operators: How many nodes were converted, by their operators; those that were computed are among them.
        transpositions: How many were written.
        notes: What was decided that another might decide otherwise, and how often.
    """

    inputs: dict[str, Tensor]
    values: dict[str, Tensor]
    operators: Counter[str]
    transpositions: int
    notes: Counter[str]


def convert_graph(
    graph: Graph, wanted: Sequence[str], dims: Mapping[str, Sequence[Any]], batch: int | None = None
) -> Converted:
    """Returns tensors of Keras for the values `wanted` of a graph.

    Args:
        graph: Whatever is not needed for what is wanted should be out of it.
        wanted: Names of values.
        dims: The sizes of each input: numbers, and symbols of sympy for those that vary.
        batch: The batch size that the file has fixed, where it is open in `dims`.

    Raises:
        IntegrityError: An operator is unknown, or newer than known, or asks for what cannot be done; with the node, and
            the nearest cut below it.
    """
    builder = Builder(batch)
    layouts = {name: input_layout(graph, name, len(dims[name])) for name in graph.inputs}
    inputs = {name: _input(builder, name, info, dims[name], layouts[name]) for name, info in graph.inputs.items()}
    builder.inputs = inputs
    walk = _Walk(graph, builder, {**graph.constants, **inputs})
    with _channels_last():
        walk.run(graph.nodes, keep=wanted)
    values = {name: _output(builder, name, walk.values[name], inputs) for name in wanted}
    counts = Counter(node.operator for node in graph.nodes)
    return Converted(inputs, values, counts, builder.transpositions, builder.notes)


@contextlib.contextmanager
def _channels_last() -> Iterator[None]:
    """Lets layers hold pictures so, whatever their user has set for his own."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def _output(builder: Builder, name: str, value: Value, inputs: Mapping[str, Tensor]) -> Tensor:
    """Returns what comes out of the model under a name, as `output_layout` has it."""
    if isinstance(value, Tensor):
        builder.node = Node("Identity", "", f"{name}_out", (), ())
        return builder.arranged(value, output_layout(value, [each.layout for each in inputs.values()]))
    if not inputs:
        raise IntegrityError(f"The output {name!r} depends on no input: there is nothing to convert.")
    builder.node = Node("Constant", "", name, (), ())
    try:
        return builder.constant(builder.numbers(np.asarray(value)), next(iter(inputs.values())))
    except Unsupported as error:
        raise IntegrityError(f"Cannot convert the output {name!r}: {error}.") from error


def input_layout(graph: Graph, name: str, rank: int) -> Layout:
    """Returns how an input is held: `channels_last` where the first to care about its axes takes it for a picture."""
    consumers, names, seen = graph.consumers(), [name], {name}
    plain = Layout.plain(rank)
    while names:
        for node in consumers.get(names.pop(0), []):
            if node.operator in _SPATIAL:
                return Layout.channels_last(rank)
            if node.operator in _INDIFFERENT or (rank > 3 and _takes_channels(graph, node, rank)):
                new = [each for each in node.outputs if each not in seen]
                names += new
                seen.update(new)
            elif node.operator != "Shape":
                return plain
    return plain


def _takes_channels(graph: Graph, node: Node, rank: int) -> bool:
    """Returns whether a node takes some channels out of pictures, which stay pictures."""
    index = graph.constants.get(node.inputs[1]) if node.operator == "Gather" else None
    return index is not None and index.ndim == 1 and node.get("axis", 0) % rank == 1


def output_layout(value: Tensor, inputs: Sequence[Layout]) -> Layout:
    """Returns how an output is held: `channels_last` where it lies so, and the pictures that go in do."""
    picture = Layout.channels_last(value.rank)
    if value.rank > 2 and value.layout.order == picture.order and any(not layout.is_plain for layout in inputs):
        return picture
    return Layout.plain(value.rank)


def _input(builder: Builder, name: str, info: Info, dims: Sequence[Any], layout: Layout) -> Tensor:
    if info.dtype not in _TYPES:
        kind = "texts" if info.dtype == "object" else info.dtype
        raise IntegrityError(f"Expected numbers of a type that Keras has for the input {name!r}; it has {kind}.")
    builder.node = Node("Input", "", name, (), ())
    shape = [int(dims[axis]) if isinstance(dims[axis], int) else None for axis in layout.order]
    symbol = keras.Input(batch_shape=shape, dtype=info.dtype, name=builder.name())
    return Tensor(symbol, layout, tuple(dims))


class _Walk:
    """Converts nodes one after the other, and lets go of what nobody reads any more."""

    def __init__(self, graph: Graph, builder: Builder, values: dict[str, Value]) -> None:
        self.graph, self.builder, self.values = graph, builder, values
        self.fixed = set(graph.constants)

    def run(self, nodes: Sequence[Node], keep: Sequence[str]) -> None:
        left = Counter(name for node in nodes for name in {*node.inputs, *free_names(node)})
        left.update(keep)
        for node in nodes:
            self._convert(node)
            for name in {*node.inputs, *free_names(node)}:
                left[name] -= 1
                if not left[name]:
                    self.values.pop(name, None)

    def _convert(self, node: Node) -> None:
        values = [self.values[name] if name else None for name in node.inputs]
        self.builder.node = node
        self.builder.constants = tuple(name for name in node.inputs if name in self.fixed)
        try:
            found = folded(node, values)
            if found is None and node.operator == "If":
                self._convert_branch(node, values[0])
                return
            if found is None:
                known = known_operator(node.operator, node.domain)
                if known is None:  # one whose inputs are known would have been computed
                    raise Unsupported("it is not known")
                found = known.converter(self.builder, node, *values)
        except Unsupported as error:
            raise IntegrityError(_refusal(self.graph, node, str(error))) from error
        except Exception as error:  # of Keras, TensorFlow and Python: a node may ask for anything
            if isinstance(error, (ZooError, MemoryError)):
                raise
            reason = f"it fails with {' '.join(f'{type(error).__name__}: {error}'.split())[:400]!r}"
            raise IntegrityError(_refusal(self.graph, node, reason)) from error
        outputs = found if isinstance(found, tuple) else (found,)
        for name, value in zip(node.outputs, outputs, strict=False):
            if name:
                self.values[name] = value

    def _convert_branch(self, node: Node, condition: Value | None) -> None:
        if condition is None or isinstance(condition, Tensor):
            raise Unsupported("which branch is taken depends on the input; a net of layers has only one")
        branch: Graph = node.get("then_branch" if bool(np.asarray(condition).reshape(-1)[0]) else "else_branch")
        self.values |= branch.constants
        self.run(branch.nodes, keep=[*branch.outputs, *self.values])
        for name, inner in zip(node.outputs, branch.outputs, strict=True):
            self.values[name] = self.values[inner]


def refuse_unknown(graph: Graph) -> None:
    """Refuses the first node that nobody converts, before anything is built; what is computed may be of any kind.

    Raises:
        IntegrityError: There is one; with the nearest cut below it.
    """
    active = set(graph.inputs)
    for node in graph.nodes:
        if loop := _loop(node):
            reason = f"it is or has a {loop}, and how often that goes round is known when it runs"
            raise IntegrityError(_refusal(graph, node, reason))
        if node.operator in ("Shape", "Size") or not active & {*node.inputs, *free_names(node)}:
            continue  # what depends on sizes alone is computed
        active |= set(node.outputs)
        if node.operator == "If":
            continue
        known = known_operator(node.operator, node.domain)
        if known is None:
            raise IntegrityError(_refusal(graph, node, _UNLIKE.get(node.operator, "this operator is not known")))
        if node.domain != PATTERN and node.version > known.newest:
            reason = f"version {node.version} of this operator is newer than {known.newest}, the newest that is known"
            raise IntegrityError(_refusal(graph, node, reason))


def _loop(node: Node) -> str | None:
    """Returns the operator that goes round inside a node, or is the node itself; None where nothing does."""
    if node.operator in ("Loop", "Scan") and node.domain == ONNX:
        return node.operator
    inner = [each for value in node.attributes.values() for each in (value if isinstance(value, list) else [value])]
    nodes = (each for graph in inner if isinstance(graph, Graph) for each in graph.nodes)
    return next((found for each in nodes if (found := _loop(each))), None)


def _refusal(graph: Graph, node: Node, reason: str) -> str:
    of = f" of operator set {node.opset}" if node.opset else ""
    cut = nearest_cut(graph, node)
    below = (
        f"What is below it can be converted: onnx_to_keras(..., until={cut.name!r}); "
        f"zoo convert --until {shlex.quote(cut.name)}"
        if cut is not None
        else "There is nothing below it at which the graph could be cut."
    )
    return f"Cannot convert {node}{of}: {reason}. {below}"


def symbols(graph: Graph, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, list[Any]]:
    """Returns the sizes of each input, as `shapes` or else the file tells them: numbers, and symbols for what varies.

    Raises:
        UsageError: A shape has another number of axes than the file says.
        IntegrityError: The file does not say how many axes an input has, nor does `shapes`.
    """
    found = {}
    for name, info in graph.inputs.items():
        told = shapes.get(name, info.dims)
        if told is None:
            raise IntegrityError(
                f"How many axes the input {name!r} has is not in the model. Say it: "
                f"{shapes_hint({name: (None, 3, 224, 224)})}"
            )
        if info.dims is not None and len(told) != len(info.dims):
            raise UsageError(f"Expected {len(info.dims)} sizes for the input {name!r}, {info.dims}; got {tuple(told)}.")
        found[name] = [
            int(each) if isinstance(each, int) else symbol(str(each or f"{name}_{axis}"))
            for axis, each in enumerate(told)
        ]
    return found
