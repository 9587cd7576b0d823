"""What is drawn of products of matrices, attention, and recurrent nets."""

from __future__ import annotations

from typing import Any

import numpy as np
from random_draft import Draft, Refused
from random_layers import computed


def gemm(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank == 2 and each.dims[1] is not None)
    turned = g.any(0.15)
    width, out = x.dims[0 if turned else 1], g.number(1, 7)
    if width is None:
        raise Refused("what is summed up is open")
    is_turned = g.any(0.5)
    w = g.weight(*((out, width) if is_turned else (width, out)), scale=0.5)
    rows = x.dims[1 if turned else 0]
    shapes = [(out,), (1, out), (1,), (), *([(rows, out), (rows, 1)] if rows else [])]
    bias = g.weight(*g.one(shapes)) if g.any(0.7) else None
    settings: dict[str, Any] = {"alpha": g.one([None, 0.5]), "beta": g.one([None, 2.0])} if g.any(0.3) else {}
    if bias is None and g.version("Gemm") < 11:
        bias = g.weight(out)
    g.node("Gemm", x, computed(g, w), bias, transA=int(turned) or None, transB=int(is_turned) or None, **settings)


def gemm_of_two(g: Draft) -> None:
    x = g.floats(2)
    y = g.value(lambda each: each.is_float and each.rank == 2 and set(each.dims) & set(x.dims) != set())
    one, other = int(g.any(0.5)), int(g.any(0.5))
    bias = g.floats() if g.any(0.3) else np.float32(1)
    g.node("Gemm", x, y, bias, transA=one, transB=other, alpha=0.3)


def matmul(g: Draft) -> None:
    x = g.floats()
    if not x.rank:
        raise Refused("it has no axes")
    width, rows = x.dims[-1], x.dims[-2] if x.rank > 1 else None
    how = g.number(0, 9)
    if how < 5 and width:
        y = g.node("MatMul", x, computed(g, g.weight(width, g.number(1, 6), scale=0.4)))
        if g.any(0.6):
            g.node("Add", *(g.rng.sample([y, g.weight(int(y.dims[-1] or 1))], 2)))
    elif how < 7 and rows:
        g.node("MatMul", g.weight(g.number(1, 5), rows, scale=0.4), x)
    elif how < 8 and width:
        g.node("MatMul", x, g.weight(width))
    elif width and x.rank > 2:
        stack = [each if each and g.any(0.6) else 1 for each in x.dims[:-2]][g.number(0, x.rank - 3) :]
        g.node("MatMul", x, g.weight(*stack, width, g.number(1, 4), scale=0.4))


def matmul_of_two(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 1)
    permutation = list(range(x.rank))
    permutation[-2:] = permutation[:-3:-1]
    other = g.value(lambda each: each.is_float and each.rank > 1 and each.dims[-1] == x.dims[-1])
    if g.any(0.3):
        other = g.value(lambda each: each.is_float and each.rank > 0 and each.dims[-1] is not None)
        scores = g.node("MatMul", x, other)
    else:
        order = list(range(other.rank))
        order[-2:] = order[:-3:-1]
        scores = g.node("MatMul", x, g.node("Transpose", other, perm=order))
    if g.any(0.5):
        scores = g.node(
            "Softmax", g.node("Mul", scores, np.float32(0.4)), axis=-1 if g.opset >= 13 else scores.rank - 1
        )
        if scores.rank == other.rank:
            g.node("MatMul", scores, other)


