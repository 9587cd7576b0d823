"""Products of matrices: MatMul, Gemm and Einsum. What multiplies by weights is a Dense, or an EinsumDense.

Where tensors are multiplied, a formula of letters says which axes meet, in whatever order Keras holds them: none moves.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import PATTERN, Node
from zoo.converters.importing.layers import Offset
from zoo.converters.importing.operators.elementwise import add
from zoo.converters.importing.operators.operands import (
    cast,
    in_order,
    is_float,
    mapped,
    rank_of,
    sized,
    without_axes,
)
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Dim, Layout, Tensor, Value, is_number


@operator("MatMul", newest=13)
def matmul(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns a Dense where one side is a matrix of weights, on whichever side; else a product of tensors."""
    if isinstance(one, Tensor) and _is_kernel(other, one):
        return contracted(b, one, one.rank - 1, b.numbers(np.asarray(other)))
    if isinstance(other, Tensor) and _is_kernel(one, other) and other.rank > 1:
        return contracted(b, other, other.rank - 2, b.numbers(np.asarray(one)).T)
    like = one if isinstance(one, Tensor) else other
    assert isinstance(like, Tensor)
    if isinstance(one, Tensor) and not isinstance(other, Tensor) and is_float(one.dtype):
        found = _by_stack(b, one, b.numbers(np.asarray(other)))
        if found is not None:
            return found
    return multiplied(b, b.tensor(one, like), b.tensor(other, like))


@operator("Dense", newest=0, domain=PATTERN)
def dense(b: Builder, node: Node, x: Tensor, kernel: Array, bias: Array) -> Tensor:
    """Returns a Dense with its bias."""
    return contracted(b, x, x.rank - 1, b.numbers(kernel), b.numbers(bias))


def _is_kernel(array: Value, x: Tensor) -> bool:
    return not isinstance(array, Tensor) and np.ndim(array) == 2 and is_float(x.dtype) and np.size(array) > 0


def contracted(b: Builder, x: Tensor, axis: int, kernel: Array, bias: Array | None = None) -> Tensor:
    """Returns a tensor multiplied by a matrix along one axis, which is as long then as the matrix has columns.

    It stays where it is: along the last axis of Keras this is a Dense, along another one an EinsumDense.
    """
    if shuffle := x.layout.shuffle(axis):
        kernel = kernel[list(shuffle)]
    x = sized(b, x, axis, kernel.shape[0])
    if not x.layout.axis(axis):  # the batch, to a layer: the axis goes last
        x = b.arranged(x, Layout((*x.layout.order[1:], axis), x.layout.shuffles))
    place, count = x.layout.axis(axis), kernel.shape[1]
    layout = x.layout.with_shuffle(axis, None)
    sizes = [count if at == axis else each for at, each in enumerate(x.dims)]
    weights = {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}
    settings: dict[str, Any] = {"weights": weights, "sizes": sizes, "layout": layout}
    if x.rank == 1:
        row = b.reshaped(x, [1, x.dims[0]], Layout.plain(2), "row")
        found = b.layer(
            layers.Dense, row, units=count, use_bias=bias is not None, weights=weights, layout=Layout.plain(2)
        )  # fmt: skip
        return b.reshaped(found, [count], Layout.plain(1), "vector")
    if place == x.rank - 1:
        return b.layer(layers.Dense, x, units=count, use_bias=bias is not None, **settings)
    letters = string.ascii_lowercase[: x.rank]
    into = letters.replace(letters[place], "z")
    shape = [int(sizes[at]) if is_number(sizes[at]) else None for at in layout.order[1:]]
    found = b.layer(
        layers.EinsumDense, x, equation=f"{letters},{letters[place]}z->{into}", output_shape=shape,
        **{**settings, "weights": {"kernel": kernel}},
    )  # fmt: skip
    if bias is None:
        return found
    bias = bias.reshape(-1, *[1] * (x.rank - place - 1))  # an Offset, for EinsumDense may add it along another axis
    return b.layer(Offset, found, layout=layout, sizes=sizes, weights={"offset": bias}, shape=bias.shape, suffix="bias")


def _by_stack(b: Builder, x: Tensor, stack: Array) -> Tensor | None:
    """Returns a tensor multiplied by a stack of matrices, one for each place along axes that both have, as weights.

    None where these would be the batch's, or are not as many as the tensor's.
    """
    if stack.ndim < 3 or stack.ndim > x.rank:
        return None
    many = [at for at in range(stack.ndim - 2) if stack.shape[at] != 1]
    axes = [at + x.rank - stack.ndim for at in many]
    if any(x.dims[axis] != stack.shape[at] for at, axis in zip(many, axes, strict=True)):
        return None
    if not x.layout.axis(x.rank - 1) or any(not x.layout.axis(axis) for axis in axes):
        return None
    if not many:
        return contracted(b, x, x.rank - 1, stack.reshape(stack.shape[-2:]))
    x = in_order(b, x, [*axes, x.rank - 1])
    letters = string.ascii_lowercase[: x.rank]
    kernel = "".join(letters[axis] for axis in axes) + letters[-1] + "z"
    inside = "".join(letters[axis] for axis in x.layout.order)
    sizes = [*x.dims[:-1], stack.shape[-1]]
    shape = [int(sizes[axis]) if is_number(sizes[axis]) else None for axis in x.layout.order[1:]]
    array = stack.reshape([stack.shape[at] for at in many] + list(stack.shape[-2:]))
    return b.layer(
        layers.EinsumDense, x, equation=f"{inside},{kernel}->{inside.replace(letters[-1], 'z')}", output_shape=shape,
        weights={"kernel": array}, sizes=sizes, layout=x.layout,
    )  # fmt: skip


