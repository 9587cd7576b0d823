"""The operator Attention: products, a softmax and more, as its definition has it; heads stay where Keras holds them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.operators.elementwise import add
from zoo.converters.importing.operators.joining import concat
from zoo.converters.importing.operators.operands import cast, combined, dtype_of, mapped, rank_of
from zoo.converters.importing.operators.products import multiplied
from zoo.converters.importing.operators.shaping import reshaped
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Tensor, Value, is_number


@operator("Attention", newest=25)
def attention(
    b: Builder,
    node: Node,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    lengths: Value | None = None,
) -> tuple[Tensor | None, ...]:
    """Returns what heads make of values, the keys and values with those of the past, and the scores, as asked."""
    like = next(each for each in (query, key, value) if isinstance(each, Tensor))
    is_flat = rank_of(query) == 3
    q, k, v = (b.tensor(each, like) for each in (query, key, value))
    if is_flat:
        heads, others = node.get("q_num_heads"), node.get("kv_num_heads")
        q, k, v = (_heads(b, each, many) for each, many in ((q, heads), (k, others), (v, others)))
    if past_key is not None and past_value is not None:
        joined = Node("Concat", "", node.name, (), (), {"axis": 2})
        k, v = concat(b, joined, past_key, k), concat(b, joined, past_value, v)
    present_key, present_value, groups = k, v, int(q.dims[1]) // int(k.dims[1])
    k, v = (_repeated(b, each, groups) for each in (k, v))
    past = 0 if past_key is None else past_key.dims[2] if isinstance(past_key, Tensor) else np.shape(past_key)[2]
    out, scores = _attended(b, node, q, k, v, mask, past if lengths is None else b.tensor(lengths, like))
    if is_flat:
        out = _transposed(out)
        out = reshaped(b, out, [*out.dims[:2], out.dims[2] * out.dims[3]])
    return out, present_key, present_value, scores


def _heads(b: Builder, x: Tensor, heads: int) -> Tensor:
    """Returns [batch, length, heads * size] as [batch, heads, length, size]."""
    return _transposed(reshaped(b, x, [*x.dims[:2], heads, int(x.dims[2]) // heads]))


def _transposed(x: Tensor, permutation: tuple[int, ...] = (0, 2, 1, 3)) -> Tensor:
    return Tensor(x.keras, x.layout.transposed(permutation), tuple(x.dims[at] for at in permutation), x.is_positive)


def _repeated(b: Builder, x: Tensor, groups: int) -> Tensor:
    """Returns keys or values once for each of the queries that share them."""
    if groups == 1:
        return x
    sizes = (x.dims[0], int(x.dims[1]) * groups, *x.dims[2:])
    return b.function(ops.repeat, x, groups, axis=x.layout.axis(1), layout=x.layout, sizes=sizes, suffix="shared")


def _attended(
    b: Builder, node: Node, q: Tensor, k: Tensor, v: Tensor, mask: Value | None, past: Any
) -> tuple[Tensor, Tensor]:
    scale = node.get("scale") or 1 / math.sqrt(int(q.dims[3]))
    stages = [multiplied(b, mapped(b, ops.multiply, q, scale, suffix="scaled"), _transposed(k, (0, 1, 3, 2)))]
    if cap := node.get("softcap", 0.0):
        curve = mapped(b, ops.tanh, mapped(b, ops.divide, stages[0], cap, suffix="uncapped"), suffix="tanh")
        stages.append(mapped(b, ops.multiply, curve, cap, suffix="capped"))
    else:
        stages += stages
    scores, hidden = _masked(b, node, stages[1], mask, past)
    stages.append(scores)
    kind = scores.dtype
    if precision := node.get("softmax_precision"):
        scores = cast(b, scores, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(precision)).name)
    last = scores.layout.axis(3)
    weights = b.layer(
        layers.Softmax, scores, layout=scores.layout, sizes=scores.dims, is_positive=True, suffix="softmax",
        axis=-1 if last == 3 else last,
    )  # fmt: skip
    weights = cast(b, weights, kind)
    if hidden:  # a row of which all is hidden is zero, and no NaN
        zero = np.asarray(0, kind)
        weights = combined(b, ops.where, mapped(b, ops.isnan, weights, suffix="is_empty"), zero, weights, suffix="safe")
    stages.append(weights)
    return multiplied(b, weights, v), stages[node.get("qk_matmul_output_mode", 0)]


def _masked(b: Builder, node: Node, scores: Tensor, mask: Value | None, past: Any) -> tuple[Tensor, bool]:
    """Returns scores that are -inf where nothing is to be seen, and whether there may be such places."""
    low, hidden = np.asarray(-np.inf, scores.dtype), False
    for visible in _windows(b, node, scores, past):
        scores, hidden = combined(b, ops.where, visible, scores, low, suffix="window"), True
    if mask is None:
        return scores, hidden
    is_short = (mask.dims if isinstance(mask, Tensor) else np.shape(mask))[-1] not in (1, scores.dims[3])
    if is_short:
        raise Unsupported("its mask is shorter than its keys")
    if dtype_of(mask) == "bool":
        return combined(b, ops.where, mask, scores, low, suffix="masked"), True
    if isinstance(mask, Tensor):
        return add(b, node, scores, mask), True
    return combined(b, ops.add, scores, mask, suffix="masked"), True


def _windows(b: Builder, node: Node, scores: Tensor, past: Any) -> list[Value]:
    """Returns which keys each query may see: up to as many as are filled, where `past` tells that of each example."""
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    if node.get("is_causal", 0):
        right = 0
    is_padded = isinstance(past, Tensor)
    if left < 0 and right < 0 and not is_padded:
        return []
    if not all(map(is_number, scores.dims[2:] if is_padded else (*scores.dims[2:], past))):
        raise Unsupported(
            "it hides what comes later in sequences whose lengths vary. Say how long they are (shapes=..., --shape)"
        )
    queries, keys = (np.arange(int(each), dtype=np.int64) for each in scores.dims[2:])
    ahead = keys[None] - queries[:, None]  # how far a key is ahead of a query
    if not is_padded:
        ahead = ahead - int(past)
        return [(ahead <= right if right >= 0 else True) & (ahead >= -left if left >= 0 else keys >= 0)]
    filled = reshaped(b, cast(b, past, "int64"), [past.dims[0], 1, 1, 1])
    found: list[Value] = [combined(b, ops.less, keys, filled, suffix="is_filled")]
    if right >= 0:
        found.append(combined(b, ops.less_equal, ahead + len(queries) - right, filled, suffix="is_past"))
    if left >= 0:
        found.append(combined(b, ops.greater_equal, ahead + len(queries) + left, filled, suffix="is_near"))
    return found
