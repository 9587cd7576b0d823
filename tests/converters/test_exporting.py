"""`zoo.converters.keras_to_onnx`: what comes out is what went in, in operators that others know, and its names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers
from zoo.converters import ConversionReport, keras_to_onnx

from zoo.data.preprocessing import preprocessing_model
from zoo.errors import DiskError, IntegrityError, UsageError
from zoo.registry import InputSpec

PATH = Path("model.onnx")


def exported(model: keras.Model, **options: object) -> tuple[onnx.ModelProto, ConversionReport]:
    """Exports a model whose statistics, offsets and slopes are no longer zeros and ones, which would hide mistakes."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype.startswith("float") and len(weight.shape) < 2:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    report = keras_to_onnx(model, PATH, **options)  # type: ignore[arg-type]
    return onnx.load(PATH), report


def counts(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def picture_net(side: int | None = 13) -> keras.Model:
    """Every size is another, so that axes cannot be mixed up unseen."""
    image = keras.Input((side, side and side + 2, 3), name="picture")
    x = layers.Rescaling([0.1, 0.2, 0.3], [1.0, 2.0, 3.0], name="scale")(image)
    x = layers.Conv2D(4, (3, 2), strides=2, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise", activation="relu")(x)
    x = layers.Conv2D(6, 1, groups=2, name="grouped")(x)
    x = layers.BatchNormalization(name="bare", center=False, scale=False)(x)
    x = layers.Flatten(name="flat")(x) if side else layers.GlobalAveragePooling2D(name="flat")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="classes")(x), name="net")


def test_a_net_of_pictures_comes_out_as_others_write_it() -> None:
    proto, report = exported(picture_net())
    nodes = {node.name: node.op_type for node in proto.graph.node}

    # One transposition, where the picture comes in; Flatten needs none, for the rows of the kernel are turned instead.
    assert counts(proto) == {"Mul": 1, "Add": 1, "Transpose": 1, "Conv": 3, "BatchNormalization": 2, "Relu": 1,
                             "Reshape": 1, "Gemm": 1, "Softmax": 1}  # fmt: skip
    assert {name: nodes.get(name) for name in ("conv", "norm", "depthwise", "grouped", "bare", "flat", "classes")} == {
        "conv": "Conv", "norm": "BatchNormalization", "depthwise": "Conv", "grouped": "Conv",
        "bare": "BatchNormalization", "flat": "Reshape", "classes": "Gemm",
    }  # fmt: skip
    weights = {each.name: tuple(each.dims) for each in proto.graph.initializer}
    assert weights["conv/kernel"] == (4, 3, 3, 2)  # output, input, height, width
    assert {"norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance", "classes/bias"} <= set(weights)
    assert report.transpositions == 1
    assert report.error < 1e-5
    assert set(report.errors) == {"classes", "before_classes"}
    assert report.parameters == picture_net().count_params()


def test_names_and_layout_of_inputs_and_outputs_are_those_of_keras_and_the_batch_is_open() -> None:
    proto, report = exported(picture_net())
    (given,), (found,) = proto.graph.input, proto.graph.output
    sizes = [each.dim_param or each.dim_value for each in given.type.tensor_type.shape.dim]

    assert (given.name, sizes, found.name) == ("picture", ["batch", 13, 15, 3], "classes")
    assert report.layouts["picture"] == (0, 1, 2, 3)
    session = onnxruntime.InferenceSession(PATH.read_bytes())
    for batch in (1, 7):
        assert session.run(None, {"picture": np.zeros((batch, 13, 15, 3), np.float32)})[0].shape == (batch, 5)


def test_the_size_of_pictures_may_stay_open() -> None:
    exported(picture_net(None))
    session = onnxruntime.InferenceSession(PATH.read_bytes())

    assert session.run(None, {"picture": np.zeros((2, 31, 17, 3), np.float32)})[0].shape == (2, 5)


def residual() -> keras.Model:
    """Squeeze and excite, a sum, and branches that are joined."""
    image = keras.Input((9, 11, 4))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    s = layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(x))
    s = layers.Conv2D(6, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="silu")(s))
    y = layers.Add()([layers.ZeroPadding2D(((1, 0), (0, 2)))(layers.Multiply()([x, s])[:, 1:, :-2]), x])
    y = layers.Concatenate()([layers.AveragePooling2D(3, 2, "same")(y), layers.MaxPooling2D(3, 2, "same")(y)])
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(y)))


def nested() -> keras.Model:
    """A model in a model, called twice."""
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same", name="c"),
                              layers.BatchNormalization(name="b")], name="inner")  # fmt: skip
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="c")(image)
    return keras.Model(image, layers.GlobalMaxPooling2D()(layers.Add()([inner(x), inner(inner(x))])))


def several() -> keras.Model:
    """Two inputs, a shared layer, outputs by name, one of them an input."""
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    shared = layers.Dense(5, activation="tanh", name="shared")
    return keras.Model({"b": b, "a": a}, {"sum": layers.Add()([shared(a), shared(b)]), "also": b, "both": shared(a)})