def multiplied(b: Builder, one: Tensor, other: Tensor) -> Tensor:
    """Returns the product of two tensors of matrices, or of vectors."""
    kind = one.dtype
    if not is_float(kind) and kind not in ("int32", "int64"):
        one, other = (cast(b, each, "int64") for each in (one, other))
    one, other = (in_order(b, each, range(each.rank)) for each in (one, other))
    sizes = _product_sizes(one.dims, other.dims)
    is_one_to_one = one.rank == other.rank > 1 and list(one.dims[:-2]) == list(other.dims[:-2])
    if is_one_to_one and not (one.layout.is_plain and other.layout.is_plain):
        return cast(b, _in_place(b, one, other, sizes), kind)
    one, other = b.plain(one), b.plain(other)
    return cast(b, b.function(ops.matmul, one, other, layout=Layout.plain(len(sizes)), sizes=sizes), kind)


def _product_sizes(one: Sequence[Dim], other: Sequence[Dim]) -> list[Dim]:
    """Returns the sizes of a product of matrices, or of vectors."""
    rows, columns = list(one[-2:-1]), list(other[-1:]) if len(other) > 1 else []
    stacks = [list(one[:-2]), list(other[:-2])]
    longest = max(map(len, stacks))
    stacks = [[1] * (longest - len(each)) + each for each in stacks]
    return [y if x == 1 else x for x, y in zip(*stacks, strict=True)] + rows + columns


def _in_place(b: Builder, one: Tensor, other: Tensor, sizes: Sequence[Dim]) -> Tensor:
    """Returns a product of tensors that lie in orders of their own; it lies as that one of them that is not plain."""
    letters = string.ascii_lowercase[: one.rank]
    rows, inner, columns = letters[-2], letters[-1], "z"
    first = "".join(letters[axis] for axis in one.layout.order)
    names = letters[:-2] + inner + columns
    second = "".join(names[axis] for axis in other.layout.order)
    out = first.replace(inner, columns) if other.layout.is_plain else second.replace(inner, rows)
    layout = Layout(tuple((letters[:-1] + columns).index(each) for each in out))
    return b.function(ops.einsum, f"{first},{second}->{out}", one, other, layout=layout, sizes=sizes)


# --- Gemm ---


