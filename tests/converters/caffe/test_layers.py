"""Each layer of Caffe by itself, and every place where converters have gone wrong: NumPy says what Caffe computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_nets import alive, converted, difference, ran

from zoo.errors import IntegrityError

PICTURE = (2, 6, 7, 5)
CLOSE = 1e-5
CHANCE = np.random.default_rng(5)


def drawn(*shape: int) -> Any:
    return CHANCE.normal(size=shape)


def layer(kind: str, given: str = "", bottoms: str = "x", tops: str = "y", name: str = "y") -> str:
    bottom = " ".join(f'bottom: "{each}"' for each in bottoms.split())
    top = " ".join(f'top: "{each}"' for each in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottom} {top} {given} }}\n'


def net_of(layers: str, inputs: dict[str, Any]) -> str:
    heads = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in value.shape)
        + " } } }\n"
        for name, value in inputs.items()
    ]
    return "".join(heads) + layers


def judge(folder: Path, layers: str, x: Any = None, weights: dict[str, list[Any]] | None = None, **others: Any) -> Any:
    """Returns the ONNX model, of which each output has been compared with what Caffe computes."""
    inputs = {"x": drawn(*PICTURE) if x is None else x, **others}
    net = alive(net_of(layers, inputs), inputs, weights)
    names = list(dict.fromkeys(net.values))
    model = converted(folder, net.prototxt, net.file(), outputs=names)
    used = [net.inputs[each.name] for each in model.graph.input]
    for name, found in zip(names, ran(model, *used), strict=True):
        expected = net.values[name]
        if expected.ndim == 4 and expected.shape[2:] == (1, 1):
            expected = expected[:, :, 0, 0]  # classes at a single place come out as rows
        assert difference(found, expected) < CLOSE, name
    return model


def kinds(model: Any) -> list[str]:
    return [each.op_type for each in model.graph.node]


CONVOLUTIONS = [
    "num_output: 4 kernel_size: 3",
    "num_output: 4 kernel_size: 3 bias_term: false",
    "num_output: 4 kernel_size: 3 pad: 1 stride: 2",
    "num_output: 4 kernel_size: 2 stride: 3",  # rounded down, unlike a pool
    "num_output: 4 kernel_size: 3 pad: 2 dilation: 2",
    "num_output: 4 kernel_size: 3 kernel_size: 2",
    "num_output: 4 kernel_size: 3 kernel_size: 2 pad: 0 pad: 1 stride: 2 stride: 1 dilation: 1 dilation: 2",
    "num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0 stride_h: 1 stride_w: 2",
    "num_output: 4 kernel_size: 3 pad_h: 2",
    "num_output: 9 kernel_size: 3 group: 3",
    "num_output: 12 kernel_size: 3 group: 6 pad: 1",  # depthwise, two each
    "num_output: 4 kernel_size: 1",
    "num_output: 4 kernel_h: 7 kernel_w: 5",
    "num_output: 4 kernel_size: 3 axis: -3",
]


@pytest.mark.parametrize("given", CONVOLUTIONS)
def test_convolution(given: str, tmp_path: Path) -> None:
    model = judge(tmp_path, layer("Convolution", f"convolution_param {{ {given} }}"))
    assert kinds(model)[0] == "Conv"
    assert model.graph.node[0].name == "y"


@pytest.mark.parametrize("given", [*CONVOLUTIONS[:11], "num_output: 9 kernel_size: 4 stride: 2 pad: 1 group: 3"])
def test_deconvolution(given: str, tmp_path: Path) -> None:
    model = judge(tmp_path, layer("Deconvolution", f"convolution_param {{ {given} }}"), drawn(2, 6, 5, 4))
    assert kinds(model) == ["ConvTranspose"]


def test_depthwise_convolution_of_other_versions(tmp_path: Path) -> None:
    text = layer("DepthwiseConvolution", "convolution_param { num_output: 6 kernel_size: 3 }")
    judge(tmp_path, text, weights={"y": [drawn(6, 1, 3, 3), drawn(6)]})


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ("num_output: 5", PICTURE),
        ("num_output: 5 bias_term: false", PICTURE),
        ("num_output: 5 transpose: true", PICTURE),
        ("num_output: 5", (3, 8)),
        ("num_output: 5 transpose: true", (3, 8)),
        ("num_output: 5 axis: 2", PICTURE),
        ("num_output: 5 axis: 3 bias_term: false", PICTURE),
        ("num_output: 5 axis: -1 transpose: true", PICTURE),
        ("num_output: 30 transpose: true", (2, 30)),  # a square, of which no shape tells that it is turned
    ],
)
def test_inner_product(given: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    judge(tmp_path, layer("InnerProduct", f"inner_product_param {{ {given} }}"), drawn(*shape))


def geometries() -> list[tuple[str, tuple[int, int]]]:
    """Kernels, strides, pads and sizes: all small ones, of which every few is taken."""
    found = []
    for size in ((6, 6), (7, 5), (8, 11)):
        for kernel in (1, 2, 3, 4):
            for stride in (1, 2, 3, 4):
                for pad in range(min(kernel, 3)):
                    found.append((f"kernel_size: {kernel} stride: {stride} pad: {pad}", size))
    for given in (
        "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 0",
        "kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 0 pad_w: 1",  # clips along the axis without a pad too
        "kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 2 pad_h: 0 pad_w: 2",
        "kernel_size: 5 stride: 4 pad: 1",
        "kernel_size: 5 stride: 4 pad: 4",
    ):
        found += [(given, size) for size in ((6, 6), (7, 5), (8, 11), (9, 10))]
    return [*found, ("kernel_size: 7 stride: 2", (6, 6)), ("global_pooling: true", (6, 7))]


def is_outside(given: str, size: tuple[int, int]) -> bool:
    """Whether Caffe's last window begins outside of the picture, where no pad makes it take that one back."""
    told = dict(zip(given.split()[::2], given.split()[1::2], strict=True))
    if "kernel_size:" not in told or told.get("pad:", "0") != "0" or "round_mode:" in told:
        return False
    kernel, stride = int(told["kernel_size:"]), int(told["stride:"])
    return any(-(-(length - kernel) // stride) * stride >= length for length in size)


@pytest.mark.parametrize("rounding", ["", " round_mode: FLOOR", " ceil_mode: false"])
@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_pooling(kind: str, rounding: str, tmp_path: Path) -> None:
    count = 0
    for given, size in geometries():
        if is_outside(given + rounding, size) or (rounding and "kernel_size: 7" in given):
            continue
        text = layer(
            "Pooling", f"pooling_param {{ pool: {kind} {given}{rounding.replace('ceil_mode', 'round_mode')} }}"
        )
        text = text.replace("round_mode: false", "round_mode: FLOOR")
        net = alive(net_of(text, {"x": (x := drawn(2, 2, *size) - 3)}), {"x": x})  # below zero, where pads of zero show
        prototxt = net.prototxt.replace("round_mode: FLOOR", rounding.strip() or "round_mode: FLOOR")
        (found,) = ran(converted(tmp_path, prototxt, net.file()), x)
        expected = net.values["y"]
        assert difference(found.reshape(expected.shape), expected) < CLOSE, (given, size)
        count += 1
    assert count > 90


@pytest.mark.parametrize(
    "given", ["kernel_size: 1 stride: 3", "kernel_size: 3 pad: 3", "pool: STOCHASTIC kernel_size: 2"]
)
def test_pools_that_no_runtime_computes_are_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="Cannot convert layer 'y'"):
        converted(
            tmp_path,
            net_of(layer("Pooling", f"pooling_param {{ {given} }}"), {"x": drawn(1, 1, 5, 5)}),
            layer("ReLU").encode(),
        )


@pytest.mark.parametrize(
    "given",
    [
        "local_size: 5 alpha: 2 beta: 0.75",
        "local_size: 3 alpha: 5 beta: 0.5 k: 2",
        "local_size: 7 alpha: 1e-4 k: 3",
        "local_size: 1 alpha: 2",
        "",
        "local_size: 3 alpha: 5 norm_region: WITHIN_CHANNEL",
        "local_size: 5 alpha: 3 beta: 0.6 k: 4 norm_region: WITHIN_CHANNEL",  # where k is not used
        "local_size: 1 alpha: 3 norm_region: WITHIN_CHANNEL",
    ],
)
def test_local_response_normalization(given: str, tmp_path: Path) -> None:
    judge(tmp_path, layer("LRN", f"lrn_param {{ {given} }}"))


NORM = layer("BatchNorm", "batch_norm_param { eps: 0.01 }", tops="n", name="n")
SCALE = layer("Scale", "scale_param { bias_term: true }", bottoms="n")


def test_batch_norm_and_its_scale_are_one(tmp_path: Path) -> None:
    assert kinds(judge(tmp_path, NORM + SCALE))[:1] == ["BatchNormalization"]


def one_output(folder: Path, layers: str, weights: dict[str, list[Any]] | None = None, name: str = "y") -> list[str]:
    x = drawn(*PICTURE)
    net = alive(net_of(layers, {"x": x}), {"x": x}, weights)
    model = converted(folder, net.prototxt, net.file(), outputs=[name])
    assert difference(ran(model, x)[0], net.values[name]) < CLOSE
    return kinds(model)


def test_a_scale_goes_into_the_norm_that_it_alone_reads(tmp_path: Path) -> None:
    assert one_output(tmp_path, NORM + SCALE) == ["BatchNormalization"]
    without = layer("Scale", bottoms="n")
    assert one_output(tmp_path, NORM + without) == ["BatchNormalization"]


def test_a_scale_in_place_goes_into_the_norm_in_place(tmp_path: Path) -> None:
    text = (
        layer("BatchNorm", tops="x", name="n")
        + layer("Scale", "scale_param { bias_term: true }", tops="x", name="s")
        + layer("ReLU", tops="x", name="y")
    )
    assert one_output(tmp_path, text) == ["BatchNormalization", "Relu"]


def test_a_norm_that_others_read_keeps_its_own_values(tmp_path: Path) -> None:
    text = NORM + layer("Scale", bottoms="n", tops="s", name="s") + layer("Eltwise", bottoms="n s")
    assert one_output(tmp_path, text) == ["BatchNormalization", "Mul", "Add"]


def test_a_norm_that_is_read_through_a_split_keeps_its_own_values(tmp_path: Path) -> None:
    text = (
        NORM
        + layer("Split", bottoms="n", tops="a b", name="split")
        + layer("Scale", bottoms="a", tops="s", name="s")
        + layer("Eltwise", bottoms="b s")
    )
    assert one_output(tmp_path, text) == ["BatchNormalization", "Mul", "Add"]


def test_a_scale_by_another_value_stays_beside_the_norm(tmp_path: Path) -> None:
    judge(tmp_path, NORM + layer("Scale", "scale_param { axis: 0 }", bottoms="n z"), z=drawn(*PICTURE))


@pytest.mark.parametrize("factor", [0.0, 1.0, 999.98])
def test_the_factor_of_a_batch_norm_divides_its_statistics(factor: float, tmp_path: Path) -> None:
    weights = {"n": [drawn(6), np.abs(drawn(6)) + 1, np.array([factor])]}
    judge(tmp_path, NORM, weights=weights)


def test_batch_norm_of_rows(tmp_path: Path) -> None:
    judge(tmp_path, NORM + SCALE, drawn(3, 8))


def test_the_epsilon_of_a_batch_norm_is_caffes(tmp_path: Path) -> None:
    weights = {"y": [drawn(6), np.full(6, 1e-5), np.array([1.0])]}
    judge(tmp_path, layer("BatchNorm"), weights=weights)


def test_a_batch_norm_of_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="statistics of the batch"):
        judge(tmp_path, layer("BatchNorm", "batch_norm_param { use_global_stats: false }"))


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ("", [(6,)]),
        ("bias_term: true", [(6,), (6,)]),
        ("axis: 2 bias_term: true", [(7,), (7,)]),
        ("axis: -1", [(5,)]),
        ("num_axes: 2 bias_term: true", [(6, 7), (6, 7)]),
        ("num_axes: -1 bias_term: true", [(6, 7, 5), (6, 7, 5)]),
        ("axis: 2 num_axes: -1", [(7, 5)]),
        ("num_axes: 0 bias_term: true", [(), ()]),
        ("axis: 0 num_axes: 0", [()]),
    ],
)
def test_scale_by_weights(given: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    weights = {"y": [drawn(*shape) for shape in shapes]}
    judge(tmp_path, layer("Scale", f"scale_param {{ {given} }}"), weights=weights)
    if "bias_term" not in given:
        judge(tmp_path, layer("Bias", f"bias_param {{ {given} }}"), weights=weights)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ("", (6,)),
        ("axis: 0", (2, 6)),
        ("axis: 0", PICTURE),
        ("axis: 2", (7, 5)),
        ("axis: 1", (6, 7)),
        ("axis: -1", (5,)),
    ],
)
def test_scale_and_bias_by_a_second_value(given: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    if shape[0] == 2:
        judge(tmp_path, layer("Scale", f"scale_param {{ {given} }}", "x z"), z=drawn(*shape))
        judge(tmp_path, layer("Bias", f"bias_param {{ {given} }}", "x z"), z=drawn(*shape))
        return
    for kind in ("Scale", "Bias"):  # a second value without the batch: no input of a net has that, but its own shape
        x, z = drawn(*PICTURE), drawn(*shape)
        net = alive(
            net_of(layer(kind, f"{kind.lower()}_param {{ {given} }}", "x z"), {"x": x, "z": z}), {"x": x, "z": z}
        )
        model = converted(tmp_path, net.prototxt, net.file())
        assert difference(ran(model, x, z)[0], net.values["y"]) < CLOSE


def test_a_gate_for_each_channel(tmp_path: Path) -> None:
    text = (
        layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", tops="p", name="p")
        + layer("InnerProduct", "inner_product_param { num_output: 6 }", "p", "g", "g")
        + layer("Sigmoid", bottoms="g", tops="g", name="sigmoid")
        + layer("Scale", "scale_param { axis: 0 }", "x g")
    )
    judge(tmp_path, text)


def test_a_scale_with_a_bias_beside_another_value(tmp_path: Path) -> None:
    text = layer("Scale", "scale_param { axis: 0 bias_term: true }", "x z")
    judge(tmp_path, text, drawn(1, 6, 7, 5), weights={"y": [drawn(1, 6)]}, z=drawn(1, 6))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "given", ["", "operation: SUM coeff: 1 coeff: -1", "coeff: 0.5 coeff: 2", "operation: PROD", "operation: MAX"]
)
def test_eltwise(given: str, count: int, tmp_path: Path) -> None:
    if count == 3 and "coeff" in given:
        given += " coeff: -0.25"
    others = {name: drawn(*PICTURE) for name in "uv"[: count - 1]}
    judge(tmp_path, layer("Eltwise", f"eltwise_param {{ {given} }}", " ".join(["x", *others])), **others)


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ("", [(2, 3, 7, 5), (2, 1, 7, 5)]), ("axis: 2", [(2, 6, 1, 5)]), ("axis: -1", [(2, 6, 7, 2)]),
        ("concat_dim: 3", [(2, 6, 7, 2)]), ("", []),
    ],
)  # fmt: skip
def test_concat(given: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    others = {f"u{place}": drawn(*shape) for place, shape in enumerate(shapes)}
    judge(tmp_path, layer("Concat", f"concat_param {{ {given} }}", " ".join(["x", *others])), **others)


@pytest.mark.parametrize(
    ("given", "tops"),
    [
        ("", 2), ("", 3), ("slice_point: 1", 2), ("slice_point: 2 slice_point: 3", 3), ("axis: 2 slice_point: 4", 2),
        ("slice_dim: 3 slice_point: 1", 2), ("axis: -1", 5), ("", 1),
    ],
)  # fmt: skip
def test_slice(given: str, tops: int, tmp_path: Path) -> None:
    names = [f"t{place}" for place in range(tops)]
    uses = "".join(layer("Power", "power_param { scale: 2 }", each, f"u{each}", f"use {each}") for each in names)
    judge(tmp_path, layer("Slice", f"slice_param {{ {given} }}", tops=" ".join(names), name="s") + uses)


@pytest.mark.parametrize(
    "given",
    [
        "shape { dim: 0 dim: -1 }", "shape { dim: 0 dim: 3 dim: -1 }", "shape { dim: 2 dim: 6 dim: 35 }",
        "shape { dim: 0 dim: 0 dim: -1 dim: 0 }", "axis: 1 shape { dim: -1 }", "axis: 2 shape { dim: 35 }",
        "axis: 1 num_axes: 2 shape { dim: -1 }", "axis: 1 num_axes: 1 shape { dim: 2 dim: 3 }",
        "axis: -1 shape { dim: 1 }", "axis: 1 num_axes: 0 shape { dim: 1 }",
        "axis: -3 num_axes: 2 shape { dim: 5 dim: -1 }",
        "axis: 1 shape { dim: 0 dim: -1 }", "shape { dim: 0 dim: -1 dim: 1 dim: 1 }",
    ],
)  # fmt: skip
def test_reshape(given: str, tmp_path: Path) -> None:
    judge(tmp_path, layer("Reshape", f"reshape_param {{ {given} }}"))


@pytest.mark.parametrize("given", ["", "axis: 2", "axis: 1 end_axis: 2", "axis: -2", "axis: 3", "axis: 1 end_axis: 1"])
def test_flatten(given: str, tmp_path: Path) -> None:
    judge(tmp_path, layer("Flatten", f"flatten_param {{ {given} }}"))


@pytest.mark.parametrize(
    ("given", "like"),
    [
        ("", (2, 9, 4, 3)), ("offset: 2", (2, 9, 4, 3)), ("offset: 3 offset: 1", (2, 9, 4, 3)),
        ("axis: 1 offset: 1 offset: 3 offset: 2", (2, 4, 4, 3)), ("axis: 3 offset: 1", (2, 9, 9, 2)),
        ("axis: -2 offset: 1", (2, 9, 4, 3)),
    ],
)  # fmt: skip
def test_crop(given: str, like: tuple[int, ...], tmp_path: Path) -> None:
    text = layer("Power", "power_param { scale: 2 }", "z", "z", "z2") + layer(
        "Crop", f"crop_param {{ {given} }}", "x z"
    )
    judge(tmp_path, text, z=drawn(*like))


ACTIVATIONS = [
    ("ReLU", ""), ("ReLU", "relu_param { negative_slope: 0.1 }"), ("ELU", ""), ("ELU", "elu_param { alpha: 0.3 }"),
    ("Sigmoid", ""), ("TanH", ""), ("AbsVal", ""), ("BNLL", ""), ("Swish", ""), ("Swish", "swish_param { beta: 2 }"),
    ("Clip", "clip_param { min: -0.5 max: 1 }"), ("Dropout", "dropout_param { dropout_ratio: 0.7 }"), ("Dropout", ""),
    ("Power", ""), ("Power", "power_param { scale: 2 shift: -1 }"), ("Power", "power_param { power: 2 shift: 3 }"),
    ("Power", "power_param { power: 3 }"), ("Power", "power_param { power: 0 scale: 0 }"),
    ("Power", "power_param { power: 0.5 scale: 0.1 shift: 5 }"), ("Power", "power_param { scale: -1 }"),
    ("Exp", ""), ("Exp", "exp_param { base: 2 }"), ("Exp", "exp_param { base: 3 scale: 0.5 shift: -1 }"),
    ("Exp", "exp_param { base: 1 }"), ("Log", "log_param { shift: 9 }"),
    ("Log", "log_param { base: 2 shift: 9 scale: 2 }"),
    ("Log", "log_param { base: 0.5 shift: 9 }"), ("Softmax", ""), ("Softmax", "softmax_param { axis: 2 }"),
    ("Softmax", "softmax_param { axis: -1 }"), ("PReLU", ""), ("PReLU", "prelu_param { channel_shared: true }"),
    ("Tile", "tile_param { tiles: 3 }"), ("Tile", "tile_param { axis: 2 tiles: 2 }"),
    ("Tile", "tile_param { tiles: 1 }"),
    ("Reduction", "reduction_param { axis: 1 }"), ("Reduction", "reduction_param { axis: 2 operation: ASUM }"),
    ("Reduction", "reduction_param { axis: -1 operation: SUMSQ coeff: 0.5 }"),
    ("Reduction", "reduction_param { axis: 1 operation: MEAN coeff: -2 }"), ("MVN", ""),
    ("MVN", "mvn_param { across_channels: true }"), ("MVN", "mvn_param { normalize_variance: false }"),
    ("MVN", "mvn_param { across_channels: true eps: 0.5 }"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given"), ACTIVATIONS, ids=[" ".join(each) for each in ACTIVATIONS])
def test_layers_of_one_value(kind: str, given: str, tmp_path: Path) -> None:
    judge(tmp_path, layer(kind, given))


@pytest.mark.parametrize("kind", ["ReLU", "PReLU", "Softmax", "Dropout", "Power", "Sigmoid", "InnerProduct"])
def test_layers_of_rows(kind: str, tmp_path: Path) -> None:
    judge(tmp_path, layer(kind, "inner_product_param { num_output: 4 }"), drawn(3, 8))


def test_bnll_of_large_numbers(tmp_path: Path) -> None:
    judge(tmp_path, layer("BNLL"), np.linspace(-200, 200, 48).reshape(1, 3, 4, 4))


def test_softmax_of_large_numbers(tmp_path: Path) -> None:
    judge(tmp_path, layer("Softmax"), drawn(2, 5) * 300)


def test_names_that_are_written_again_mean_their_latest_value(tmp_path: Path) -> None:
    text = (
        layer("Power", "power_param { scale: 3 }", name="a")
        + layer("ReLU", bottoms="y", tops="y", name="b")
        + layer("Eltwise", bottoms="x y", tops="x", name="c")  # an input, written anew
        + layer("Dropout", bottoms="x", tops="x", name="d")
        + layer("TanH", bottoms="y", tops="y", name="e")
        + layer("Eltwise", "eltwise_param { operation: PROD }", bottoms="x y", tops="z", name="f")
    )
    judge(tmp_path, text)


def test_layers_may_share_a_name_or_have_none(tmp_path: Path) -> None:
    text = layer("TanH", name="", tops="a") + layer("ReLU", bottoms="a", name="", tops="b")
    text += layer("Power", "power_param { scale: 2 }", bottoms="b", tops="c", name="x")
    text += layer("Power", "power_param { scale: 3 }", bottoms="c", name="x")
    x = drawn(*PICTURE)
    net = alive(net_of(text, {"x": x}), {"x": x})
    assert difference(ran(converted(tmp_path, net.prototxt, net.file()), x)[0], net.values["x"]) < CLOSE


def test_splits_and_identities_come_out_under_the_name_of_their_layer(tmp_path: Path) -> None:
    text = layer("Split", tops="a b", name="split") + layer("Power", bottoms="a", name="same")
    x = drawn(*PICTURE)
    net = alive(net_of(text, {"x": x}), {"x": x})
    model = converted(tmp_path, net.prototxt, net.file(), outputs=["same", "split"])
    assert [each.name for each in model.graph.output] == ["same", "split:1"]
    assert all((each == net.inputs["x"]).all() for each in ran(model, x))


def test_an_end_with_classes_at_a_single_place_becomes_rows(tmp_path: Path) -> None:
    text = (
        layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }", tops="c", name="c")
        + layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", bottoms="c", tops="p", name="p")
        + layer("Softmax", bottoms="p")
    )
    x = drawn(*PICTURE)
    net = alive(net_of(text, {"x": x}), {"x": x})
    (found,) = ran(converted(tmp_path, net.prototxt, net.file()), x)
    assert found.shape == (2, 4)
    assert difference(found, net.values["y"][:, :, 0, 0]) < CLOSE


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_is_open(batch: int, tmp_path: Path) -> None:
    text = (
        layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 1 } }", tops="r", name="r")
        + layer("InnerProduct", "inner_product_param { num_output: 3 axis: 2 }", bottoms="r", tops="i", name="i")
        + layer("Flatten", bottoms="i")
    )
    x = drawn(batch, 4, 3, 2)
    net = alive(net_of(text, {"x": x}), {"x": x})
    prototxt = net.prototxt.replace(f"dim: {batch} dim: 4", "dim: 10 dim: 4")
    model = converted(tmp_path, prototxt, net.file())
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert difference(ran(model, x)[0], net.values["y"]) < CLOSE


