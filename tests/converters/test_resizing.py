"""Resize, Upsample and channels as places: layers of Keras where they are exactly that. onnxruntime judges them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import compiled, convert, graph, kinds, node, rand
from zoo.converters.parity import relative_error, run_onnx

from zoo.errors import IntegrityError

SIZES = (2, 3, 5, 7)
NONE = np.zeros(0, "float32")


def scales(*numbers: float) -> Any:
    return np.array([1, 1, *numbers], "float32")


def resize(mode: str = "nearest", coordinates: str = "half_pixel", inputs: str = "x roi s", **attributes: Any) -> Any:
    return node("Resize", inputs, mode=mode, coordinate_transformation_mode=coordinates, **attributes)


@pytest.mark.parametrize(
    ("made", "factors", "sizes", "expected"),
    [
        (resize(), scales(2, 3), SIZES, "UpSampling2D"),
        (resize(coordinates="asymmetric", nearest_mode="floor"), scales(2, 3), ("n", 3, "h", "w"), "UpSampling2D"),
        (resize(coordinates="asymmetric", nearest_mode="ceil"), scales(2, 3), ("n", 3, "h", "w"), "Resampling"),
        (resize(), scales(3), (2, 3, 7), "UpSampling1D"),
        (resize(), scales(3, 1, 2), (2, 3, 4, 5, 6), "UpSampling3D"),
        (resize("linear"), scales(2, 3), ("n", 3, "h", "w"), "Resampling"),  # Keras' own does not compile
        (resize("linear", "pytorch_half_pixel"), scales(0.4, 3), (2, 3, 5, 7), "Resizing"),
        (resize("linear", "align_corners"), scales(2, 3), ("n", 3, "h", "w"), "Resampling"),
        (resize("linear", "asymmetric"), scales(0.5, 1.5), SIZES, "Resampling"),
        (resize("linear", antialias=1), scales(0.4, 0.7), SIZES, "Resampling"),
        (resize("cubic"), scales(2, 0.7), ("n", 3, "h", "w"), "Resampling"),
        (resize("cubic", exclude_outside=1, cubic_coeff_a=-0.5), scales(2, 0.7), SIZES, "Resampling"),
        (resize("cubic", antialias=1), scales(0.4, 0.7), SIZES, "Resampling"),
    ],
)
def test_factors_are_an_upsampling_where_that_is_exact(
    made: Any, factors: Any, sizes: Any, expected: str, tmp_path: Path
) -> None:
    model, report = convert(graph([made], {"x": sizes}, 19, roi=NONE, s=factors), tmp_path)

    assert kinds(model) == [expected]
    assert report.transpositions == 0
    assert report.error <= 1e-5


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_the_nearest_is_what_the_node_says(coordinates: str, rounding: str) -> None:
    made = resize("nearest", coordinates, "x _ _ s", nearest_mode=rounding)
    convert(graph([made], {"x": (2, 3, 6, 7)}, 19, s=np.array([2, 3, 14, 4])))


def test_sizes_may_be_told_for_what_varies(tmp_path: Path) -> None:
    for mode, expected in (("linear", "Resizing"), ("nearest", "Resampling"), ("cubic", "Resampling")):
        made = resize(mode, "half_pixel", "x _ _ s", axes=[2, 3])
        model, _ = convert(graph([made], {"x": ("n", 3, "h", "w")}, 18, s=np.array([4, 9])), tmp_path)
        assert kinds(model) == [expected]


def test_sizes_that_are_computed_from_the_inputs_own_are_factors() -> None:
    nodes = [
        node("Shape", "x", "whole"), node("Slice", "whole two four", "places"), node("Mul", "places factor", "large"),
        node("Slice", "whole zero two", "rest"), node("Concat", "rest large", "s", axis=0), resize(inputs="x _ _ s"),
    ]  # fmt: skip
    arrays = {name: np.array([each]) for name, each in {"zero": 0, "two": 2, "four": 4, "factor": 2}.items()}
    model, _ = convert(graph(nodes, {"x": ("n", 3, "h", "w")}, 18, **arrays))
    assert kinds(model) == ["UpSampling2D"]


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_ratio_of_sides_may_be_kept(policy: str) -> None:
    made = resize("linear", "half_pixel", "x _ _ s", axes=[2, 3], keep_aspect_ratio_policy=policy)
    convert(graph([made], {"x": SIZES}, 18, s=np.array([9, 8])))


def test_a_part_is_cut_out_and_resized(tmp_path: Path) -> None:
    made = resize("linear", "tf_crop_and_resize", "x roi _ s", extrapolation_value=7.0)
    roi = np.array([0, 0, 0.2, -0.3, 1, 1, 0.8, 1.2], "float32")
    convert(graph([made], {"x": (2, 3, 6, 9)}, 13, roi=roi, s=np.array([2, 3, 5, 8])), tmp_path)


@pytest.mark.parametrize(
    ("made", "opset"),
    [
        (node("Upsample", "x", mode="nearest", scales=[1.0, 1.0, 2.0, 3.0]), 7),
        (node("Upsample", "x s"), 9),
        (node("Upsample", "x s", mode="linear"), 9),
        (node("Resize", "x s"), 10),
        (node("Resize", "x small"), 10),
    ],
)
def test_old_versions_have_rules_of_their_own(made: Any, opset: int) -> None:
    arrays = {"s": scales(2, 3), "small": scales(0.6, 0.5)}
    arrays = {name: each for name, each in arrays.items() if name in made.input}
    model, _ = convert(graph([made], {"x": SIZES}, opset, **arrays))
    is_exact = not made.input[1:] or made.input[1] == "s"
    assert kinds(model) == ["UpSampling2D" if is_exact and "linear" not in str(made) else "Resampling"]


def test_what_to_resize_to_must_be_known() -> None:
    with pytest.raises(IntegrityError, match="computed from the input"):
        convert(
            graph([resize()], {"x": SIZES, "s": (4,)}, 19, roi=NONE), examples={"x": rand(*SIZES), "s": scales(2, 2)}
        )


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_become_places_and_back(mode: str, tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c"), node("DepthToSpace", "c", "d", blocksize=2, mode=mode),
        node("SpaceToDepth", "d", blocksize=2),
    ]  # fmt: skip
    model, report = convert(graph(nodes, {"x": ("n", 3, "h", "w")}, 13, w=rand(12, 3, 2, 2)), tmp_path)
    assert [each for each in kinds(model) if each != "Take"] == ["Conv2D", "DepthToSpace", "SpaceToDepth"]
    assert report.transpositions == 0


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_feature_maps_become_as_large_as_others_that_vary(mode: str, tmp_path: Path) -> None:
    """As in U-Net and FPN: to the sizes of a map further below, whatever they are."""
    nodes = [
        *(node("Conv", "x w", "skip"), node("Conv", "skip v", "deep", strides=[2, 2]), node("Shape", "skip", "s")),
        *(
            node("Slice", "s two four zero", "places"),
            node("Shape", "deep", "t"),
            node("Slice", "t zero two zero", "first"),
        ),
        *(node("Concat", "first places", "sizes", axis=0), node("Resize", "deep _ _ sizes", "large", mode=mode)),
        node("Concat", "skip large", axis=1),
    ]
    numbers = {"zero": np.array([0]), "two": np.array([2]), "four": np.array([4])}
    net = graph(nodes, {"x": ("n", 3, "h", "w")}, 19, w=rand(4, 3, 2, 2), v=rand(5, 4, 3, 3), **numbers)
    model, report = convert(net)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    x = rand(2, 3, 17, 22)
    (expected,) = run_onnx(net.SerializeToString(), [{"x": x}], ["y"])

    assert report.transpositions == 0
    for each in (model, loaded):
        found = compiled(each, x.transpose(0, 2, 3, 1)).numpy().transpose(0, 3, 1, 2)
        assert relative_error(found, expected["y"]) < 1e-5