def attention() -> keras.Model:
    x = keras.Input((6, 8))
    y = layers.MultiHeadAttention(2, 3, name="heads")(x, x)
    return keras.Model(x, layers.LayerNormalization()(layers.Add()([x, layers.Dense(8, activation="gelu")(y)])))


def recurrent(layer: str) -> keras.Model:
    ids = keras.Input((9,), dtype="int32", name="ids")
    x = layers.Embedding(11, 4, mask_zero=layer == "LSTM")(ids)
    return keras.Model(ids, layers.Dense(2)(getattr(layers, layer)(3)(x)))


def one_dimensional() -> keras.Model:
    x = keras.Input((20, 3))
    y = layers.BatchNormalization()(layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x))
    return keras.Model(x, layers.MaxPooling1D()(y))


def channels_first_norm() -> keras.Model:
    x = keras.Input((3, 9, 7))
    return keras.Model(x, layers.BatchNormalization(axis=1, scale=False)(x))


def preprocessing() -> keras.Model:
    spec = InputSpec((24, 20, 3), color="BGR", scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    return preprocessing_model(spec, (31, 37, 3))


MODELS: dict[str, tuple[Callable[[], keras.Model], int | None, int]] = {
    # with the number of transpositions, where that is of interest: at the borders, and none besides; and that of
    # normalizations, one for each call
    "residual": (residual, 1, 1),
    "nested": (nested, 1, 3),
    "several": (several, 0, 0),
    "attention": (attention, None, 0),
    "LSTM": (lambda: recurrent("LSTM"), None, 0),
    "GRU": (lambda: recurrent("GRU"), None, 0),
    "one_dimensional": (one_dimensional, 2, 1),
    "channels_first_norm": (channels_first_norm, 0, 1),
    "preprocessing": (preprocessing, 2, 0),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_many_kinds_pass(name: str) -> None:
    build, transpositions, norms = MODELS[name]
    model = build()
    proto, report = exported(model)

    assert report.error < 1e-4
    assert [each.name for each in proto.graph.input] == [each._keras_history.operation.name for each in model.inputs]
    assert counts(proto)["BatchNormalization"] == norms
    assert transpositions is None or counts(proto)["Transpose"] == transpositions


def test_names_say_which_model_a_layer_is_in() -> None:
    proto, _ = exported(nested())
    names = [node.name for node in proto.graph.node]

    assert {"c", "inner/c", "inner/b"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("opset", [13, 17])
def test_older_sets_of_operators(opset: int) -> None:
    proto, report = exported(residual(), opset=opset)

    assert {each.domain: each.version for each in proto.opset_import}[""] == opset
    assert report.error < 1e-4


def test_half_precision() -> None:
    image = keras.Input((9, 9, 3), dtype="float16")
    x = layers.BatchNormalization(dtype="float16")(layers.Conv2D(4, 3, dtype="float16")(image))
    proto, _ = exported(keras.Model(image, x), limit=2e-3)  # float16 has 11 bits: 5e-4, a few times

    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert counts(proto)["BatchNormalization"] == 1


def test_what_differs_is_refused_and_what_was_there_stays() -> None:
    PATH.write_bytes(b"before")
    with pytest.raises(IntegrityError, match="differs from the original"):
        exported(picture_net(), limit=1e-12)  # float32 has 24 bits: no two runtimes agree so well

    assert PATH.read_bytes() == b"before"
    assert list(Path().iterdir()) == [PATH]


def test_a_layer_that_cannot_be_exported_is_named() -> None:
    image = keras.Input((20, 20, 3))
    model = keras.Model(image, layers.Resizing(9, 9, interpolation="lanczos3", name="shrink")(image))
    with pytest.raises(IntegrityError, match="layer 'shrink' cannot be exported"):
        exported(model)

    assert list(Path().iterdir()) == []


class Bare(keras.Model):
    def call(self, x: object) -> object:
        return x


def test_arguments_that_cannot_be_right() -> None:
    model = several()
    with pytest.raises(UsageError, match="13 to 18; got 12"):
        keras_to_onnx(model, PATH, opset=12)
    with pytest.raises(UsageError, match="Expected examples for 'a', 'b'"):
        keras_to_onnx(model, PATH, examples={"a": np.zeros((1, 8), np.float32)})
    with pytest.raises(UsageError, match="does not say what it takes"):
        keras_to_onnx(Bare(), PATH)
    Path("file").touch()
    with pytest.raises(DiskError):
        keras_to_onnx(model, Path("file") / PATH)


def test_the_model_is_not_changed() -> None:
    model = picture_net()
    before = [weight.numpy() for weight in model.weights]
    keras_to_onnx(model, PATH)

    assert all(np.array_equal(one, other.numpy()) for one, other in zip(before, model.weights, strict=True))
    assert not tf.config.functions_run_eagerly()
