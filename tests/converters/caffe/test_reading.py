"""Files of every age and form: the same net comes out of all of them, and what only trains is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_nets import DATA, FORMS, Net, alive, caffemodel, converted, difference, ran, written
from zoo.converters.caffe.importer import caffe_to_onnx

from zoo.errors import IntegrityError, NotFoundError, UsageError

CLOSE = 1e-5
LENET = (DATA / "lenet.prototxt").read_text()
DIGITS = np.random.default_rng(0).normal(size=(3, 1, 28, 28))

SMALL = """
input: "data" input_dim: 10 input_dim: 2 input_dim: 5 input_dim: 5
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "act" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }
"""


def small(prototxt: str = SMALL, **options: Any) -> Net:
    return alive(prototxt, {"data": np.random.default_rng(1).normal(size=(2, 2, 5, 5))}, **options)


def output(folder: Path, net: Net, prototxt: str = "", form: str = "v2", **options: Any) -> Any:
    model = converted(folder, prototxt or net.prototxt, net.file(form), **options)
    return ran(model, *net.inputs.values())[0]


def same(found: Any, net: Net, name: str) -> bool:
    return difference(found, net.values[name]) < CLOSE


@pytest.mark.parametrize("form", [each for each in FORMS if each != "text"])
@pytest.mark.parametrize("file", ["lenet", "lenet_v1_2015-02", "lenet_v0_2014-03"])
def test_every_age_and_form_of_a_net_is_the_same_net(file: str, form: str, tmp_path: Path) -> None:
    net = alive(LENET, {"data": DIGITS})
    found = output(tmp_path, net, (DATA / f"{file}.prototxt").read_text(), form, outputs=["ip2"])
    assert same(found, net, "ip2")


def test_weights_may_be_text(tmp_path: Path) -> None:
    net = small()
    assert same(output(tmp_path, net, form="text"), net, "fc")


def test_a_definition_may_be_binary(tmp_path: Path) -> None:
    from google.protobuf import text_format
    from zoo.converters.caffe.schema import NetParameter

    net, paths = small(), written(tmp_path, "", small().file())
    paths[0].write_bytes(text_format.Parse(SMALL, NetParameter()).SerializeToString())
    assert same(ran(caffe_to_onnx(*paths), *net.inputs.values())[0], net, "fc")


@pytest.mark.parametrize("marks", ["\ufeff{}", "# a comment with { a brace\n{}", "{}\r\n"])
def test_texts_may_have_marks_comments_and_other_line_ends(marks: str, tmp_path: Path) -> None:
    net = small()
    assert same(output(tmp_path, net, marks.replace("{}", SMALL.replace("\n", "\r\n"))), net, "fc")


def test_texts_need_not_be_utf_8(tmp_path: Path) -> None:
    net, paths = small(), written(tmp_path, "", small().file())
    paths[0].write_bytes("# größe\n".encode("latin-1") + SMALL.encode())
    assert same(ran(caffe_to_onnx(*paths), *net.inputs.values())[0], net, "fc")


INPUTS = [
    'input: "data" input_shape { dim: 1 dim: 2 dim: 5 dim: 5 }',
    'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 64 dim: 2 dim: 5 dim: 5 } } }',
    'layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 1 dim: 2 dim: 5 dim: 5 } } }',
]


@pytest.mark.parametrize("told", INPUTS)
def test_inputs_are_told_in_several_ways(told: str, tmp_path: Path) -> None:
    net = small()
    model = converted(tmp_path, told + SMALL[SMALL.index("layer") - 1 :], net.file())
    (made,) = model.graph.input
    assert (made.name, [each.dim_value for each in made.type.tensor_type.shape.dim]) == ("data", [0, 2, 5, 5])
    assert same(ran(model, *net.inputs.values())[0], net, "fc")


def test_several_inputs_have_four_sizes_each(tmp_path: Path) -> None:
    text = 'input: "a" input: "b" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 '
    text += "input_dim: 1 input_dim: 1 input_dim: 3 input_dim: 4 "
    text += 'layer { name: "y" type: "Concat" bottom: "a" bottom: "b" top: "y" }'
    net = alive(text, {"a": np.ones((2, 2, 3, 4)), "b": np.zeros((2, 1, 3, 4))})
    assert same(output(tmp_path, net), net, "y")


def test_an_input_without_sizes_needs_them(tmp_path: Path) -> None:
    net, text = small(), 'input: "data" ' + SMALL[SMALL.index("layer") :]
    with pytest.raises(UsageError, match=r"shapes=\{'data'"):
        output(tmp_path, net, text)
    assert same(output(tmp_path, net, text, shapes={"data": (2, 5, 5)}), net, "fc")
    with pytest.raises(UsageError, match="'picture'"):
        output(tmp_path, net, text, shapes={"data": (2, 5, 5), "picture": (1, 2)})


def test_a_definition_without_sizes_and_with_layers_of_data_is_a_legacy_one(tmp_path: Path) -> None:
    text = 'input: "data" layer { name: "d" type: "Data" top: "data" top: "label" }' + SMALL[SMALL.index("layer") :]
    net = small()
    assert same(output(tmp_path, net, text, shapes={"data": (2, 5, 5)}), net, "fc")


# --- nets for training ---


@pytest.mark.parametrize(
    ("file", "shape", "last"), [("lenet", (1, 28, 28), "ip2"), ("cifar10_full", (3, 32, 32), "ip1")]
)
def test_a_net_for_training_is_its_net_for_use(file: str, shape: tuple[int, ...], last: str, tmp_path: Path) -> None:
    net = alive((DATA / f"{file}.prototxt").read_text(), {"data": np.random.default_rng(0).normal(size=(2, *shape))})
    training = (DATA / f"{file}_train_test.prototxt").read_text()
    with pytest.raises(UsageError, match="what shape"):
        output(tmp_path, net, training)
    logits = output(tmp_path, net, training, outputs=[last], shapes={"data": shape})
    assert same(logits, net, last)
    model = converted(tmp_path, training, net.file(), shapes={"data": shape})
    assert model.graph.node[-1].op_type == "Softmax"  # of the SoftmaxWithLoss
    assert [each.name for each in model.graph.output] == ["loss"]
    odds = np.exp(net.values[last] - net.values[last].max(1, keepdims=True))
    assert difference(ran(model, *net.inputs.values())[0], odds / odds.sum(1, keepdims=True)) < CLOSE


HEADS = """
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "d" type: "ImageData" top: "data" top: "label" include { phase: TEST } }
layer { name: "body" type: "InnerProduct" bottom: "data" top: "body" inner_product_param { num_output: 4 } }
layer { name: "side" type: "InnerProduct" bottom: "body" top: "side" inner_product_param { num_output: 3 } }
layer { name: "side/loss" type: "SoftmaxWithLoss" bottom: "side" bottom: "label" top: "l1" loss_weight: 0.3 }
layer { name: "main" type: "InnerProduct" bottom: "body" top: "main" inner_product_param { num_output: 3 } }
layer { name: "main/loss" type: "%s" bottom: "main" bottom: "label" top: "l2" loss_weight: 1 }
layer { name: "top1" type: "Accuracy" bottom: "main" bottom: "label" top: "top1" include { phase: TEST } }
layer { name: "quiet" type: "Silence" bottom: "label" }
"""


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        ("SoftmaxWithLoss", "Softmax"), ("SigmoidCrossEntropyLoss", "Sigmoid"), ("EuclideanLoss", "Gemm"),
        ("HingeLoss", "Gemm"),
    ],
)  # fmt: skip
def test_the_head_that_weighs_most_comes_out(loss: str, last: str, tmp_path: Path) -> None:
    types = dict.fromkeys(("body", "side", "main"), "InnerProduct")
    weights: dict[str, Any] = {"body": [np.ones((4, 6)), np.ones(4)], "main": [np.ones((3, 4)), np.ones(3)]}
    file = caffemodel(weights, types)  # where nothing is for the side, which is cut off
    model = converted(tmp_path, HEADS % loss, file, shapes={"data": (6, 1, 1)})
    assert [each.op_type for each in model.graph.node] == ["Flatten", "Gemm", "Gemm", last][: 3 + (last != "Gemm")]
    assert [each.name for each in model.graph.output] == ["main/loss" if last != "Gemm" else "main"]
    file = caffemodel(weights | {"side": [np.ones((3, 4)), np.ones(3)]}, types)
    model = converted(tmp_path, HEADS % loss, file, shapes={"data": (6, 1, 1)}, outputs=["side", "main"])
    assert [each.name for each in model.graph.output] == ["side", "main"]


RULES = [
    ("include { phase: TEST }", True), ("include { phase: TRAIN }", False), ("exclude { phase: TEST }", False),
    ("exclude { phase: TRAIN }", True), ("include { phase: TRAIN } include { phase: TEST }", True),
    ("include { min_level: 1 }", False), ("include { max_level: 0 }", True), ("include { max_level: -1 }", False),
    ('include { stage: "deploy" }', False), ('include { not_stage: "deploy" }', True),
    ('exclude { stage: "deploy" }', True), ('include { phase: TEST stage: "deploy" }', False), ("", True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "is_kept"), RULES, ids=[rule or "none" for rule, _ in RULES])
def test_rules_of_phases_levels_and_stages(rule: str, is_kept: bool, tmp_path: Path) -> None:
    text = SMALL + f'layer {{ name: "last" type: "TanH" bottom: "fc" top: "fc" {rule} }}'
    model = converted(tmp_path, text, small().file())
    assert (model.graph.node[-1].op_type == "Tanh") == is_kept


def test_a_state_of_the_net_has_stages_and_a_level(tmp_path: Path) -> None:
    rule = 'include { stage: "deploy" min_level: 2 not_stage: "other" }'
    text = (
        f'state {{ stage: "deploy" level: 2 }} {SMALL} layer {{ name: "l" type: "TanH" bottom: "fc" top: "fc" {rule} }}'
    )
    assert converted(tmp_path, text, small().file()).graph.node[-1].op_type == "Tanh"


def test_a_value_for_training_cannot_be_computed_with(tmp_path: Path) -> None:
    text = HEADS % "EuclideanLoss" + 'layer { name: "z" type: "Eltwise" bottom: "main" bottom: "label" top: "z" }'
    with pytest.raises(IntegrityError, match="layer 'z' .* computes with 'label'"):
        converted(tmp_path, text, small().file(), shapes={"data": (6, 1, 1)})


# --- older layers ---

PADDED = """
input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "padded" }
layers { layer { name: "conv" type: "conv" num_output: 3 kernelsize: 3 stride: 2 } bottom: "padded" top: "conv" }
layers { layer { name: "act" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pad2" type: "padding" pad: 1 } bottom: "conv" top: "padded" }
layers { layer { name: "pool" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "padded" top: "pool" }
layers { layer { name: "norm" type: "lrn" local_size: 3 alpha: 2 beta: 0.5 } bottom: "pool" top: "norm" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.2 } bottom: "norm" top: "norm" }
layers { layer { name: "both" type: "concat" concat_dim: 1 } bottom: "norm" bottom: "pool" top: "both" }
layers { layer { name: "fc" type: "innerproduct" num_output: 4 biasterm: false } bottom: "both" top: "fc" }
"""
PADDED_TODAY = """
input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 2 } }
layer { name: "act" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm" lrn_param { local_size: 3 alpha: 2 beta: 0.5 } }
layer { name: "drop" type: "Dropout" bottom: "norm" top: "norm" }
layer { name: "both" type: "Concat" bottom: "norm" bottom: "pool" top: "both" }
layer { name: "fc" type: "InnerProduct" bottom: "both" top: "fc"
        inner_product_param { num_output: 4 bias_term: false } }
"""


@pytest.mark.parametrize("form", ["v0", "v1", "v2"])
def test_layers_of_padding_pad_what_reads_them(form: str, tmp_path: Path) -> None:
    net = small(PADDED_TODAY)
    assert same(output(tmp_path, net, PADDED, form), net, "fc")


def test_padding_before_another_layer_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"layer 'act' \(ReLU\) of net.prototxt, line 5 reads a layer of padding"):
        converted(tmp_path, PADDED.replace('"conv" top: "conv"', '"padded" top: "conv"'), small().file())


def test_an_unknown_layer_of_a_padded_net_has_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"net.prototxt, line 8: the layer 'norm' has the type 'strange'"):
        output(tmp_path, small(PADDED_TODAY), PADDED.replace('type: "lrn"', 'type: "strange"'), "v0")


V1_LAYERS = """
input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
layers { name: "a" type: ABSVAL bottom: "data" top: "a" }
layers { name: "b" type: POWER bottom: "a" top: "b" power_param { shift: 1 } }
layers { name: "c" type: EXP bottom: "b" top: "c" exp_param { base: 2 } }
layers { name: "d" type: SPLIT bottom: "c" top: "d0" top: "d1" }
layers { name: "e" type: SLICE bottom: "d0" top: "e0" top: "e1" slice_param { slice_dim: 1 } }
layers { name: "f" type: CONCAT bottom: "e1" bottom: "e0" top: "f" concat_param { concat_dim: 1 } }
layers { name: "g" type: ELTWISE bottom: "f" bottom: "d1" top: "g" eltwise_param { coeff: 1 coeff: -1 } }
layers { name: "h" type: TANH bottom: "g" top: "h" }
layers { name: "i" type: SIGMOID bottom: "h" top: "i" }
layers { name: "j" type: BNLL bottom: "i" top: "j" }
layers { name: "k" type: MVN bottom: "j" top: "k" mvn_param { across_channels: true } }
layers { name: "l" type: DECONVOLUTION bottom: "k" top: "l" convolution_param { num_output: 2 kernel_size: 2 } }
layers { name: "m" type: RELU bottom: "l" top: "l" relu_param { negative_slope: 0.5 } }
layers { name: "n" type: DROPOUT bottom: "l" top: "n" dropout_param { dropout_ratio: 0.1 } }
layers { name: "o" type: LRN bottom: "n" top: "o" lrn_param { alpha: 3 k: 2 } }
layers { name: "p" type: POOLING bottom: "o" top: "p" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "q" type: CONVOLUTION bottom: "p" top: "q" convolution_param { num_output: 2 kernel_size: 2 group: 2 } }
layers { name: "r" type: FLATTEN bottom: "q" top: "r" }
layers { name: "s" type: INNER_PRODUCT bottom: "r" top: "s" inner_product_param { num_output: 3 } }
layers { name: "t" type: SOFTMAX bottom: "s" top: "t" }
"""
V1_TYPES = {
    "ABSVAL": "AbsVal", "POWER": "Power", "EXP": "Exp", "SPLIT": "Split", "SLICE": "Slice", "CONCAT": "Concat",
    "ELTWISE": "Eltwise", "TANH": "TanH", "SIGMOID": "Sigmoid", "BNLL": "BNLL", "MVN": "MVN",
    "DECONVOLUTION": "Deconvolution", "RELU": "ReLU", "DROPOUT": "Dropout", "LRN": "LRN", "POOLING": "Pooling",
    "CONVOLUTION": "Convolution", "FLATTEN": "Flatten", "INNER_PRODUCT": "InnerProduct", "SOFTMAX": "Softmax",
}  # fmt: skip


def test_every_type_of_2015(tmp_path: Path) -> None:
    text = V1_LAYERS.replace("layers {", "layer {")
    for old, new in V1_TYPES.items():
        text = text.replace(f"type: {old} ", f'type: "{new}" ')
    net = small(text)
    assert same(output(tmp_path, net, V1_LAYERS, "v1"), net, "t")


@pytest.mark.parametrize("number", ["NONE", "77", "LSTM"])
def test_an_unknown_type_of_2015_is_refused(number: str, tmp_path: Path) -> None:
    text = f'input: "x" input_dim: [1, 1, 2, 2]\nlayers {{ name: "a" type: {number} bottom: "x" top: "a" }}'
    with pytest.raises(IntegrityError, match="net.prototxt.*('a'|LSTM|77)"):
        converted(tmp_path, text, small().file())


def test_layers_of_two_ages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="two ages"):
        converted(tmp_path, SMALL + 'layers { name: "a" type: RELU bottom: "fc" top: "fc" }', small().file())


# --- weights ---


def test_layers_of_the_weights_that_the_net_has_not_are_ignored(tmp_path: Path) -> None:
    net = small()
    more = {"loss1/fc": [np.ones((9, 9))], **net.weights, "other": [np.ones(3)]}
    types = dict.fromkeys(more, "InnerProduct")
    assert same(ran(converted(tmp_path, SMALL, caffemodel(more, types)), *net.inputs.values())[0], net, "fc")


def test_missing_weights_name_the_layer_and_the_files(tmp_path: Path) -> None:
    net = small()
    del net.weights["fc"]
    with pytest.raises(
        IntegrityError, match=r"layer 'fc' \(InnerProduct\) of net.prototxt, line 6 has no weights in net"
    ):
        output(tmp_path, net)


def test_a_definition_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="'conv' .* whose layers with weights are none"):
        converted(tmp_path, SMALL, SMALL.encode())


def test_weights_of_another_net_tell_both_shapes(tmp_path: Path) -> None:
    other = small(SMALL.replace("num_output: 4", "num_output: 5"))
    with pytest.raises(IntegrityError, match=r"'fc' .* weights of the shape \(4, 27\), and has \(5, 27\)"):
        output(tmp_path, other, SMALL)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_arrays_is_refused(count: int, tmp_path: Path) -> None:
    net = small()
    net.weights["fc"] = (net.weights["fc"] * 2)[:count]
    with pytest.raises(IntegrityError, match=f"'fc' .* should have 2 arrays of weights, and has {count}"):
        output(tmp_path, net)


def test_weights_with_turned_axes_are_refused(tmp_path: Path) -> None:
    net = small()
    net.weights["fc"][0] = net.weights["fc"][0].T
    with pytest.raises(IntegrityError, match=r"\(4, 27\), and has \(27, 4\)"):
        output(tmp_path, net)


def test_files_and_outputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"There is no file .*none.prototxt"):
        caffe_to_onnx(tmp_path / "none.prototxt", tmp_path / "none.caffemodel")
    with pytest.raises(UsageError, match="got 'prob'. Last: 'conv', 'act', 'fc'"):
        converted(tmp_path, SMALL, small().file(), outputs=["prob"])
    with pytest.raises(UsageError, match="got none"):
        converted(tmp_path, SMALL, small().file(), outputs=[])


# --- names and weights that are shared ---


@pytest.mark.parametrize("suffix", ["scale", "bias", "mean", "variance", "kernel", "value", "weights", "slope", "add"])
def test_a_layer_may_be_called_as_anything_that_is_added_to_another(suffix: str, tmp_path: Path) -> None:
    """As in the nets with squeeze-excite, whose Scale is called as its BatchNorm with /scale."""
    text = f"""
        input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
        layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
                convolution_param {{ num_output: 3 kernel_size: 3 }} }}
        layer {{ name: "c/{suffix}" type: "BatchNorm" bottom: "c" top: "c/{suffix}" }}
        layer {{ name: "c/{suffix}/scale" type: "Scale" bottom: "c/{suffix}" top: "c/{suffix}/scale"
                scale_param {{ bias_term: true }} }}
        layer {{ name: "p" type: "PReLU" bottom: "c/{suffix}/scale" top: "p" }}
        layer {{ name: "p/{suffix}" type: "InnerProduct" bottom: "p" top: "fc"
                inner_product_param {{ num_output: 4 }} }}
        layer {{ name: "p/{suffix}/add" type: "Power" bottom: "fc" top: "fc" power_param {{ shift: 0.5 scale: 2 }} }}
        """
    net = alive(text, {"data": np.random.default_rng(1).normal(size=(2, 2, 5, 5))})
    assert same(output(tmp_path, net), net, f"p/{suffix}/add")


SHARED = """
input: "data" input_dim: 1 input_dim: 4
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 4 } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 4 } }
"""


@pytest.mark.parametrize("owners", ["a", "a b"])
def test_layers_share_weights_by_the_names_of_their_parameters(owners: str, tmp_path: Path) -> None:
    """Of two that a file has, Caffe copies the second over the first: they are one."""
    chance = np.random.default_rng(2)
    arrays = {name: [chance.normal(size=(4, 4)), chance.normal(size=4)] for name in owners.split()}
    x, (kernel, bias) = chance.normal(size=(3, 4)), arrays[owners[-1]]
    weights = caffemodel(arrays, dict.fromkeys(arrays, "InnerProduct"))
    found = ran(converted(tmp_path, SHARED, weights), x)[0]
    expected = (x @ kernel.T + bias) @ kernel.T + bias

    assert difference(found, expected) < CLOSE


def test_labels_of_a_layer_of_their_own_need_no_shape(tmp_path: Path) -> None:
    text = SMALL.replace('input: "data"', 'layer { name: "l" type: "HDF5Data" top: "label" }\ninput: "data"', 1)
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" }\n'
    net = small()
    model = converted(tmp_path, text, net.file(), outputs=["fc"])
    assert same(ran(model, *net.inputs.values())[0], net, "fc")


def test_what_is_silenced_comes_out_where_nothing_else_does(tmp_path: Path) -> None:
    net = small()
    text = net.prototxt + 'layer { name: "hush" type: "Silence" bottom: "fc" }\n'
    assert same(ran(converted(tmp_path, text, net.file()), *net.inputs.values())[0], net, "fc")


def test_outputs_may_be_called_as_caffe_calls_values(tmp_path: Path) -> None:
    text = SMALL.replace('top: "fc"', 'top: "net_output"')
    net = small()
    model = converted(tmp_path, text, net.file(), outputs=["net_output"])
    assert same(ran(model, *net.inputs.values())[0], net, "fc")
