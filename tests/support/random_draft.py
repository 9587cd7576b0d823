"""A graph of ONNX that is drawn node by node: onnxruntime computes each node at once, and so tells sizes and types.

Each value is computed three times: twice with other sizes for all that is open, and once slightly disturbed, as another
runtime may compute it. A node that makes much of a small disturbance is refused: two runtimes need not agree on it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx_graphs import rand
from zoo.converters.parity import relative_error

Array = np.ndarray[Any, Any]
Dims = list[int | None]

NEWEST = onnx.defs.onnx_opset_version()
_LARGEST, _SMALLEST, _MOST, _NOISE, _TROUBLE = 1e4, 1e-4, 6000, 3e-7, 2e-5
# What moves numbers, or computes the same whatever the order of its sums.
_EXACT = {
    *("Abs", "Neg", "Relu", "Max", "Min", "Clip", "Cast", "Where", "Identity", "Dropout", "Not", "And", "Or", "Xor"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice", "Gather", "Pad", "Tile"),
    *("Expand", "MaxPool", "ReduceMax", "ReduceMin", "DepthToSpace", "SpaceToDepth", "GlobalMaxPool", "OneHot"),
    *("GatherND", "GatherElements", "ScatterND", "ScatterElements", "Trilu", "ReverseSequence", "Compress", "Equal"),
    *("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "ArgMax", "ArgMin", "TopK", "Hardmax", "Sign", "Floor"),
}


class Refused(Exception):  # noqa: N818
    """What was drawn cannot be, or is not wanted; says why."""


@dataclass(frozen=True)
class Drawn:
    """A value of the graph.

    Attributes:
        name: As the graph has it.
        samples: The value, the same with other sizes for all that is open, and disturbed.
        is_exact: Whether every runtime computes the very same.
        is_size: Whether it depends on sizes alone, or on nothing.
    """

    name: str
    samples: tuple[Array, Array, Array]
    is_exact: bool = True
    is_size: bool = False

    @property
    def dims(self) -> Dims:
        """Returns the sizes; None for those that are open."""
        pairs = zip(self.samples[0].shape, self.samples[1].shape, strict=True)
        return [one if one == other else None for one, other in pairs]

    @property
    def rank(self) -> int:
        """Returns the number of axes."""
        return int(self.samples[0].ndim)

    @property
    def kind(self) -> str:
        """Returns the type of the elements."""
        return self.samples[0].dtype.name

    @property
    def is_float(self) -> bool:
        """Returns whether it has numbers of 32 bits."""
        return self.kind == "float32"

    def known(self) -> list[int]:
        """Returns the axes whose sizes are known."""
        return [axis for axis, each in enumerate(self.dims) if each is not None]


class Draft:
    """A graph as far as it is drawn.

    Attributes:
        rng: What all is drawn from.
        opset: Of the graph.
        discarded: Why nodes were not taken, and how often.
    """

    def __init__(self, rng: random.Random, opset: int) -> None:
        self.rng, self.opset = rng, opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, tuple[list[Any], str]] = {}
        self.values: list[Drawn] = []
        self.arrays: dict[str, Array] = {}
        self.said: dict[str, str] = {}  # how an array is written in Python
        self.discarded: Counter[str] = Counter()
        self._exprs: dict[int, str] = {}
        self._held: list[Array] = []
        self._numbers = Counter[str]()
        self._keep_from = 0

    # --- what is drawn ---

    def any(self, probability: float) -> bool:
        """Returns true as often as told."""
        return self.rng.random() < probability

    def one(self, choices: Sequence[Any]) -> Any:
        """Returns one of several."""
        if not choices:
            raise Refused("nothing to choose from")
        return choices[self.rng.randrange(len(choices))]

    def number(self, low: int, high: int) -> int:
        """Returns a whole number, both ends among them."""
        return self.rng.randint(low, high)

    def some(self, choices: Sequence[Any], least: int = 1) -> list[Any]:
        """Returns some of several, in their order."""
        if len(choices) < least:
            raise Refused("nothing to choose from")
        count = self.number(least, len(choices))
        chosen = set(self.rng.sample(range(len(choices)), count))
        return [each for at, each in enumerate(choices) if at in chosen]

    def value(self, wanted: Callable[[Drawn], bool] = lambda _: True) -> Drawn:
        """Returns a value that suits, rather a late one."""
        found = [each for each in self.values if not each.is_size and wanted(each)]
        if not found:
            raise Refused("no value suits")
        return found[-1] if self.any(0.5) else found[self.rng.randrange(len(found))]

    def floats(self, *ranks: int) -> Drawn:
        """Returns a value of floating point, with one of several numbers of axes."""
        return self.value(lambda each: each.is_float and (not ranks or each.rank in ranks))

    def pictures(self, *ranks: int) -> Drawn:
        """Returns what a convolution can read: its channels are known."""
        ranks = ranks or (3, 4, 4, 5)
        return self.value(lambda each: each.is_float and each.rank in ranks and each.dims[1] is not None)

    def weight(self, *shape: int, low: float | None = None, scale: float = 1.0) -> Array:
        """Returns random numbers: normal ones, or none below a number in magnitude and all above zero."""
        self._numbers["seed"] += 1
        seed = self._numbers["seed"]
        array, said = rand(*shape, seed=seed), f"rand({', '.join(map(str, (*shape, f'seed={seed}')))})"
        if low is not None:
            array, said = np.abs(array) + np.float32(low), f"np.abs({said}) + np.float32({low})"
        if scale != 1:
            array, said = array * np.float32(scale), f"np.float32({scale}) * ({said})"
        array = np.asarray(array)
        self._exprs[id(array)] = said
        self._held.append(array)
        return array

    # --- what there is in an operator set ---

    def has(self, operator: str, attribute: str) -> bool:
        """Returns whether an operator has an attribute in this operator set."""
        return attribute in self._schema(operator).attributes

    def version(self, operator: str) -> int:
        """Returns the version of an operator in this operator set."""
        return int(self._schema(operator).since_version)

    def _schema(self, operator: str) -> Any:
        try:
            return onnx.defs.get_schema(operator, self.opset, "")
        except onnx.defs.SchemaError:
            raise Refused("not in this operator set") from None

    # --- nodes ---

    def input(self, dims: Sequence[Any], samples: tuple[Array, Array], name: str = "x") -> Drawn:
        """Returns an input; sizes that are texts are open."""
        name = self._name(name)
        self.inputs[name] = (list(dims), samples[0].dtype.name)
        self.values.append(Drawn(name, (*samples, samples[0])))
        return self.values[-1]

    def node(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Returns what a new node puts out: a value, or several; arrays among its inputs become weights.

        Raises:
            Refused: onnxruntime refuses it, or makes too much of it.
        """
        self._schema(operator)
        attributes = {key: each for key, each in attributes.items() if each is not None}
        names = [self._written(each) for each in inputs]
        while names and not names[-1]:
            names.pop()
        made = [self._name(operator[0].lower()) for _ in range(outputs)]
        node = helper.make_node(operator, names, made, name=made[0], **attributes)
        given = [each for each in inputs if isinstance(each, Drawn)]
        runs = self._runs(node, given)
        is_size = operator in ("Shape", "Size") or all(each.is_size for each in given)
        is_exact = operator in _EXACT and all(each.is_exact for each in given)
        found = tuple(self._drawn(name, [run[at] for run in runs], is_exact, is_size) for at, name in enumerate(made))
        self.nodes.append(node)
        self.values += found
        return found if outputs > 1 else found[0]

    def _written(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, Drawn):
            return value.name
        array = np.asarray(value)
        name = self._name("w" if array.dtype.kind == "f" else "k")
        self.arrays[name] = array
        self.said[name] = self._exprs.get(id(value)) or f"np.array({array.tolist()}, {array.dtype.name!r})"
        return name

    def _name(self, letter: str) -> str:
        self._numbers[letter] += 1
        return f"{letter}{self._numbers[letter]}"

    def _runs(self, node: onnx.NodeProto, given: Sequence[Drawn]) -> list[list[Array]]:
        told = {each.name: each for each in given}
        inputs = [
            helper.make_tensor_value_info(name, _type(each.samples[0]), [None] * each.rank)
            for name, each in told.items()
        ]
        weights = [numpy_helper.from_array(self.arrays[name], name) for name in node.input if name in self.arrays]
        proto = helper.make_graph(
            [node], "g", inputs, [onnx.ValueInfoProto(name=each) for each in node.output], weights
        )
        model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
            )
            return [session.run(None, {name: each.samples[at] for name, each in told.items()}) for at in range(3)]
        except Exception as error:  # onnxruntime's own kinds of errors are not public
            self.discarded[node.op_type] += 1
            raise Refused(f"onnxruntime refuses it: {' '.join(str(error).split())[:200]}") from None

    def _drawn(self, name: str, samples: Sequence[Array], is_exact: bool, is_size: bool) -> Drawn:
        first, second, third = (np.asarray(each) for each in samples)
        if first.ndim > 5 or not all(0 < each.size <= _MOST for each in (first, second)):
            raise Refused("it has no elements, or too many")
        if first.dtype.kind == "f":
            if not all(np.isfinite(each).all() and np.abs(each).max() <= _LARGEST for each in (first, second, third)):
                raise Refused("its numbers are too large")
            if 0 < np.abs(first).max() < _SMALLEST:
                raise Refused("its numbers are too small")
            if not is_exact:
                rng = np.random.default_rng(len(self.nodes))
                third = third + (rng.standard_normal(third.shape) * np.abs(third).max() * _NOISE).astype(third.dtype)
        if relative_error(third, first) > (_TROUBLE if first.dtype.kind == "f" else 0):
            raise Refused("it makes much of little")
        return Drawn(name, (first, second, third), is_exact, is_size)

    def attempt(self, draw: Callable[[Draft], None]) -> bool:
        """Draws something of several nodes, or nothing of it where a part cannot be; returns whether it was."""
        marks = len(self.nodes), len(self.values)
        try:
            draw(self)
        except Refused:
            del self.nodes[marks[0] :]
            del self.values[marks[1] :]
            return False
        return True


def _type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
