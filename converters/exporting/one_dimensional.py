"""Takes out the axis of size 1 that TensorFlow puts in to convolve, and to pool, sequences as if they were pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from zoo.converters.exporting.net import Net, Op

_CONVOLUTIONS, _POOLS = {"Conv", "ConvTranspose"}, {"MaxPool", "AveragePool"}
_BY_AXIS = ("kernel_shape", "strides", "dilations", "output_padding", "output_shape")


@dataclass(frozen=True)
class _Thin:
    """A value as another with one more axis, of size 1, that a layer put in for itself."""

    base: str
    axis: int
    layer: str


def without_thin_axes(net: Net, layer_of: Callable[[str], str]) -> None:
    """Lets layers that put in an axis of size 1, and take it out again, work on what they were given.

    Args:
        net: The graph; kernels are known values.
        layer_of: Returns which layer an operator's name belongs to; "" for none.
    """
    walk = _Thinning(net, layer_of)
    for op in net.ops:
        walk.ops += walk.instead(op) or [op]
    net.ops = walk.ops
    net.prune()


class _Thinning:
    def __init__(self, net: Net, layer_of: Callable[[str], str]) -> None:
        self.net, self.layer_of = net, layer_of
        self.thin: dict[str, _Thin] = {}
        self.ops: list[Op] = []

    def instead(self, op: Op) -> list[Op] | None:
        """Returns what does without the axis, and puts it in behind for those who want it; None where nothing does."""
        if op.operator == "Unsqueeze":
            self._note(op)
            return None
        thin = self.thin.get(op.inputs[0]) if op.inputs else None
        if thin is None:
            return None
        if op.operator == "Squeeze":
            return [Op("Identity", op.name, [thin.base], op.outputs)] if self._axes(op) == [thin.axis] else None
        if op.operator == "Transpose":
            return self._transposed(op, thin)
        if op.operator in _CONVOLUTIONS | _POOLS and thin.axis > 1 and self.layer_of(op.name) == thin.layer:
            return self._over_sequence(op, thin)
        return None

    def _axes(self, op: Op) -> list[int] | None:
        """Returns the axes that an operator puts in, or takes out; None where they are not known."""
        known = self.net.constants.get(op.inputs[1]) if len(op.inputs) > 1 else None
        dims = self.net.sizes(op.inputs[0])
        if known is None or dims is None:
            return None
        rank = len(dims) + (known.size if op.operator == "Unsqueeze" else 0)
        return [int(each) % rank for each in known.reshape(-1)]

    def _note(self, op: Op) -> None:
        axes, layer = self._axes(op), self.layer_of(op.name)
        if layer and axes is not None and len(axes) == 1:
            self.thin[op.outputs[0]] = _Thin(op.inputs[0], axes[0], layer)

    def _wide(self, op: Op, base: str, thin: _Thin, axis: int) -> Op:
        """Returns what puts the axis in again, behind an operator that does without it."""
        name = op.outputs[0]
        dims = self.net.sizes(name)
        if dims is not None:
            self.net.dims[base] = (*dims[:axis], *dims[axis + 1 :])
        if name in self.net.types:
            self.net.types[base] = self.net.types[name]
        self.thin[name] = _Thin(base, axis, thin.layer)
        where = self.net.constant(np.array([axis], np.int64), f"{op.name}/axis")
        return Op("Unsqueeze", f"{op.name}/wide", [base, where], [name])

    def _transposed(self, op: Op, thin: _Thin) -> list[Op] | None:
        perm = op.get("perm")
        if perm is None:
            return None
        axis, base = perm.index(thin.axis), self.net.fresh(op.outputs[0])
        rest = [each - (each > thin.axis) for each in perm if each != thin.axis]
        return [Op("Transpose", op.name, [thin.base], [base]).put(perm=rest), self._wide(op, base, thin, axis)]

    def _over_sequence(self, op: Op, thin: _Thin) -> list[Op] | None:
        inputs, place = [thin.base, *op.inputs[1:]], thin.axis - 2
        pads = list(op.get("pads") or [0] * 4)
        sizes = op.get("kernel_shape") or [0, 0]
        if op.operator in _CONVOLUTIONS:
            kernel = self.net.constants.get(op.inputs[1])
            if kernel is None:
                return None
            sizes = kernel.shape[2:]
        if sizes[place] != 1 or pads[place] or pads[place + 2] or len(sizes) != 2 or len(op.outputs) != 1:
            return None
        if op.operator in _CONVOLUTIONS:
            inputs[1] = self.net.constant(self.net.constants[op.inputs[1]].squeeze(thin.axis), op.inputs[1])
        base = self.net.fresh(op.outputs[0])
        made = Op(op.operator, op.name, inputs, [base], _without(op.attributes, place))
        return [made, self._wide(op, base, thin, thin.axis)]


def _without(attributes: dict[str, onnx.AttributeProto], place: int) -> dict[str, onnx.AttributeProto]:
    """Returns the attributes of an operator on pictures without what is said of one of their two axes."""
    found = dict(attributes)
    for name in _BY_AXIS:
        if name in found:
            found[name] = onnx.helper.make_attribute(name, [found[name].ints[1 - place]])
    if "pads" in found:
        pads = found["pads"].ints
        found["pads"] = onnx.helper.make_attribute("pads", [pads[1 - place], pads[3 - place]])
    return found
