"""Makes layers of Keras, and owns the one rule of how they hold the values of ONNX (`values.Layout`).

Who converts an operator says in which order it wants a tensor (`plain`, `channels_last`, `together`), and in which its
result lies. Nobody else moves axes: where the tensor lies so already, nothing is done, and a Transpose of ONNX only
changes what is known of a tensor. A transposition is written only when two wishes meet that do not agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from zoo.converters.importing.graph import Node
from zoo.converters.importing.layers import Constant, ReshapeLike
from zoo.converters.importing.unsupported import Unsupported, shapes_hint
from zoo.converters.importing.values import Array, Dim, Layout, Tensor, Value, is_number, known, product, same, symbol

_SCALING = {"Rescaling", "Add", "Subtract", "Multiply", "Divide", "Cast"}  # of Keras: layers, and functions by a number


class Builder:
    """Makes the layers of one model.

    Attributes:
        node: The node that is being converted: layers are named after it.
        constants: The names of the node's inputs whose arrays no other node changes: what layers may share.
        inputs: What goes into the model, by the names in ONNX: where sizes that vary come from.
        batch: The batch size that the file has fixed, and that is left open; None where there is no such.
        notes: What was decided that another might decide otherwise, and how often.
    """

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self.node = Node("", "", "model", (), ())
        self.constants: tuple[str, ...] = ()
        self.inputs: Mapping[str, Tensor] = {}
        self.transpositions = 0
        self.notes: Counter[str] = Counter()
        self._names: set[str] = set()
        self._shared: dict[Any, keras.Layer] = {}
        self._symbols = 0
        self._owners: dict[Dim, Tensor] = {}  # of sizes that vary: the tensor that had them first
        self._layers_of: Counter[str] = Counter()
        self._before: dict[int, Tensor] = {}  # by the identity of a tensor of Keras: what it was before it was reshaped
        self._held: list[Any] = []  # so that no other takes such an identity

    # --- names and sizes ---

    def name(self, suffix: str = "") -> str:
        """Returns a name for a layer of the node: the node's own as far as TensorFlow takes it, and free."""
        wanted = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.node.name).strip("_.-") or "node"
        wanted = f"{wanted}_{suffix}" if suffix else wanted
        free, number = wanted, 1
        while free in self._names:
            number += 1
            free = f"{wanted}_{number}"
        self._names.add(free)
        return free

    def symbol(self) -> Dim:
        """Returns a size that varies, and equals no other."""
        self._symbols += 1
        return symbol(f"d{self._symbols}")

    def source(self, sizes: Sequence[Dim]) -> tuple[Tensor, dict[Dim, int]]:
        """Returns a tensor that has all these sizes, an input of the model if there is one, and along which axes."""
        owners = [self._owners[size] for size in sizes if size in self._owners]
        for each in (*self.inputs.values(), *owners):
            if all(size in each.dims for size in sizes):
                return each, {size: each.dims.index(size) for size in sizes}
        raise Unsupported(f"nothing has the sizes {', '.join(map(str, sizes))}, which vary, at once")

    def shapes_hint(self) -> str:
        """Returns how to say the sizes of the model's inputs, as they would be written."""
        return shapes_hint({name: tuple(map(_told, range(each.rank), each.dims)) for name, each in self.inputs.items()})

    # --- layers and functions ---

    def layer(
        self,
        kind: Callable[..., keras.Layer],
        *tensors: Tensor,
        layout: Layout,
        sizes: Sequence[Dim] | None = None,
        weights: Mapping[str, Array] | None = None,
        suffix: str = "",
        is_positive: bool = False,
        as_list: bool = False,
        **config: Any,
    ) -> Tensor:
        """Returns what a layer makes of tensors.

        Args:
            kind: The class of the layer.
            tensors: What it is called with: one, or a list of several.
            layout: The order of what comes out.
            sizes: Its sizes in the order of ONNX, where some of them vary and are known to be those of others.
            weights: Arrays for its variables, by the names of their initializers: "kernel" of kernel_initializer.
            suffix: What stands behind the node's name, where this is not its main layer.
            is_positive: Whether nothing below zero can come out.
            as_list: Whether it is called with a list even of one tensor.
            config: What the class takes.
        """
        given = [tensor.keras for tensor in tensors]
        if "dtype" not in config and tensors and tensors[0].dtype.startswith(("float", "bfloat")):
            config["dtype"] = tensors[0].dtype
        self._layers_of[self.node.name] += 1  # a node may make several layers, with a weight each
        key = (
            *(self.node.operator, repr(self.node.attributes), self.constants, repr(kind), repr(config), suffix),
            *(self.node.module, self._layers_of[self.node.name], *(tensor.layout.shuffles for tensor in tensors)),
        )
        is_known = bool(self.constants and weights)
        layer = self._shared.get(key) if is_known else None
        if layer is None or not (_was_learned(weights or {}) or _follows_the_same(layer, given)):
            layer = kind(name=self.name(suffix), **config)
            with _initialized(layer, weights or {}):
                out = layer(given if len(given) > 1 or as_list else given[0])
            if is_known:
                self._shared.setdefault(key, layer)
        else:
            out = layer(given if len(given) > 1 or as_list else given[0])
        return self._tensor(out, tensors, layout, sizes, is_positive)

    def function(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        layout: Layout,
        sizes: Sequence[Dim] | None = None,
        suffix: str = "",
        is_positive: bool = False,
        **named: Any,
    ) -> Tensor:
        """Returns what a function of `keras.ops` makes of tensors and other arguments; the rest is as for `layer`."""
        tensors = [each for each in keras.tree.flatten((arguments, named)) if isinstance(each, Tensor)]
        arguments, named = keras.tree.map_structure(_bare, (arguments, named))
        out = function(*arguments, **named)
        out._keras_history.operation.name = self.name(suffix)  # functions take no name
        return self._tensor(out, tensors, layout, sizes, is_positive)

    def parts(
        self,
        outputs: Sequence[Any],
        tensors: Sequence[Tensor],
        layouts: Sequence[Layout],
        sizes: Sequence[Sequence[Dim]],
        is_positive: bool = False,
    ) -> tuple[Tensor, ...]:
        """Returns the several tensors that one function of `keras.ops` made of `tensors`."""
        outputs[0]._keras_history.operation.name = self.name()
        each = zip(outputs, layouts, sizes, strict=True)
        return tuple(self._tensor(out, tensors, layout, size, is_positive) for out, layout, size in each)

    def constant(self, array: Array, like: Tensor, suffix: str = "constant") -> Tensor:
        """Returns an array as a tensor, kept in a layer that trains nothing; `like` is any tensor there is."""
        array = np.asarray(array)
        layer = Constant(array.shape, str(array.dtype), name=self.name(suffix))
        out = layer(like.keras)
        layer.value.assign(array)
        return Tensor(out, Layout.plain(array.ndim), array.shape)

    def tensor(self, value: Value, like: Tensor) -> Tensor:
        """Returns a value as a tensor, whatever it is."""
        return value if isinstance(value, Tensor) else self.constant(self.numbers(value), like)

    def numbers(self, array: Array) -> Array:
        """Returns an array if it is known; a size that varies cannot be computed with in a layer."""
        if not known(array):
            raise Unsupported(f"it computes with sizes that vary. Say what they are: {self.shapes_hint()}")
        return np.asarray(array.astype(np.int64) if array.dtype == object else array)

    def _tensor(
        self, out: Any, tensors: Sequence[Tensor], layout: Layout, sizes: Sequence[Dim] | None, is_positive: bool
    ) -> Tensor:
        found: list[Dim] = [0] * layout.rank
        if len(out.shape) != layout.rank:
            raise Unsupported(f"its result has the shape {tuple(out.shape)}, and {layout.rank} axes were expected")
        for place, (axis, size) in enumerate(zip(layout.order, out.shape, strict=True)):
            if size is not None:
                found[axis] = int(size)
            elif sizes is not None:
                found[axis] = sizes[axis]
            elif place == 0 and tensors and not is_number(tensors[0].dims[tensors[0].layout.order[0]]):
                found[axis] = tensors[0].dims[tensors[0].layout.order[0]]
            else:
                found[axis] = self.symbol()
        made = Tensor(out, layout, tuple(found), is_positive)
        self._owners |= {size: made for size in made.dims if not is_number(size) and size not in self._owners}
        return made

    def is_raw(self, x: Tensor) -> bool:
        """Returns whether a tensor is what goes into the model, or that with its numbers scaled."""
        operation = x.keras._keras_history.operation
        while type(operation).__name__ in _SCALING:
            tensors = keras.tree.flatten(operation.input)
            if len(tensors) > 1:
                return False
            operation = tensors[0]._keras_history.operation
        return isinstance(operation, keras.layers.InputLayer)

    # --- the order of axes ---

    def plain(self, x: Tensor) -> Tensor:
        """Returns a tensor in the order of ONNX."""
        return self.arranged(x, Layout.plain(x.rank))

    def channels_last(self, x: Tensor) -> Tensor:
        """Returns [batch, channels, ...] of ONNX as [batch, ..., channels]."""
        return self.arranged(x, Layout.channels_last(x.rank))

    def arranged(self, x: Tensor, layout: Layout) -> Tensor:
        """Returns a tensor in another order; itself where it lies so already."""
        x = self._with_shuffles(x, layout)
        if x.layout == layout:
            return x
        permutation = [x.layout.order.index(axis) for axis in layout.order]
        fixed = [x.dims[axis] for axis in x.layout.order]
        moved = [place for place in permutation if fixed[place] != 1]
        if moved == sorted(moved):  # only axes of one element move
            target = [x.dims[axis] for axis in layout.order]
            return self.reshaped(x, target, layout, "reshape")
        self.transpositions += 1
        if permutation[0] == 0:
            kind = keras.layers.Permute
            return self.layer(
                kind,
                x,
                layout=layout,
                sizes=x.dims,
                suffix="transpose",
                is_positive=x.is_positive,
                dims=permutation[1:],
            )
        return self.function(
            keras.ops.transpose,
            x,
            permutation,
            layout=layout,
            sizes=x.dims,
            suffix="transpose",
            is_positive=x.is_positive,
        )

    def _with_shuffles(self, x: Tensor, layout: Layout) -> Tensor:
        for axis in range(x.rank):
            have, wanted = x.layout.shuffle(axis), layout.shuffle(axis)
            if have != wanted:
                size = len(have or wanted or ())
                at = np.argsort(have) if have else np.arange(size)
                index = [int(each) for each in (at[list(wanted)] if wanted else at)]
                self.transpositions += 1
                x = self.function(
                    keras.ops.take, x, index, axis=x.layout.axis(axis), layout=x.layout.with_shuffle(axis, wanted),
                    sizes=x.dims, suffix="order", is_positive=x.is_positive,
                )  # fmt: skip
        return x

    def reshaped(self, x: Tensor, target: Sequence[Dim], layout: Layout, suffix: str = "") -> Tensor:
        """Returns a tensor whose elements, in Keras' order, have the sizes `target`, in Keras' order too.

        One that is reshaped several times is so only the last time, and not at all where it ends as it began.
        """
        made = self._reshaped(self._before.get(id(x.keras), x), target, layout, suffix)
        if made.keras is not x.keras:
            self._before.setdefault(id(made.keras), self._before.get(id(x.keras), x))
            self._held.append(made.keras)
        return made

    def _reshaped(self, x: Tensor, target: Sequence[Dim], layout: Layout, suffix: str) -> Tensor:
        dims = [target[layout.order.index(axis)] for axis in range(layout.rank)]
        here = [x.dims[axis] for axis in x.layout.order]
        kept: dict[str, Any] = {"layout": layout, "sizes": dims, "suffix": suffix, "is_positive": x.is_positive}
        if here == list(target):
            return Tensor(x.keras, layout, tuple(dims), x.is_positive)
        if target and here and same(here[0], target[0]) and all(map(is_number, target[1:])):
            return self.layer(keras.layers.Reshape, x, target_shape=[int(each) for each in target[1:]], **kept)
        wanted = [int(each) if is_number(each) else _source(each, here) for each in target]
        if sum(each == -1 for each in wanted) > 1:
            wanted = [
                "0" if each == -1 and size == here[0] else each for each, size in zip(wanted, target, strict=True)
            ]
        if sum(each == -1 for each in wanted) > 1:
            raise Unsupported(f"it reshapes {x.dims} to {tuple(dims)}, and more than one of these sizes is not known")
        if any(isinstance(each, str) for each in wanted):
            return self.layer(ReshapeLike, x, target_shape=wanted, **kept)
        return self.function(keras.ops.reshape, x, wanted, **kept)

    def together(self, *values: Value) -> tuple[list[Tensor | Array], Layout, tuple[Dim, ...]]:
        """Returns values that are computed with element by element: of one rank, in one order, and their common sizes.

        Tensors stay tensors and arrays arrays, which have as many axes, or none where they are single numbers.
        """
        tensors = [value for value in values if isinstance(value, Tensor)]
        rank = max(len(value.dims) if isinstance(value, Tensor) else np.ndim(value) for value in values)
        largest = max(tensors, key=lambda each: (each.rank, product([d if is_number(d) else 10**6 for d in each.dims])))
        layout = largest.layout
        if layout.rank < rank:
            layout = self.widened(largest, rank).layout
        found: list[Tensor | Array] = []
        for value in values:
            if isinstance(value, Tensor):
                wide = self.widened(value, rank)
                found.append(self.arranged(wide, _for_sizes(layout, wide.dims)))
            elif np.ndim(value) == 0:
                found.append(self.numbers(value))
            else:
                array = self.numbers(value)
                found.append(layout.arrange(array.reshape((1,) * (rank - array.ndim) + array.shape)))
        return found, layout, self._broadcast([*values], rank)

    def widened(self, x: Tensor, rank: int) -> Tensor:
        """Returns a tensor with axes of one element before its own."""
        more = rank - x.rank
        if not more:
            return x
        layout = Layout(
            (*range(more), *(axis + more for axis in x.layout.order)),
            tuple((axis + more, each) for axis, each in x.layout.shuffles),
        )
        return self.reshaped(x, [1] * more + [x.dims[axis] for axis in x.layout.order], layout, "widen")

    def _broadcast(self, values: Sequence[Value], rank: int) -> tuple[Dim, ...]:
        shapes = [value.dims if isinstance(value, Tensor) else np.shape(value) for value in values]
        shapes = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
        found = []
        for sizes in zip(*shapes, strict=True):
            large = [size for size in sizes if size != 1]
            numbers = [size for size in large if is_number(size)]
            found.append(numbers[0] if numbers else large[0] if large else 1)
        return tuple(found)