@operator("Gemm", newest=13)
def gemm(b: Builder, node: Node, one: Value, other: Value, bias: Value | None = None) -> Tensor:
    """Returns a Dense where one matrix is weights, with its bias where that is a row; else a product and a sum."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    one = _turned(one) if node.get("transA", 0) else one
    other = _turned(other) if node.get("transB", 0) else other
    if isinstance(one, Tensor) and _is_kernel(other, one):
        kernel = _scaled(b.numbers(np.asarray(other)), alpha)
        row = _row(bias, kernel.shape[1], beta)
        found = contracted(b, one, 1, kernel, row)
        bias = None if row is not None else bias
    elif isinstance(other, Tensor) and _is_kernel(one, other):
        found = contracted(b, other, 0, _scaled(b.numbers(np.asarray(one)).T, alpha))
    else:
        like = one if isinstance(one, Tensor) else other
        assert isinstance(like, Tensor)
        found = multiplied(b, b.tensor(one, like), b.tensor(other, like))
        found = found if alpha == 1 else mapped(b, ops.multiply, found, _as(found, alpha), suffix="alpha")
    if bias is None:
        return found
    if isinstance(bias, Tensor):
        bias = bias if beta == 1 else mapped(b, ops.multiply, bias, _as(bias, beta), suffix="beta")
    else:
        bias = _scaled(b.numbers(np.asarray(bias)), beta)
    return add(b, node, found, bias)  # type: ignore[no-any-return]


def _turned(value: Value) -> Value:
    if not isinstance(value, Tensor):
        return np.asarray(value).T
    return Tensor(value.keras, value.layout.transposed((1, 0)), value.dims[::-1], value.is_positive)


def _scaled(array: Array, factor: float) -> Array:
    return array if factor == 1 else (array * factor).astype(array.dtype)


def _as(x: Tensor, factor: float) -> float | int:
    return factor if is_float(x.dtype) else int(factor)


def _row(bias: Value | None, columns: int, beta: float) -> Array | None:
    """Returns a bias that is the same for each row; None where there is none such."""
    if bias is None or isinstance(bias, Tensor) or (np.ndim(bias) == 2 and np.shape(bias)[0] != 1):
        return None
    array = np.asarray(bias)
    return np.broadcast_to(_scaled(array, beta).reshape(-1), (columns,))


# --- Einsum ---


@operator("Einsum", newest=28)
def einsum(b: Builder, node: Node, *values: Value) -> Tensor:
    """Returns what a formula of letters says: an EinsumDense where one of two operands is weights."""
    like = next(each for each in values if isinstance(each, Tensor))
    terms, out = _terms(node.get("equation"), [rank_of(each) for each in values])
    if len(values) == 2 and not isinstance(values[0], Tensor):
        values, terms = values[::-1], terms[::-1]
    if len(values) == 2 and isinstance(values[0], Tensor) and not isinstance(values[1], Tensor):
        found = _einsum_dense(b, values[0], b.numbers(np.asarray(values[1])), terms, out)
        if found is not None:
            return found
    tensors = [in_order(b, b.tensor(each, like), range(rank_of(each))) for each in values]
    sizes: dict[str, Dim] = {}
    for term, each in zip(terms, tensors, strict=True):
        for letter, size in zip(term, each.dims, strict=True):
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    for at, (term, each) in enumerate(zip(terms, tensors, strict=True)):
        if len(set(term)) < len(term):
            terms[at], tensors[at] = _diagonal(b, term, each)
    kept = ["".join(term[axis] for axis in each.layout.order) for term, each in zip(terms, tensors, strict=True)]
    kind, layout = tensors[0].dtype, Layout.plain(len(out))
    if not is_float(kind):
        tensors = [cast(b, each, "int64") for each in tensors]
    formula = f"{','.join(kept)}->{out}"
    return cast(b, b.function(ops.einsum, formula, *tensors, layout=layout, sizes=[sizes[each] for each in out]), kind)


def _terms(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Returns the letters of each operand and of the result, where dots have become letters too."""
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    free = [each for each in string.ascii_letters if each not in equation]
    dots = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term]
    many = max(dots, default=0)
    letters = "".join(free[:many])
    found = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        found.append(term.replace("...", letters[many - count :]))
    if not arrow:
        counted = "".join(found)
        right = "..." + "".join(sorted(each for each in set(left) - {",", "."} if counted.count(each) == 1))
    return found, right.replace("...", letters)


def _diagonal(b: Builder, term: str, x: Tensor) -> tuple[str, Tensor]:
    """Returns the diagonal of two axes with one letter, which goes last."""
    letter = next(each for each in term if term.count(each) > 1)
    if term.count(letter) > 2:
        raise Unsupported(f"its formula has one letter thrice: {term}")
    one, two = (at for at, each in enumerate(term) if each == letter)
    rest = [at for at in range(x.rank) if at not in (one, two)]
    layout = without_axes(x.layout, {one, two})
    layout = Layout((*layout.order, len(rest)))
    sizes = [*(x.dims[at] for at in rest), x.dims[one]]
    found = b.function(
        ops.diagonal,
        x,
        axis1=x.layout.axis(one),
        axis2=x.layout.axis(two),
        layout=layout,
        sizes=sizes,
        suffix="diagonal",
    )
    term = "".join(term[at] for at in rest) + letter
    return (term, found) if len(set(term)) == len(term) else _diagonal(b, term, found)


def _einsum_dense(b: Builder, x: Tensor, array: Array, terms: Sequence[str], out: str) -> Tensor | None:
    """Returns an EinsumDense; None where the batch is not the first letter of both sides and of nothing else."""
    inside = "".join(terms[0][axis] for axis in x.layout.order)
    is_simple = all(len(set(each)) == len(each) for each in (*terms, out)) and set(out) <= {*terms[0], *terms[1]}
    shared = set(terms[0]) & set(terms[1])
    if (
        not is_float(x.dtype)
        or not is_simple
        or not shared
        or inside[0] in terms[1]
        or out[:1] != inside[0]
        or len(out) < 2
    ):
        return None
    if set(terms[0]) - set(out) - set(terms[1]) or array.size < 2 or x.layout.shuffles:
        return None
    sizes = {**dict(zip(terms[0], x.dims, strict=True))}
    for letter, size in zip(terms[1], array.shape, strict=True):
        if sizes.setdefault(letter, size) != size:
            return None
    dims = [sizes[each] for each in out]
    shape = [int(each) if is_number(each) else None for each in dims[1:]]
    return b.layer(
        layers.EinsumDense, x, equation=f"{inside},{terms[1]}->{out}", output_shape=shape, weights={"kernel": array},
        sizes=dims, layout=Layout.plain(len(out)),
    )  # fmt: skip
