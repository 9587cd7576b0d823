"""What is drawn of operators that join tensors, take them apart, and make them larger: Concat, Slice, Pad, Resize."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from random_draft import Draft


def concat(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 0)
    axis = 1 if x.rank > 1 and g.any(0.5) else g.number(0, x.rank - 1)
    rest = [each for at, each in enumerate(x.dims) if at != axis]
    others = [
        each for each in g.values
        if not each.is_size and each.rank == x.rank and each.kind == x.kind
        and [size for at, size in enumerate(each.dims) if at != axis] == rest
    ]  # fmt: skip
    values: list[Any] = [x, *(g.one(others) for _ in range(g.number(1, 2)))]
    if g.any(0.15) and x.is_float and None not in rest:
        shape = [g.number(1, 3) if at == axis else int(each or 0) for at, each in enumerate(x.dims)]
        values.append(g.weight(*shape))
    g.node("Concat", *g.rng.sample(values, len(values)), axis=axis - x.rank if g.opset >= 11 and g.any(0.3) else axis)


def split(g: Draft) -> None:
    x = g.value(lambda each: any(size is not None and size > 1 for size in each.dims))
    axis = g.one([at for at, each in enumerate(x.dims) if each is not None and each > 1])
    size = int(x.dims[axis] or 0)
    count = g.number(2, min(3, size))
    is_even = size % count == 0 and g.any(0.5)
    at = [0, *sorted(g.rng.sample(range(1, size), count - 1)), size]
    lengths = [high - low for low, high in itertools.pairwise(at)]
    axis = axis - x.rank if g.opset >= 11 and g.any(0.3) else axis
    if g.has("Split", "split"):
        g.node("Split", x, outputs=count, axis=axis, split=None if is_even else lengths)
    elif is_even or (g.opset >= 18 and g.any(0.3)):
        g.node("Split", x, outputs=count, axis=axis, num_outputs=count if g.opset >= 18 else None)
    else:
        g.node("Split", x, np.array(lengths), outputs=count, axis=axis)


def slice_(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 0)
    axes = g.some(range(x.rank))[:3]
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.dims[axis] or 3
        step = g.one([1, 1, 1, 2, -1, 3, -2] if x.dims[axis] else [1, 1, -1]) if g.opset >= 10 else 1
        low, high = g.number(0, size - 1), g.number(0, size)
        low, high = (min(low, high), max(low, high, low + 1))
        if step < 0:
            low, high = (size - 1, -size - 1) if g.any(0.6) else (high - 1, low - 1 if low else -size - 1)
        elif g.any(0.3):
            high = g.one([1 << 31, (1 << 63) - 1, 1000])
        elif g.any(0.3):
            low, high = low - size, high - size or 1 << 31
        starts, ends, steps = [*starts, low], [*ends, high], [*steps, step]
    axes = [each - x.rank if g.any(0.3) and g.opset >= 10 else each for each in axes]
    if g.has("Slice", "starts"):
        g.node("Slice", x, starts=starts, ends=[min(each, (1 << 31) - 1) for each in ends], axes=axes)
    else:
        kind = g.one([np.int64, np.int64, np.int32]) if max(ends) < 1 << 31 else np.int64
        arrays = [np.array(each, kind) for each in (starts, ends, axes, steps)]
        g.node("Slice", x, *(arrays if set(steps) != {1} or g.any(0.5) else arrays[:3]))


def gather(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 0 and bool(each.known()))
    axis = g.one(x.known())
    size = int(x.dims[axis] or 0)
    shape = g.one([(), (1,), (2,), (3,), (size,), (2, 2), (1, 1)])
    index = np.random.default_rng(g.number(0, 99)).integers(-size if g.opset >= 11 else 0, size, shape)
    g.node("Gather", x, index.astype(g.one([np.int64, np.int32])), axis=axis - x.rank if g.any(0.2) else axis)


def looked_up(g: Draft) -> None:
    index = g.value(lambda each: each.kind in ("int64", "int32") and int(each.samples[0].min()) >= 0)
    rows = max(int(each.max()) for each in index.samples[:2]) + 1
    if g.any(0.6):
        g.node("Gather", g.weight(rows, g.number(1, 5)), index)
    else:
        x = g.value(lambda each: each.is_float and each.rank > 0)
        axis = g.one([at for at, size in enumerate(x.dims) if size is not None and size >= rows])
        g.node("Gather", x, index, axis=axis)


def gather_more(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 1 and len(each.known()) >= each.rank - 1)
    if x.rank == 2 and x.is_float and None not in x.dims and g.any(0.2):
        g.node("Add", g.node("EyeLike", x, k=g.number(-1, 1)), x)
        return
    rng, how = np.random.default_rng(g.number(0, 99)), g.number(0, 3)
    axis = g.one(x.known())
    size = int(x.dims[axis] or 0)
    if how == 0 and None not in x.dims:
        shape = [g.number(1, int(each or 0)) for each in x.dims]
        g.node("GatherElements", x, rng.integers(-size, size, shape), axis=axis)
    elif how == 1 and None not in x.dims:
        depth = g.number(1, x.rank)
        index = np.stack([rng.integers(0, int(each or 0), (2, 3)) for each in x.dims[:depth]], axis=-1)
        g.node("GatherND", x, index)
    elif how == 2:
        keep = rng.integers(0, 2, size).astype(bool)
        keep[0] = True
        g.node("Compress", x, keep, axis=axis)
    elif x.is_float and None not in x.dims:
        index = rng.permutation(size)[: g.number(1, size)].astype(np.int64)
        shape = [len(index), *[int(each or 0) for each in x.dims[1:]]]
        if axis == 0:
            g.node("ScatterND", x, index[:, None], g.weight(*shape))
        else:
            where = np.broadcast_to(
                index.reshape([-1 if at == axis else 1 for at in range(x.rank)]),
                [len(index) if at == axis else int(each or 0) for at, each in enumerate(x.dims)],
            )
            g.node(
                "Scatter" if g.opset < 11 else "ScatterElements",
                x,
                np.ascontiguousarray(where),
                g.weight(*where.shape),
                axis=axis,
            )


def pad(g: Draft) -> None:
    x = g.floats()
    mode = g.one(["constant", "constant", "constant", "reflect", "edge", "wrap"])
    if mode == "wrap" and g.opset < 19:
        mode = "edge"
    pads = [0] * 2 * x.rank
    axes = g.some(range(1, x.rank) if g.any(0.8) and x.rank > 1 else range(x.rank))
    axes = list(range(2, x.rank)) if x.rank > 2 and g.any(0.4) else axes
    for axis in axes:
        most = 2 if mode == "constant" else min(2, (x.dims[axis] or 3) - 1)
        pads[axis], pads[axis + x.rank] = g.number(0, most), g.number(0, most)
        if g.any(0.1) and (x.dims[axis] or 0) > 2:
            pads[axis + x.rank] = -1
    number = g.one([None, None, 0.0, 1.5, -1.0])
    mode_ = None if mode == "constant" and g.any(0.5) else mode
    if g.has("Pad", "pads"):
        g.node("Pad", x, mode=mode_, pads=pads, value=number)
    else:
        fill = None if number is None or mode != "constant" else np.float32(number)
        if g.opset >= 18 and g.any(0.3):
            told = [pads[axis] for axis in axes] + [pads[axis + x.rank] for axis in axes]
            g.node("Pad", x, np.array(told), fill, np.array(axes), mode=mode_)
        else:
            g.node("Pad", x, np.array(pads), fill, mode=mode_)


def resize(g: Draft) -> None:
    x = g.pictures(3, 4, 4, 4, 5)
    places = x.rank - 2
    scales = (
        [g.one([2.0, 2.0, 3.0, 1.0, 1.5, 0.5])] * places
        if g.any(0.6)
        else [g.one([2.0, 1.0, 0.5, 2.5]) for _ in range(places)]
    )
    mode = g.one(["nearest", "nearest", "linear", "linear", "cubic"])
    if g.opset < 11:
        operator = "Upsample" if g.opset < 10 else "Resize"
        mode = "nearest" if mode == "cubic" else mode
        if g.opset < 10:
            scales = [max(1.0, each) for each in scales]
        if g.opset < 9:
            g.node(operator, x, mode=mode, scales=[1.0, 1.0, *scales])
        else:
            g.node(operator, x, np.array([1, 1, *scales], np.float32), mode=mode)
        return
    settings: dict[str, Any] = {"mode": mode}
    ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    if g.any(0.8):
        settings["coordinate_transformation_mode"] = g.one(ways + (["half_pixel_symmetric"] if g.opset >= 19 else []))
    if mode == "nearest" and g.any(0.6):
        settings["nearest_mode"] = g.one(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    if mode == "cubic":
        settings |= g.one([{}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}])
    if mode != "nearest" and g.opset >= 18 and g.any(0.2):
        settings["antialias"] = 1
    roi = None if g.opset >= 13 else np.zeros(0, np.float32)
    if None not in x.dims and g.any(0.4):
        sizes = [max(1, int(int(each or 0) * scale)) for each, scale in zip(x.dims[2:], scales, strict=True)]
        if g.opset >= 18 and g.any(0.3):
            g.node("Resize", x, None, None, np.array(sizes), axes=list(range(2, x.rank)), **settings)
        else:
            empty = None if g.opset >= 13 else np.zeros(0, np.float32)
            g.node("Resize", x, roi, empty, np.array([*x.dims[:2], *sizes]), **settings)
    else:
        g.node("Resize", x, roi, np.array([1, 1, *scales], np.float32), **settings)


def tile(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 0)
    times = [1] * x.rank
    for axis in g.some(range(1, x.rank) if x.rank > 1 and g.any(0.8) else range(x.rank))[:2]:
        times[axis] = g.number(1, 3)
    g.node("Tile", x, np.array(times))


def expand(g: Draft) -> None:
    x = g.value()
    wanted = [g.number(2, 3) if each == 1 and g.any(0.7) else g.one([1, each]) if each else 1 for each in x.dims]
    if g.any(0.2):
        wanted = [g.number(1, 2), *wanted]
    elif g.any(0.2):
        wanted = wanted[1:]
    g.node("Expand", x, np.array(wanted, np.int64))


def depth_and_space(g: Draft) -> None:
    x = g.pictures(4)
    mode = g.one([None, "DCR", "CRD"]) if g.opset >= 11 else None
    if g.any(0.5):
        g.node("DepthToSpace", x, blocksize=2, mode=mode)
    else:
        g.node("SpaceToDepth", x, blocksize=g.one([2, 2, 3]))


PIECES = {
    concat: 4, split: 2, slice_: 3, gather: 2, looked_up: 1, gather_more: 1, pad: 2, resize: 2, tile: 1, expand: 1,
    depth_and_space: 1,
}  # fmt: skip