def attention(g: Draft) -> None:
    """As exporters write it, with heads."""
    x = g.value(lambda each: each.is_float and each.rank == 3 and each.dims[2] is not None and each.dims[2] % 2 == 0)
    width = int(x.dims[2] or 0)
    length = x.dims[1]
    shape = np.array([0, -1 if length is None else length, 2, width // 2])
    parts = []
    for permutation in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        y = g.node("Add", g.node("MatMul", x, g.weight(width, width, scale=0.4)), g.weight(width))
        parts.append(g.node("Transpose", g.node("Reshape", y, shape), perm=permutation))
    scores = g.node("MatMul", parts[0], parts[1])
    scores = g.node("Div", scores, np.float32(1.5)) if g.any(0.5) else g.node("Mul", scores, np.float32(0.7))
    if length is not None and g.any(0.3):
        scores = g.node("Add", scores, np.triu(np.full((length, length), -1e4, np.float32), 1))
    out = g.node("MatMul", g.node("Softmax", scores, axis=-1 if g.opset >= 13 else 3), parts[2])
    g.node(
        "Reshape", g.node("Transpose", out, perm=[0, 2, 1, 3]), np.array([0, -1 if length is None else length, width])
    )


def attention_operator(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank in (3, 4) and None not in each.dims[2:])
    y = g.value(lambda each: each.is_float and each.dims == x.dims)
    if x.rank == 4:
        g.node("Attention", x, y, y, is_causal=g.one([None, 1]), scale=g.one([None, 0.5]))
        return
    heads = g.one([each for each in (1, 2, 3) if int(x.dims[2] or 0) % each == 0])
    g.node("Attention", x, y, y, q_num_heads=heads, kv_num_heads=heads, softcap=g.one([None, 2.0]))


def einsum(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and 0 < each.rank < 5 and None not in each.dims[1:])  # sums of few
    letters = "abcd"[: x.rank]
    how = g.number(0, 3)
    last = x.dims[-1]
    if how == 0:
        kept = "".join(g.rng.sample(letters, g.number(1, x.rank)))
        g.node("Einsum", x, equation=f"{letters}->{kept}")
    elif how == 1 and last is not None:
        into = g.rng.sample(letters[:-1] + "z", x.rank) if g.any(0.3) else letters[:-1] + "z"
        g.node("Einsum", x, g.weight(last, g.number(1, 4)), equation=f"{letters},{letters[-1]}z->{''.join(into)}")
    elif how == 2 and x.rank > 1:
        g.node("Einsum", x, x, equation=f"...{letters[-1]},...{letters[-1]}->...")
    else:
        y = g.value(lambda each: each.is_float and each.dims == x.dims)
        into = "".join(g.rng.sample(letters, g.number(1, x.rank)))
        g.node("Einsum", x, y, equation=f"{letters},{letters}->{into}")


# --- recurrent nets ---


def recurrent(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank == 3 and each.dims[2] is not None)
    if g.any(0.5):
        x = g.node("Transpose", x, perm=[1, 0, 2])
    if x.dims[2] is None:
        raise Refused("how much goes in is open")
    operator, gates = g.one([("LSTM", 4), ("LSTM", 4), ("GRU", 3), ("GRU", 3), ("RNN", 1)])
    direction = g.one(["forward", "forward", "reverse", "bidirectional"])
    units, many, width = g.number(1, 4), 2 if direction == "bidirectional" else 1, int(x.dims[2])
    settings: dict[str, Any] = {"hidden_size": units}
    if direction != "forward" or g.any(0.3):
        settings["direction"] = direction
    if operator == "GRU" and g.any(0.6):
        settings["linear_before_reset"] = 1
    w = g.weight(many, gates * units, width, scale=0.4)
    r = g.weight(many, gates * units, units, scale=0.4)
    bias = g.weight(many, 2 * gates * units, scale=0.3) if g.any(0.8) else None
    first: list[Any] = []
    if g.any(0.25) and x.dims[1] is not None:
        first = [None, *(g.weight(many, x.dims[1], units) for _ in range(2 if operator == "LSTM" else 1))]
    out, *last = g.node(operator, x, w, r, bias, *first, outputs=3 if operator == "LSTM" else 2, **settings)
    if many == 1 and g.any(0.7):
        if g.has("Squeeze", "axes"):
            g.node("Squeeze", out, axes=[1])
        else:
            g.node("Squeeze", out, np.array([1]))
    elif g.any(0.5):
        out = g.node("Transpose", out, perm=[0, 2, 1, 3])
        g.node("Reshape", out, np.array([0, -1 if out.dims[1] is None else out.dims[1], many * units]))
    if last and g.any(0.3):
        g.node("Identity", last[0])


PRODUCTS = {
    gemm: 3, gemm_of_two: 1, matmul: 3, matmul_of_two: 2, attention: 1, attention_operator: 1, einsum: 2, recurrent: 2,
}  # fmt: skip
