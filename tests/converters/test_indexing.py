"""Gather, Slice, Split, Concat, Pad and their like: what lies where, whatever the order in which Keras holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

from zoo.errors import IntegrityError

CONV = node("Conv", "x w", "c")
FLAT = [CONV, node("Flatten", "c", "f")]
W, V = rand(4, 3, 2, 2), rand(5, 4, 2, 2)
X = {"x": ("n", 3, 6, 8)}
FAR = 2**63 - 1


def ints(*numbers: int) -> Any:
    return np.array(numbers, "int64")


def test_a_table_of_weights_is_an_embedding(tmp_path: Path) -> None:
    nodes = [node("Gather", "t i", "e"), node("Gather", "p k", "q"), node("Add", "e q")]
    arrays = {"t": rand(11, 6), "p": rand(20, 6), "k": np.arange(7)}
    model, _ = convert(graph(nodes, {"i": ("n", 7)}, types={"i": "int64"}, **arrays), tmp_path)
    assert kinds(model) == ["Embedding", "Offset"]
    assert model.count_params() == 11 * 6 + 7 * 6
    assert len(model.trainable_weights) == 2


def test_places_may_be_counted_from_the_end() -> None:
    x = np.array([[0, -1, 3], [-4, 2, 1]])
    for made in (node("Gather", "t i"), node("Gather", "t i", axis=1)):
        convert(graph([made], {"i": (2, 3)}, types={"i": "int64"}, t=rand(5, 4)), examples={"i": x})


@pytest.mark.parametrize("index", [np.int64(0), np.int64(-1), ints(2, 0), np.array([[0, -2], [3, 1]])])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_parts_of_a_picture_are_taken_where_they_lie(index: Any, axis: int, tmp_path: Path) -> None:
    model, report = convert(graph([CONV, node("Gather", "c i", axis=axis)], X, w=W, i=index), tmp_path)
    assert kinds(model)[:2] == ["Conv2D", "Take"]
    assert report.transpositions == (1 if len(model.operations) > 3 else 0)


def test_what_lies_in_another_order_is_taken_by_turned_places(tmp_path: Path) -> None:
    _model, report = convert(graph([*FLAT, node("Gather", "f i", axis=1)], X, w=W, i=ints(0, 5, -1, 77)), tmp_path)
    assert report.transpositions == 0


@pytest.mark.parametrize(
    ("data", "index", "made"),
    [
        ((4, 5, 6), np.array([[[0, -1]], [[2, 3]]]), node("GatherElements", "x i", axis=1)),
        ((2, 5, 6), np.array([[0, -1], [1, 2]]), node("GatherND", "x i")),
        ((2, 5, 6), np.array([[[3], [-1], [0]], [[1], [2], [4]]]), node("GatherND", "x i", batch_dims=1)),
        ((2, 5, 6, 3), np.array([[[3, 0], [-1, 1]], [[1, 2], [2, -2]]]), node("GatherND", "x i", batch_dims=1)),
        ((2, 2, 6, 3), np.array([[[3], [1]], [[1], [2]]]), node("GatherND", "x i", batch_dims=2)),
    ],
)
def test_places_for_each_element(data: Any, index: Any, made: Any, tmp_path: Path) -> None:
    convert(graph([made], {"x": data}, i=index), tmp_path)
    model = graph([made], {"x": data, "i": index.shape}, types={"i": "int64"})
    convert(model, examples={"x": rand(*data), "i": index})


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), (1,), (1,)),
        ((-3, 1), (FAR, -1), (3, 2), (2, 1)),
        ((-1,), (-FAR,), (2,), (-1,)),
        ((4, 3), (0, -FAR), (2, 1), (-2, -1)),
        ((0,), (FAR,), (0,), (1,)),
        ((2,), (2,), (3,), (1,)),
    ],
)
def test_slices_of_a_picture(starts: Any, ends: Any, axes: Any, steps: Any, tmp_path: Path) -> None:
    arrays = {"s": ints(*starts), "e": ints(*ends), "a": ints(*axes), "t": ints(*steps)}
    _, report = convert(graph([CONV, node("Slice", "c s e a t")], X, w=W, **arrays), tmp_path)
    assert report.transpositions == 0


def test_slices_of_what_varies_and_of_what_lies_otherwise(tmp_path: Path) -> None:
    for start, end in ((1, FAR), (0, -1), (-2, FAR), (2, 5), (1, -2)):
        made = node("Slice", "x", starts=[start], ends=[end], axes=[1])
        convert(graph([made], {"x": ("n", "t", 3)}, 9))
    made = node("Slice", "f", starts=[7], ends=[50], axes=[1])
    convert(graph([*FLAT, made], X, 9, w=W), tmp_path)


def test_a_slice_to_a_size_that_is_computed() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s one", "t"),
        node("Sub", "t one", "m"),
        node("Slice", "x zero m one"),
    ]
    convert(graph(nodes, {"x": ("n", "t", 3)}, zero=ints(0), one=ints(1)))
    nodes[-1] = node("Gather", "x m", axis=1)
    convert(graph(nodes, {"x": ("n", "t", 3)}, one=ints(1)))


@pytest.mark.parametrize("axis", [1, 2])
def test_splits_and_concats_undo_each_other_where_they_lie(axis: int, tmp_path: Path) -> None:
    parts = {1: (1, 3), 2: (2, 3)}[axis]
    nodes = [CONV, node("Split", "c p", "a b", axis=axis), node("Relu", "b", "d"), node("Concat", "d a", axis=axis - 4)]
    model, report = convert(graph(nodes, X, 13, w=W, p=ints(*parts)), tmp_path)
    assert report.transpositions == 0
    assert kinds(model) == ["Conv2D", "Split", "ReLU", "Concatenate"]
    assert model.layers[-1].name == "y"


def test_a_split_by_number_leaves_the_rest_to_the_last(tmp_path: Path) -> None:
    made = node("Split", "x", "a b c", num_outputs=3, axis=1)
    convert(graph([made], {"x": ("n", 7)}, 18, "a b c"), tmp_path)
    convert(graph([*FLAT, node("Split", "f", "a b", axis=1)], X, 11, "a b", w=W), tmp_path)


def test_flattened_pictures_are_joined_as_they_lie(tmp_path: Path) -> None:
    nodes = [*FLAT, node("Conv", "x v", "d"), node("Flatten", "d", "g"), node("Concat", "f z g", "j", axis=1)]
    nodes += [node("Gemm", "j k")]
    model, report = convert(
        graph(nodes, {**X, "z": ("n", 5)}, w=W, v=rand(2, 3, 3, 3), k=rand(4 * 35 + 5 + 2 * 24, 6)), tmp_path
    )
    assert report.transpositions == 0
    assert "Dense" in kinds(model)


def test_a_class_token_is_a_weight_for_each_example(tmp_path: Path) -> None:
    nodes = [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Concat", "n one size", "to", axis=0)]
    nodes += [node("Expand", "token to", "t"), node("Concat", "t x", "j", axis=1), node("Add", "j places")]
    arrays = {"zero": ints(0), "one": ints(1), "size": ints(6), "token": rand(1, 1, 6), "places": rand(1, 5, 6)}
    model, _ = convert(graph(nodes, {"x": ("n", 4, 6)}, **arrays), tmp_path)
    assert kinds(model) == ["Token", "Concatenate", "Offset"]
    assert len(model.trainable_weights) == 2
    assert model(np.zeros((3, 4, 6), "float32")).shape == (3, 5, 6)


def test_an_array_among_pictures_is_repeated_for_each(tmp_path: Path) -> None:
    convert(graph([CONV, node("Concat", "c a", axis=1)], {"x": (1, 3, 6, 8)}, w=W, a=rand(1, 2, 5, 7)), tmp_path)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pads_of_all_kinds(mode: str, tmp_path: Path) -> None:
    made = node("Pad", "c p", mode=mode)
    model, report = convert(graph([CONV, made], X, 19, w=W, p=ints(0, 0, 1, 2, 0, 0, 3, 4)), tmp_path)
    assert report.transpositions == 0
    assert mode != "constant" or isinstance(model.layers[-1], keras.layers.ZeroPadding2D)
    convert(graph([CONV, made], X, 19, w=W, p=ints(0, 1, 0, 2, 0, 2, 3, 0)), tmp_path)


def test_pads_with_a_number_on_some_axes_and_negative_ones(tmp_path: Path) -> None:
    made = node("Pad", "c p v a")
    convert(graph([CONV, made], X, 18, w=W, p=ints(1, -2, 2, 1), v=np.float32(0.5), a=ints(1, -1)), tmp_path)
    convert(graph([node("Pad", "x", pads=[0, 1, 0, -1], value=2.0)], {"x": ("n", 5)}, 10))
    convert(graph([*FLAT, made], X, 18, w=W, p=ints(1, 2), v=np.float32(-1), a=ints(1)), tmp_path)


def test_repeats(tmp_path: Path) -> None:
    convert(graph([CONV, node("Tile", "c r")], X, w=W, r=ints(1, 2, 1, 3)), tmp_path)
    convert(
        graph([CONV, node("ReduceMax", "c", "m", axes=[2, 3]), node("Expand", "m s")], X, w=W, s=ints(4, 3, 5)),
        tmp_path,
    )
    convert(graph([*FLAT, node("Tile", "f r")], X, w=W, r=ints(1, 2)), tmp_path)


def test_positions_of_a_sequence_whose_length_varies(tmp_path: Path) -> None:
    nodes = [node("Shape", "i", "s"), node("Gather", "s one", "t"), node("Range", "zero t one", "r")]
    nodes += [node("Gather", "table i", "e"), node("Gather", "places r", "p"), node("Add", "e p")]
    arrays = {"zero": np.int64(0), "one": np.int64(1), "table": rand(9, 6), "places": rand(20, 6)}
    model, _ = convert(graph(nodes, {"i": ("n", "t")}, types={"i": "int64"}, **arrays), tmp_path)
    assert kinds(model).count("Embedding") == 2
    assert model(np.zeros((3, 13), "int64")).shape == (3, 13, 6)


@pytest.mark.parametrize("made", [node("OneHot", "i d v"), node("OneHot", "i d v", axis=1)])
def test_one_hot(made: Any, tmp_path: Path) -> None:
    for values in (np.float32([0, 1]), ints(-1, 5)):
        model = graph([made], {"i": (2, 3)}, types={"i": "int64"}, d=np.int64(4), v=values)
        convert(model, tmp_path, examples={"i": np.array([[0, 3, -1], [-4, 2, 1]])})


def test_triangles_and_scattering(tmp_path: Path) -> None:
    for upper, k in ((1, 0), (0, 1), (1, -1)):
        convert(graph([CONV, node("Trilu", "c k", upper=upper)], X, w=W, k=np.int64(k)), tmp_path)
    convert(graph([node("ScatterND", "x i u")], {"x": (4, 5)}, 16, i=np.array([[-1], [1]]), u=rand(2, 5)), tmp_path)
    made = node("ScatterElements", "x i u", axis=1)
    convert(graph([made], {"x": (4, 5)}, 16, i=np.array([[4, -3], [1, 2]]), u=rand(2, 2)), tmp_path)
    made = node("ReverseSequence", "x l", batch_axis=0, time_axis=1)
    convert(graph([made], {"x": (2, 5, 3)}, 10, l=ints(2, 5)), tmp_path)


def test_what_depends_on_values_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"node 'y' \(NonZero\).*depends on their values"):
        convert(graph([CONV, node("NonZero", "c")], X, w=W))


def test_edges_are_repeated_where_sizes_vary() -> None:
    model, _ = convert(
        graph([CONV, node("Pad", "c p", mode="edge")], {"x": ("n", 3, "h", "w")}, w=W, p=ints(0, 0, 2, 1, 0, 0, 0, 3))
    )

    assert model.output_shape == (None, None, None, 4)


def test_places_of_pictures_are_gathered_where_they_lie_for_any_batch() -> None:
    """As PyTorch gathers windows: places come first, and then batch and channels."""
    places = np.random.default_rng(0).integers(-5, 5, (3, 4, 2))
    nodes = [CONV, node("Transpose", "c", "t", perm=[2, 3, 0, 1]), node("GatherND", "t p", "g")]
    net = graph([*nodes, node("Transpose", "g", "u", perm=[2, 3, 0, 1]), node("Conv", "u v")], X, p=places, w=W, v=V)
    model, report = convert(net)

    assert report.transpositions == 0
    assert model.output_shape == (None, 2, 3, 5)


@pytest.mark.parametrize(
    ("start", "stop", "step"), [(0, 1000, 1), (2, 5, 1), (-1000, -2, 1), (5, 0, -1), (-2, -FAR, -2), (FAR, 1, -1)]
)
def test_slices_of_an_axis_that_varies_may_reach_beyond_it(start: int, stop: int, step: int) -> None:
    nodes = [node("Slice", "x a b c d", "s"), node("Reshape", "s r")]
    arrays = {"a": ints(start), "b": ints(stop), "c": ints(1), "d": ints(step), "r": ints(0, -1)}
    model, _ = convert(graph(nodes, {"x": ("n", "t", 4)}, **arrays))
    for length in (3, 8):
        x = rand(2, length, 4)
        np.testing.assert_array_equal(model(x), x[:, start : None if stop == -FAR else stop : step].reshape(2, -1))


def test_a_diagonal_that_may_lie_outside_is_refused() -> None:
    convert(graph([node("Trilu", "x k")], {"x": ("n", 4)}, k=np.int64(-1)))
    with pytest.raises(IntegrityError, match="diagonal -7 may lie outside"):
        convert(graph([node("Trilu", "x k")], {"x": ("n", 4)}, k=np.int64(-7)))
    model, _ = convert(graph([node("Trilu", "x k")], {"x": (3, 4)}, k=np.int64(-7)))
    assert model.output_shape == (3, 4)