def _for_sizes(layout: Layout, dims: Sequence[Dim]) -> Layout:
    """Returns a layout without the order of elements along axes that have only one."""
    return Layout(layout.order, tuple(each for each in layout.shuffles if dims[each[0]] != 1))


def _told(axis: int, size: Dim) -> int | None:
    """Returns a size to write in an example: of what varies, the batch may do so, and another is a picture's side."""
    return int(size) if is_number(size) else 224 if axis else None


def _bare(value: Any) -> Any:
    return value.keras if isinstance(value, Tensor) else value


def _source(size: Dim, here: Sequence[Dim]) -> int | str:
    """Returns where a size that varies comes from: "0" for that of axis 0; -1 where it is what remains."""
    return next((str(place) for place, each in enumerate(here) if place and each == size), -1)


def _was_learned(weights: Mapping[str, Array]) -> bool:
    """Returns whether weights are no longer as they begin: nets have many arrays of ones and of zeros, which a file may
    have once for all of them, and layers that read one such array are not one layer for that.
    """
    return any(array.size > 1 and bool((array != array.reshape(-1)[0]).any()) for array in weights.values())


def _follows_the_same(layer: keras.Layer, tensors: Sequence[keras.KerasTensor]) -> bool:
    """Returns whether tensors are what the same layers put out as a layer read before, called once more."""
    before = layer._inbound_nodes[0].input_tensors
    return len(before) == len(tensors) and all(
        one is not other and one._keras_history.operation is other._keras_history.operation
        for one, other in zip(before, tensors, strict=True)
    )


@contextmanager
def _initialized(layer: keras.Layer, weights: Mapping[str, Array]) -> Iterator[None]:
    """Has a layer begin with weights as it is built, and its own initializers in its configuration all the same."""
    own = {f"{name}_initializer": None for name in weights}
    for name, array in weights.items():
        attribute = f"{name}_initializer"
        own[attribute] = getattr(layer, attribute)
        setattr(layer, attribute, _given(array))
    yield
    for attribute, initializer in own.items():
        setattr(layer, attribute, initializer)


def _given(array: Array) -> Callable[..., Any]:
    def initial(shape: Sequence[int], dtype: Any = None) -> Any:
        if tuple(shape) != array.shape:
            raise Unsupported(f"its weights have the shape {array.shape}, and {tuple(shape)} was expected")
        return keras.ops.convert_to_tensor(np.ascontiguousarray(array), dtype=dtype)

    return initial
