"""Operations of TensorFlow that tf2onnx lacks, or writes in a way that loses something, in those that ONNX has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

_CHOSEN = {  # for which onnxruntime has Where
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT32,
    onnx.TensorProto.INT64, onnx.TensorProto.UINT8, onnx.TensorProto.STRING,
}  # fmt: skip


class _Writer:
    """Puts nodes of ONNX in the place of a node of TensorFlow.

    Args:
        context: The graph of tf2onnx.
        node: The node of TensorFlow.
        name: What it is called.
    """

    def __init__(self, context: Any, node: Any, name: str) -> None:
        self.context, self.name, self.inputs, self.output = context, name, list(node.input), node.output[0]
        self.shapes = [context.get_shape(self.output)]
        self.dtypes = [context.get_dtype(self.output)]
        context.remove_node(name)

    def __call__(self, operator: str, *inputs: str, kind: int | None = None, **attributes: Any) -> str:
        """Adds a node between, and returns what it makes: of the type of the output, unless it is told."""
        made = self.context.make_node(
            operator, list(inputs), attr=attributes, shapes=self.shapes if kind is None else None,
            dtypes=self.dtypes if kind is None else [kind], op_name_scope=self.name,
        )  # fmt: skip
        return str(made.output[0])

    def last(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """Adds the node that makes what was wanted."""
        self.context.make_node(
            operator, list(inputs), attr=attributes, outputs=[self.output], name=self.name, shapes=self.shapes,
            dtypes=self.dtypes,
        )  # fmt: skip

    def number(self, value: Any, what: str = "number") -> str:
        """Returns a known number of the type of the output, or whole numbers as they are."""
        kind = onnx.helper.tensor_dtype_to_np_dtype(self.dtypes[0])
        array = value if isinstance(value, np.ndarray) else np.asarray(value, kind)
        return str(self.context.make_const(f"{self.name}/{what}", array).output[0])


def _erfc(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes 1 + erf(-x) of erfc(x): so GELU is as others write it."""
    write = _Writer(context, node, name)
    write.last("Add", write.number(1), write("Erf", write("Neg", write.inputs[0])))


def _expm1(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes exp(x) - 1 of expm1(x)."""
    write = _Writer(context, node, name)
    write.last("Sub", write("Exp", write.inputs[0]), write.number(1))


def _log1p(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes log(x + 1) of log1p(x)."""
    write = _Writer(context, node, name)
    write.last("Log", write("Add", write.inputs[0], write.number(1)))


def _bucketize(context: Any, node: Any, name: str, args: Any) -> None:
    """Counts how many boundaries are not above a number: in which of the ranges between them it lies."""
    boundaries = np.array(node.get_attr_value("boundaries"), np.float32)
    write, real, whole = _Writer(context, node, name), onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    last = write.number(np.array([-1], np.int64), "axis")
    x = write("Unsqueeze", write("Cast", write.inputs[0], kind=real, to=real), last, kind=real)
    above = write("GreaterOrEqual", x, write.number(boundaries, "boundaries"), kind=onnx.TensorProto.BOOL)
    write.last("ReduceSum", write("Cast", above, kind=whole, to=whole), last, keepdims=0)


def _reverse(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes a Slice that goes backwards of a reversal along axes that are known."""
    axes = np.atleast_1d(node.inputs[1].get_tensor_value(as_list=False)).astype(np.int64)
    write = _Writer(context, node, name)
    ends = np.full(axes.shape, np.iinfo(np.int64).min, np.int64)
    numbers = [("starts", np.full_like(axes, -1)), ("ends", ends), ("axes", axes), ("steps", np.full_like(axes, -1))]
    write.last("Slice", write.inputs[0], *(write.number(each, what) for what, each in numbers))


def _select(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes a Where, and no sum of products with zeros and ones: that has NaN for what was not chosen."""
    write = _Writer(context, node, name)
    condition, *both = write.inputs
    if write.dtypes[0] in _CHOSEN:
        write.last("Where", condition, *both)
        return
    wide = [write("Cast", each, kind=onnx.TensorProto.INT32, to=onnx.TensorProto.INT32) for each in both]
    found = write("Where", condition, *wide, kind=onnx.TensorProto.INT32)
    write.last("Cast", found, to=write.dtypes[0])


HANDLERS: dict[str, Callable[..., None]] = {
    "Bucketize": _bucketize, "Erfc": _erfc, "Expm1": _expm1, "Log1p": _log1p, "ReverseV2": _reverse,
    "SelectV2": _select,
}  # fmt: skip
