"""Carries transpositions down through a graph, so that they meet their inverse and vanish.

The graph is walked once. A value may be known as a transposition of another that is really there; an operator that can
work on the other does so, with its axes and its weights turned, and only one that cannot gets what it asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from zoo.converters.exporting.net import Array, Dims, Net, Op
from zoo.converters.exporting.views import Perm, View, Views, inverse, moves_nothing

_ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu",
    "Where", "Xor", "Mish", "Gelu", "Celu",
}  # fmt: skip
_ALONG = {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization"}  # one axis, an attribute; the sizes stay


def sink_transposes(net: Net) -> None:
    """Removes the transpositions that are not needed, and moves the others towards the outputs."""
    _Sinking(net).run()
    net.prune()


class _Sinking(Views):
    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.kernels: dict[str, tuple[Dims, Perm]] = {}  # rows of a product that come of a flattened view
        self.consumers = net.consumers()
        self.captured = net.captured()
        self.rules: dict[str, Callable[[Op], bool]] = {
            "Transpose": self._transpose, "Reshape": self._reshape, "Concat": self._concat, "Pad": self._pad,
            "Slice": self._slice, "Split": self._split, "Shape": self._shape, "MatMul": self._product,
            "Gemm": self._product, "Squeeze": self._squeeze, "Unsqueeze": self._unsqueeze,
            "LayerNormalization": self._over_last,
            **dict.fromkeys(_ELEMENTWISE, self._elementwise), **dict.fromkeys(_ALONG, self._along),
        }  # fmt: skip

    def run(self) -> None:
        for op in self.net.ops:
            rule = self.rules.get(op.operator)
            if op.operator.startswith("Reduce") or op.operator in ("ArgMax", "ArgMin"):
                rule = self._reduce
            if op.domain or op.graphs or rule is None or not rule(op):
                self.as_it_is(op)
            for name in op.outputs:
                if name in self.views and (name in self.captured or name in self.net.outputs):
                    self.materialised(name, under_its_name=True)
                    if self._ends_here(name):
                        del self.views[name]
        self.net.ops = self.ops

    def _ends_here(self, name: str) -> bool:
        """Returns whether a value goes out, and what is made of it too: a view of it would be turned again there."""
        made = [each for user in self.consumers.get(name, ()) for each in user.outputs]
        return name in self.net.outputs and all(each in self.net.outputs for each in made)

    # --- operators; each says whether it could do it on what is there ---

    def _transpose(self, op: Op) -> bool:
        before = self.view(op.inputs[0])
        dims = self.net.sizes(op.inputs[0])
        if dims is None:
            return False
        perm = tuple(op.get("perm", range(len(dims))[::-1]))
        view = self.views[op.outputs[0]] = View(before.base, tuple(before.perm[axis] for axis in perm))
        if view.perm == tuple(range(len(perm))):
            self.there[view] = view.base
        return True

    def _elementwise(self, op: Op) -> bool:
        perms = {self.views[name].perm for name in op.inputs if name in self.views}
        perms = {perm for perm in perms if perm != tuple(range(len(perm)))}
        if len(perms) != 1:
            return False
        perm = perms.pop()
        inputs = []
        for name in op.inputs:
            found = self.beside(name, perm)
            if found is None:
                return False
            inputs.append(found)
        return self.emit(op, inputs, perm)

    def _along(self, op: Op) -> bool:
        view = self.view(op.inputs[0])
        if not self.is_view(op.inputs[0]):
            return False
        op.put(axis=view.perm[op.get("axis", -1)])
        return self.emit(op, [view.base], view.perm)

    def _over_last(self, op: Op) -> bool:
        """Works on what is there where the last axes lie as they are."""
        if not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        rank = len(view.perm)
        first = op.get("axis", -1) % rank if op.operator == "LayerNormalization" else rank - 1
        if view.perm[first:] != tuple(range(first, rank)):
            return False
        return self.emit(op, [view.base, *op.inputs[1:]], view.perm)

    def _concat(self, op: Op) -> bool:
        perms = {self.views[name].perm for name in op.inputs if name in self.views}
        if len(perms) != 1 or any(name not in self.views and name not in self.net.constants for name in op.inputs):
            return False
        perm = perms.pop()
        if any(self.net.constants[each].ndim != len(perm) for each in op.inputs if each in self.net.constants):
            return False
        inputs = [
            self.views[name].base
            if name in self.views
            else self.net.constant(self.net.constants[name].transpose(inverse(perm)), name)
            for name in op.inputs
        ]
        op.put(axis=perm[op.get("axis")])
        return self.emit(op, inputs, perm)

    def _split(self, op: Op) -> bool:
        if not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        op.put(axis=view.perm[op.get("axis", 0)])
        return self.emit(op, [view.base, *op.inputs[1:]], view.perm)

    def _pad(self, op: Op) -> bool:
        known = self._known(op, 1)
        if known is None or not self.is_view(op.inputs[0]) or (len(op.inputs) > 3 and op.inputs[3]):
            return False
        view = self.views[op.inputs[0]]
        back = inverse(view.perm)
        pads = known.reshape(2, len(back))[:, list(back)].reshape(-1)
        inputs = [view.base, self.net.constant(pads, op.inputs[1]), *op.inputs[2:]]
        return self.emit(op, inputs, view.perm)

    def _slice(self, op: Op) -> bool:
        if not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        axes = self._known(op, 3) if len(op.inputs) > 3 else None
        starts = self.net.sizes(op.inputs[1])
        if axes is None and len(op.inputs) > 3 and op.inputs[3]:
            return False
        if axes is None and (not starts or starts[0] is None):
            return False
        wanted = axes.tolist() if axes is not None else range(starts[0] or 0 if starts else 0)
        like = next((self.net.constants[name].dtype for name in op.inputs[1:] if name in self.net.constants), None)
        kind = like or onnx.helper.tensor_dtype_to_np_dtype(self.net.types.get(op.inputs[1], onnx.TensorProto.INT64))
        turned = self.net.constant(np.array([view.perm[axis] for axis in wanted], kind), f"{op.name}/axes")
        return self.emit(op, [view.base, *op.inputs[1:3], turned, *op.inputs[4:]], view.perm)

    def _reduce(self, op: Op) -> bool:
        if not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        rank = len(view.perm)
        known = self._known(op, 1)
        if op.operator in ("ArgMax", "ArgMin"):
            axes = [op.get("axis", 0)]
            op.put(axis=view.perm[axes[0]])
        elif len(op.inputs) > 1 and known is None:
            return False
        else:
            axes = known.tolist() if known is not None else op.get("axes") or list(range(rank))
        turned = [view.perm[axis] for axis in axes]
        inputs = [view.base]
        if known is not None:
            inputs.append(self.net.constant(np.array(sorted(turned), np.int64), f"{op.name}/axes"))
        elif "axes" in op.attributes:
            op.put(axes=sorted(turned))
        perm = view.perm if op.get("keepdims", 1) else _without(view.perm, turned)
        return self.emit(op, inputs, perm)

    def _squeeze(self, op: Op) -> bool:
        known = self._known(op, 1)
        if known is None or not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        turned = [view.perm[axis] for axis in known.tolist()]
        axes = self.net.constant(np.array(sorted(turned), np.int64), f"{op.name}/axes")
        return self.emit(op, [view.base, axes], _without(view.perm, turned))

    def _unsqueeze(self, op: Op) -> bool:
        known = self._known(op, 1)
        if known is None or known.size != 1 or not self.is_view(op.inputs[0]):
            return False
        view = self.views[op.inputs[0]]
        rank = len(view.perm)
        axis = int(known.reshape(-1)[0]) % (rank + 1)
        place = view.perm[axis] if axis < rank else rank  # before the axis that follows it
        perm = [each + (each >= place) for each in view.perm]
        axes = self.net.constant(np.array([place], np.int64), f"{op.name}/axes")
        return self.emit(op, [view.base, axes], (*perm[:axis], place, *perm[axis:]))

    def _shape(self, op: Op) -> bool:
        if not self.is_view(op.inputs[0]) or op.attributes:
            return False
        view = self.views[op.inputs[0]]
        raw = self.net.fresh(op.outputs[0])
        self.net.dims[raw] = (len(view.perm),)
        order = self.net.constant(np.array(view.perm, np.int64), f"{op.name}/order")
        self.ops.append(Op("Shape", op.name, [view.base], [raw]))
        self.ops.append(Op("Gather", f"{op.name}/order", [raw, order], op.outputs).put(axis=0))
        return True

    def _reshape(self, op: Op) -> bool:
        """Reshapes what is there: where axes of size 1 alone have moved, or where a weight behind can be turned."""
        if not self.is_view(op.inputs[0]) or op.get("allowzero"):
            return False
        view, sizes = self.views[op.inputs[0]], self._known(op, 1)
        dims = self.net.sizes(view.base)
        if sizes is None or dims is None:
            return False
        if moves_nothing(view.perm, dims) and (sizes != 0).all():
            self.ops.append(Op("Reshape", op.name, [view.base, op.inputs[1]], op.outputs))
            return True
        rows = dims[1:]
        if (
            view.perm[0] != 0
            or None in rows
            or sizes.size != 2
            or sizes[1] not in (-1, math.prod(r or 0 for r in rows))
        ):
            return False
        if not self._ends_in_products(op.outputs[0], math.prod(each or 0 for each in rows)):
            return False
        self.kernels[op.outputs[0]] = (rows, tuple(axis - 1 for axis in view.perm[1:]))
        self.ops.append(Op("Reshape", op.name, [view.base, op.inputs[1]], op.outputs))
        return True

    def _ends_in_products(self, name: str, rows: int) -> bool:
        users = self.consumers.get(name, [])
        return name not in self.net.outputs and bool(users) and all(
            user.operator in ("MatMul", "Gemm")
            and user.inputs[0] == name
            and user.inputs.count(name) == 1
            and user.inputs[1] in self.net.constants
            and self.net.constants[user.inputs[1]].ndim == 2
            and not user.get("transA")
            and not user.get("transB")
            and self.net.constants[user.inputs[1]].shape[0] == rows
            for user in users
        )  # fmt: skip

    def _product(self, op: Op) -> bool:
        """Turns the rows of a weight behind a flattened view; what was flattened is in another order."""
        found = self.kernels.get(op.inputs[0])
        if found is None:
            kernel = self.net.constants.get(op.inputs[1])
            return op.operator == "MatMul" and kernel is not None and kernel.ndim == 2 and self._over_last(op)
        dims, perm = found
        key = (op.inputs[1], (-1, *perm))
        if key not in self.turned:
            kernel = self.net.constants[op.inputs[1]]
            shape = tuple(dims[axis] or 0 for axis in perm)
            self.turned[key] = self.net.constant(_rows_turned(kernel, shape, inverse(perm)), op.inputs[1])
        op.inputs[1] = self.turned[key]
        self.ops.append(op)
        return True

    def _known(self, op: Op, number: int) -> Array | None:
        return self.net.constants.get(op.inputs[number]) if len(op.inputs) > number else None


def _rows_turned(kernel: Array, shape: tuple[int, ...], order: Perm) -> Array:
    """Returns a kernel whose rows, which are the axes `shape`, are in another order of axes."""
    columns = kernel.shape[1]
    return kernel.reshape(*shape, columns).transpose(*order, len(order)).reshape(-1, columns)


def _without(perm: Perm, gone: list[int]) -> Perm:
    left = [axis for axis in perm if axis not in gone]
    return tuple(sorted(left).index(axis) for axis in left)
