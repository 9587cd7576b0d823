"""Units as the definition says, on nets of the book, of Caffe's zoo and of keras.applications."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from zoo.errors import CutError
from zoo.surgery import split_units
from zoo.surgery.units import is_kernel_layer


def dense_net(*widths: int) -> keras.Model:
    """The book's net: hidden1, hidden2... and outputs."""
    names = [f"hidden{number}" for number in range(1, len(widths) - 1)] + ["outputs"]
    stack = [layers.Dense(width, name=name) for width, name in zip(widths[1:], names, strict=True)]
    return keras.Sequential([keras.Input((widths[0],)), *stack])


def lenet() -> keras.Model:
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(20, 5, name="conv1"), layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(50, 5, name="conv2"), layers.MaxPooling2D(2, name="pool2"), layers.Flatten(name="flatten"),
        layers.Dense(500, "relu", name="ip1"), layers.Dense(10, name="ip2"),
    ])  # fmt: skip


def caffenet() -> keras.Model:
    """Eight kernel layers, three of the convolutions grouped."""
    stack: list[Any] = [keras.Input((227, 227, 3))]
    for filters, size, strides, groups in (
        (96, 11, 4, 1),
        (256, 5, 1, 2),
        (384, 3, 1, 1),
        (384, 3, 1, 2),
        (256, 3, 1, 2),
    ):
        stack += [
            layers.Conv2D(filters, size, strides, groups=groups),
            layers.ReLU(),
            layers.MaxPooling2D(3, 1),
        ]
    stack += [
        layers.GlobalMaxPooling2D(),
        layers.Dense(64),
        layers.Dropout(0.5),
        layers.Dense(64),
        layers.Dense(10),
    ]
    return keras.Sequential(stack)


def inception(x: Any, width: int) -> Any:
    branches = [
        layers.Conv2D(width, 1)(x),
        layers.Conv2D(width, 3, padding="same")(layers.Conv2D(width, 1)(x)),
        layers.Conv2D(width, 5, padding="same")(layers.Conv2D(width, 1)(x)),
        layers.Conv2D(width, 1)(layers.MaxPooling2D(3, 1, "same")(x)),
    ]
    return layers.Concatenate()(branches)


def googlenet() -> keras.Model:
    """Three convolutions, nine inception blocks, a classifier."""
    image = keras.Input((64, 64, 3))
    x = layers.Conv2D(8, 7, 2)(image)
    x = layers.Conv2D(8, 3)(layers.Conv2D(8, 1)(x))
    for _ in range(9):
        x = inception(x, 4)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10)(x))


# Kernel layers and blocks that branch, the classifier included.
SMALL = [(lambda: dense_net(784, 300, 50, 50, 50, 50, 10), 6), (lenet, 4), (caffenet, 8), (googlenet, 13)]
APPLICATIONS = {
    "VGG16": 16, "VGG19": 19, "ResNet50": 18, "MobileNetV2": 33, "DenseNet121": 63, "Xception": 17,
    "EfficientNetB0": 39, "ConvNeXtTiny": 23,
}  # fmt: skip


@pytest.mark.parametrize(("build", "count"), SMALL, ids=["book", "lenet", "caffenet", "googlenet"])
def test_units_of_small_nets(build: Any, count: int) -> None:
    assert len(split_units(build())) == count


LARGE = ("VGG16", "VGG19", "DenseNet121", "EfficientNetB0")  # to be built, not to be counted


@pytest.mark.parametrize(
    ("name", "count"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] in LARGE)) for each in APPLICATIONS.items()],
)
def test_units_of_keras_applications(name: str, count: int) -> None:
    model = getattr(keras.applications, name)(weights=None)
    units = split_units(model)
    assert len(units) == count
    assert sum(unit.params for unit in units) == model.count_params()
    assert [unit.index for unit in units] == list(range(1, count + 1))
    assert [unit.index for unit in units if not unit.legal] == [count]  # only the classifier cannot be kept


def test_names_layers_and_shapes() -> None:
    units = split_units(lenet())
    assert [unit.name for unit in units] == ["conv1", "conv2", "ip1", "ip2"]
    assert units[1].layers == ("conv2", "pool2", "flatten")
    assert units[1].output_shape == (800,)  # 4 * 4 * 50
    assert units[1].feature_bytes == 3200
    assert units[0].multiply_adds == 24 * 24 * 5 * 5 * 20
    assert units[2].multiply_adds == 800 * 500


@pytest.mark.slow
def test_multiply_adds_of_vgg16() -> None:
    """15.47 billion: the convolutions' 15.35 and the dense layers' 0.124 (Simonyan and Zisserman 2014's net)."""
    counts = [unit.multiply_adds for unit in split_units(keras.applications.VGG16(weights=None))]
    assert sum(count or 0 for count in counts) == 15_470_264_320


def test_multiply_adds_are_unknown_where_the_size_is() -> None:
    image = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    units = split_units(keras.Model(image, layers.Dense(2)(x)))
    assert (units[0].multiply_adds, units[0].feature_bytes) == (None, 16)
    assert units[1].multiply_adds == 8


def test_what_comes_before_the_first_kernel_belongs_to_unit_1() -> None:
    model = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Rescaling(1 / 255, name="scale"), layers.BatchNormalization(name="bn"),
        layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu"), layers.Flatten(name="flat"),
        layers.Dense(2, name="out"),
    ])  # fmt: skip
    assert split_units(model)[0].layers == ("scale", "bn", "conv", "relu", "flat")


def test_frozen_kernels_still_count() -> None:
    model = lenet()
    model.trainable = False
    assert len(split_units(model)) == 4