def test_the_shape_may_be_one_without_space(tmp_path: Path) -> None:
    judge(tmp_path, layer("InnerProduct", "inner_product_param { num_output: 3 }"), drawn(2, 7, 3))


REFUSED = {
    "unknown": (layer("Permute"), "this type of layer is not known"),
    "no bottom": (
        'layer { name: "y" type: "Eltwise" bottom: "x" top: "y" }',
        "it has 1 bottoms, and such a layer 2 or more",
    ),
    "nothing to read": (layer("ReLU", bottoms="z"), "reads 'z', which no layer before it writes"),
    "two bottoms": (layer("ReLU", bottoms="x x"), "it has 2 bottoms"),
    "two tops": (
        layer("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }", "x", "a b"),
        "it has 2 tops",
    ),
    "no kernel": (layer("Convolution", "convolution_param { num_output: 1 }"), "0 numbers as kernel_size"),
    "groups": (
        layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 group: 4 }"),
        "groups do not divide",
    ),
    "large": (layer("Convolution", "convolution_param { num_output: 4 kernel_size: 9 }"), "weights of the shape"),
    "even region": (layer("LRN", "lrn_param { local_size: 4 }"), "local_size is 4"),
    "axis": (layer("Softmax", "softmax_param { axis: 5 }"), "works on axis 5"),
    "batch": (layer("Concat", "concat_param { axis: 0 }", "x x"), "works on axis 0"),
    "mixed": (layer("Reshape", "reshape_param { shape { dim: -1 dim: 5 } }"), "mixes the examples"),
    "uneven": (layer("Reshape", "reshape_param { shape { dim: 0 dim: 11 dim: -1 } }"), "another number of elements"),
    "cut": (layer("Slice", "slice_param { slice_point: 9 }", tops="a b"), "it cuts 6"),
    "crop": (layer("Crop", "crop_param { offset: 3 }", "x x"), "is not within"),
    "broadcast": (layer("Flatten", tops="f", name="f") + layer("Eltwise", bottoms="x f"), "have the shapes"),
    "coefficients": (layer("Eltwise", "eltwise_param { coeff: 1 }", "x x"), "1 coefficients"),
    "clip": (layer("Clip", "clip_param { min: 1 }"), "min and its max"),
    "base": (layer("Log", "log_param { base: 1 }"), "base is 1"),
    "mask": (layer("Pooling", "pooling_param { kernel_size: 2 }", tops="a b"), "places of the largest"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name_type_and_line(case: str, tmp_path: Path) -> None:
    text, message = REFUSED[case]
    prototxt = net_of("# one\n" + text, {"x": drawn(*PICTURE)})
    weights = layer("Convolution", "blobs { shape { dim: 1 } data: 1 } blobs { shape { dim: 1 } data: 1 }")
    with pytest.raises(IntegrityError, match=message) as caught:
        converted(tmp_path, prototxt, weights.encode())
    assert "layer 'y' (" in str(caught.value)
    assert f"net.prototxt, line {prototxt.count(chr(10), 0, prototxt.rindex('layer {')) + 1}" in str(caught.value)