@pytest.mark.parametrize(
    ("layer", "shape", "kernel"),
    [
        (layers.PReLU(), (4, 4, 2), False),
        (layers.LayerNormalization(axis=[1, 2]), (4, 4), False),
        (layers.Normalization(axis=(1, 2)), (4, 4), False),
        (layers.SpectralNormalization(layers.Dense(3)), (4,), True),
        (layers.TimeDistributed(layers.Dense(3)), (5, 4), True),
        (layers.Bidirectional(layers.LSTM(3)), (5, 4), True),
        (layers.Embedding(7, 3), (5,), True),
        (layers.DepthwiseConv2D(3), (5, 5, 2), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else None,
)
def test_kernel_layers(layer: keras.Layer, shape: tuple[int, ...], kernel: bool) -> None:
    layer.build((None, *shape))
    assert is_kernel_layer(layer) is kernel


def test_attention_is_a_kernel_layer_and_its_block_one_unit() -> None:
    tokens = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([tokens, x]))
    model = keras.Model(tokens, layers.Dense(3, name="out")(layers.Flatten(name="flat")(x)))
    units = split_units(model)
    assert [unit.layers for unit in units] == [("attention", "add", "norm", "flat"), ("out",)]


def test_nested_functional_models_are_opened_and_sequential_ones_kept_whole() -> None:
    base_in = keras.Input((8, 8, 3))
    base = keras.Model(base_in, layers.Conv2D(4, 3, name="b")(layers.Conv2D(4, 3, name="a")(base_in)), name="base")
    block = keras.Sequential([layers.Conv2D(4, 1), layers.Conv2D(4, 1)], name="block")
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(block(base(image)))
    units = split_units(keras.Model(image, layers.Dense(2, name="out")(x)))
    assert [unit.name for unit in units] == ["a", "b", "block", "out"]
    assert units[2].reason == "nested model kept whole: block"


def test_layers_of_an_opened_model_whose_names_are_taken_get_its_name_in_front() -> None:
    base_in = keras.Input((4,))
    base = keras.Model(base_in, layers.Dense(3, name="fc")(base_in), name="base")
    vector = keras.Input((4,))
    units = split_units(keras.Model(vector, layers.Dense(2, name="fc")(base(vector))))
    assert [unit.name for unit in units] == ["base.fc", "fc"]


def test_operations_and_shared_layers() -> None:
    vector = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = shared(keras.ops.relu(shared(vector)) + 1.0)
    units = split_units(keras.Model(vector, layers.Dense(2, name="out")(x)))
    assert [unit.name for unit in units] == ["shared", "shared:1", "out"]
    assert [unit.params for unit in units] == [20, 0, 10]  # shared weights are counted where they come first


def test_a_mask_makes_a_cut_illegal() -> None:
    words = keras.Input((5,), dtype="int32")
    x = layers.LSTM(4, name="lstm")(layers.Embedding(9, 3, mask_zero=True, name="embed")(words))
    units = split_units(keras.Model(words, layers.Dense(2, name="out")(x)))
    assert [(unit.name, unit.legal) for unit in units] == [("embed", False), ("lstm", True), ("out", False)]
    assert "mask" in units[0].reason


def test_split_units_leaves_the_model_as_it_was() -> None:
    model = lenet()
    before = model.get_config()
    split_units(model)
    assert model.get_config() == before
    assert model.get_layer("conv1").output is not None  # a second call of the layer would make this ambiguous


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


def two_inputs() -> keras.Model:
    a, b = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    return keras.Model([a, b], layers.Dense(1)(layers.Add()([a, b])))


def two_outputs() -> keras.Model:
    a = keras.Input((2,))
    return keras.Model(a, [layers.Dense(1)(a), layers.Dense(2)(a)])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Subclassed, "subclass"),
        (lambda: keras.Sequential([layers.Dense(2)]), "not built"),
        (two_inputs, "2 inputs (left, right)"),
        (two_outputs, "2 outputs"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.ReLU()]), "nothing to reuse"),
        (lambda: np.zeros(3), "Expected a keras.Model"),
    ],
    ids=["subclassed", "unbuilt", "inputs", "outputs", "weightless", "array"],
)
def test_models_that_cannot_be_cut_are_refused_by_name(build: Any, words: str) -> None:
    with pytest.raises(CutError) as error:
        split_units(build())
    assert words in str(error.value)


def test_models_nested_on_one_another_are_opened_all() -> None:
    def nested(name: str, inner: str) -> keras.Model:
        vector = keras.Input((4,))
        return keras.Model(vector, layers.Dense(4, name=inner)(vector), name=name)

    for first, second in (("a", "b"), ("fc", "fc")):
        vector = keras.Input((4,))
        model = keras.Model(vector, layers.Dense(2, name="out")(nested("n2", second)(nested("n1", first)(vector))))
        assert len(split_units(model)) == 3


def test_a_mask_that_attention_takes_unseen_makes_a_cut_illegal() -> None:
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="embed")(words)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(words, layers.Dense(2, name="out")(layers.GlobalAveragePooling1D()(x)))
    assert [unit.legal for unit in split_units(model)] == [False, True, False]


def test_a_nested_model_of_several_outputs_is_kept_whole() -> None:
    vector = keras.Input((4,))
    two = keras.Model(vector, [layers.Dense(3)(vector), layers.Dense(3)(vector)], name="two")
    left, right = two(vector)
    units = split_units(keras.Model(vector, layers.Dense(2, name="out")(layers.Add()([left, right]))))
    assert len(units) == 2
    assert units[0].multiply_adds is None
