"""Recorded outputs: an input that never changes, figures that a changed model does not have, and who is told so."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from text_modules import text_module

import zoo
from zoo import outputs
from zoo.errors import NotFoundError
from zoo.loading import opaque_model
from zoo.recording import fixed_input, output_difference, record_output, tolerance
from zoo.registry import InputSpec, RecordedOutput
from zoo.registry.index import own_entries
from zoo.store.layout import layout
from zoo.store.registering import put_entry

PICTURES = "5c9330cb0fdb8539561f557dbe376e0f2f59295056b0b69c6e48363abba9828a"
WORDS = "8a6df44d5c33fe5ec03acfdeeb006c88ef91537cf9240c52720c3cc2b4f72f49"
TEXTS = "1d5da2b564729ea5f8e154583a297d8f2f98c67bf9a19398df28457bb0359aab"
LAYERS = ("c1", "norm", "c2", "scores")


def picture_net(size: int | None = 12, classes: int = 5) -> keras.Model:
    """A net with every kind of weight that pictures go through, random but for a seed."""
    keras.utils.set_random_seed(3)
    image = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="c1")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="c2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax", name="scores")(x), name="net")


def recorded(model: keras.Model, spec: InputSpec | None = None) -> RecordedOutput:
    found = record_output(model, spec)
    assert isinstance(found, RecordedOutput), found
    return found


# --- the input ---


def test_the_input_is_the_same_for_ever() -> None:
    """Taken down once; if another version of anything makes other numbers, every recorded output is worthless."""
    pictures = fixed_input((1, 16, 16, 3), "float32", 0, -1.0, 1.0)
    words = fixed_input((1, 100), "int32", 7, 0, 49)

    assert hashlib.sha256(pictures.astype("<f4").tobytes()).hexdigest() == PICTURES
    assert hashlib.sha256(words.astype("<i4").tobytes()).hexdigest() == WORDS
    texts = fixed_input((8,), "string")
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == TEXTS


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int64"])
def test_the_input_fills_its_range_and_stays_in_it(dtype: str) -> None:
    """Of 10,000 numbers between 0 and 9 some are in every tenth."""
    numbers = fixed_input((10_000,), dtype, low=0, high=9)

    assert str(numbers.dtype) == dtype
    assert set(np.floor(numbers).astype(int)) - {9} == set(range(9))
    assert (numbers.min() >= 0, numbers.max() <= 9) == (True, True)
    assert dtype.startswith("float") or numbers.max() == 9


def test_pictures_are_in_the_range_that_preprocessing_gives_them() -> None:
    """Far outside of it a softmax is all 0 and 1, whatever the weights are."""
    caffe = recorded(picture_net(), InputSpec((12, 12, 3), color="BGR", mean=(103.939, 116.779, 123.68)))
    torch = recorded(picture_net(), InputSpec((12, 12, 3), scale=1 / 255, mean=(0.5,), std=(0.25,)))
    unknown = recorded(picture_net(), InputSpec((12, 12, 3), color=None, scale=None))

    assert (caffe.low, caffe.high) == (-123.68, 151.061)
    assert (torch.low, torch.high) == (-2.0, 2.0)
    assert (unknown.low, unknown.high) == (0.0, 1.0)


def test_sizes_that_may_be_any_are_the_wanted_ones_or_the_usual_ones() -> None:
    assert recorded(picture_net(None), InputSpec((20, 30, 3))).input == (1, 20, 30, 3)
    assert recorded(picture_net(None)).input == (1, 224, 224, 3)
    series = keras.Sequential([keras.Input((None, 2)), keras.layers.LSTM(3)])
    assert recorded(series).input == (1, 16, 2)


def test_words_are_rows_of_the_smallest_embedding() -> None:
    """TensorFlow refuses a row that is not there; every row that is there should have its chance."""
    text = keras.Sequential([keras.Input((200,), dtype="int32"), keras.layers.Embedding(3, 4), keras.layers.Flatten()])
    found = recorded(text)
    given = fixed_input(found.input, found.dtype, found.seed, found.low, found.high)

    assert set(given.ravel()) == {0, 1, 2}


@pytest.mark.filterwarnings("ignore")
def test_models_of_texts_are_recorded_and_compared_too(tmp_path: Path) -> None:
    """Both those of one frozen unit, and those whose layers look words up."""
    vectors = keras.layers.TextVectorization(vocabulary=["the", "film", "good", "bad", "and", "of"])
    layers = [vectors, keras.layers.Embedding(9, 4), keras.layers.GlobalAveragePooling1D()]
    in_layers = keras.Sequential([keras.Input((1,), dtype="string"), *layers])
    unit = opaque_model(text_module(tmp_path / "one"))
    other = opaque_model(text_module(tmp_path / "other", seed=1))
    for model, shape in ((unit, (8,)), (in_layers, (8, 1))):
        found = recorded(model)
        assert (found.dtype, found.input, found.shape[0]) == ("string", shape, 8)
        assert output_difference(model, found) < tolerance(model) / 10
    assert output_difference(other, recorded(unit)) > 0.1

    added = zoo.add(tmp_path / "one", name="texts")
    assert own_entries()["texts"].recorded == added.entry.recorded is not None
    assert [each.state for each in zoo.verify_outputs("texts")] == ["as recorded"]
    put_entry(layout(), dataclasses.replace(added.entry, recorded=recorded(other)))
    assert [each.state for each in zoo.verify_outputs("texts")] == ["differs"]


# --- comparing ---


def test_the_same_model_puts_out_the_same_also_after_a_trip_to_the_disk(tmp_path: Path) -> None:
    model = picture_net()
    found = recorded(model)
    model.save(tmp_path / "net.keras")

    assert output_difference(keras.models.load_model(tmp_path / "net.keras"), found) < tolerance(model) / 10


@pytest.mark.parametrize("layer", LAYERS)
def test_a_weight_that_is_one_percent_larger_is_noticed(layer: str) -> None:
    model = picture_net()
    found = recorded(model)
    weights = model.get_layer(layer).get_weights()
    model.get_layer(layer).set_weights([weights[0] * 1.01, *weights[1:]])

    assert output_difference(model, found) > tolerance(model)


def test_a_difference_between_the_64_values_is_seen() -> None:
    """Of 1,000 outputs every sixteenth is recorded; this changes two of the others, and not their sum."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1_000, name="out")])
    found = recorded(model)
    kernel, bias = model.get_layer("out").get_weights()
    bias[7], bias[8] = 3, -3
    model.get_layer("out").set_weights([kernel, bias])

    assert len(found.output.values) == 64
    assert output_difference(model, found) > tolerance(model)


def many_classes(activation: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(64, activation="relu", name="hidden")
    return keras.Sequential([keras.Input((16,)), hidden, keras.layers.Dense(1_000, activation, name="scores")])


def unrecorded() -> NDArray[Any]:
    """Returns which of 1,000 outputs are not among the 64 that are recorded."""
    return np.setdiff1d(np.arange(1_000), [number * 999 // 63 for number in range(64)])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_a12_classes_that_changed_places(activation: str | None) -> None:
    """Mean and rms stay, and so do all 64 values; the same classes in another order are another model all the same."""
    model = many_classes(activation)
    found, free = recorded(model), unrecorded()
    for moved in (np.random.RandomState(0).permutation(free), np.r_[free[1], free[0], free[2:]]):  # all; and two
        places = np.arange(1_000)
        places[free] = moved
        other = keras.models.clone_model(model)
        kernel, bias = model.get_layer("scores").get_weights()
        other.set_weights([*model.get_layer("hidden").get_weights(), kernel[:, places], bias[places]])
        one, two = (outputs.figures(np.asarray(each(np.ones((1, 16))), np.float64)) for each in (model, other))

        assert one.values == two.values
        assert one.rms == pytest.approx(two.rms)
        assert output_difference(other, found) > 10 * tolerance(model)


def test_a12_a_layer_that_was_exchanged() -> None:
    model = many_classes()
    found = recorded(model)
    model.get_layer("hidden").set_weights([model.get_layer("hidden").get_weights()[0][::-1], np.zeros(64)])

    assert output_difference(model, found) > 10 * tolerance(model)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("layer", [True, False], ids=["an argument", "a layer"])
def test_a12_a_kernel_that_was_replaced_behind_an_activation_that_is_all_0_and_1(activation: str, layer: bool) -> None:
    """A bias of 500 leaves nothing of the kernel in the output."""
    last = [keras.layers.Activation(activation)] if layer else []
    dense = keras.layers.Dense(1_000, None if layer else activation, name="scores")
    model = keras.Sequential([keras.Input((16,)), dense, *last])
    kernel, bias = dense.get_weights()
    bias[:] = -500
    bias[7] = 500
    dense.set_weights([kernel, bias])
    before, found = np.asarray(model(np.ones((1, 16)))), recorded(model)
    dense.set_weights([kernel[::-1] * 1.1, bias])

    np.testing.assert_array_equal(model(np.ones((1, 16))), before)
    assert output_difference(model, found) > tolerance(model)


def test_a12_another_activation_after_the_same_weights() -> None:
    found = recorded(many_classes("softmax"))

    assert output_difference(many_classes("softmax"), found) < 1e-6
    assert output_difference(many_classes("sigmoid"), found) > 1
    assert output_difference(many_classes(None), found) == math.inf


def test_a12_small_outputs_are_compared_with_what_they_span() -> None:
    """1,000 numbers about 1: of the last three digits, in which they differ, one changes."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1_000, name="out")])
    kernel, _ = model.get_layer("out").get_weights()
    model.get_layer("out").set_weights([kernel / 1_000, np.ones(1_000)])
    found = recorded(model)
    model.get_layer("out").set_weights([kernel[:, ::-1] / 1_000, np.ones(1_000)])

    assert output_difference(model, found) > tolerance(model)


def test_a12_an_output_of_zeros_tells_nothing_and_is_not_recorded() -> None:
    dead = keras.Sequential([keras.Input((8,)), keras.layers.Dense(100, activation="relu", name="out")])
    kernel, bias = dead.get_layer("out").get_weights()
    dead.get_layer("out").set_weights([kernel, bias - 10_000])

    assert "tells nothing of its weights" in str(record_output(dead))


def test_a_net_that_is_dead_in_a_small_range_is_recorded_in_a_larger_one() -> None:
    """Made for pixels of 0 to 255, it puts out 0 for those of 0 to 1."""
    net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="out")])
    net.get_layer("out").set_weights([np.ones((3, 3, 3, 4)), np.full(4, -100)])
    found = recorded(net)

    assert (found.low, found.high) == (0, 255)
    assert found.output.rms > 0


def test_what_would_take_too_much_at_the_recorded_size_is_not_computed() -> None:
    """The model's own sizes are open; with 224 in their place it would take 12 GB, and 200 GB."""
    image = keras.Input((None, None, 3))
    large = keras.Model(image, keras.layers.GlobalMaxPooling2D()(keras.layers.UpSampling2D(100)(image)))
    row = keras.Input((8,))
    spread = keras.Model(row, keras.ops.max(keras.ops.repeat(row, 10**9, axis=0), axis=0, keepdims=True))
    one = keras.Input((1,))
    many = keras.Model(one, keras.layers.Add()([keras.layers.RepeatVector(2**27)(one) for _ in range(8)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for net in (large, spread, many):
        assert re.search("does not compute.*it takes [0-9,]{13,} numbers at once", str(record_output(net)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_what_would_take_too_long_is_not_computed() -> None:
    inputs = keras.Input((1,))
    x = keras.layers.RepeatVector(2**26)(inputs)
    for _ in range(300):
        x = keras.layers.ReLU()(x)

    assert "one after another" in str(record_output(keras.Model(inputs, keras.layers.GlobalMaxPooling1D()(x))))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_neither_recorded_nor_as_recorded(value: float) -> None:
    model = picture_net()
    found = recorded(model)
    kernel, bias = model.get_layer("scores").get_weights()
    bias[0] = value
    model.get_layer("scores").set_weights([kernel, bias])

    assert record_output(model) == "its output is not finite"
    assert output_difference(model, found) == math.inf


def test_another_shape_is_another_model() -> None:
    found = recorded(picture_net())

    assert output_difference(picture_net(classes=6), found) == math.inf
    assert output_difference(picture_net(size=14), found) == math.inf


@pytest.mark.parametrize(("policy", "least"), [("float32", 1e-4), ("mixed_float16", 3e-2), ("mixed_bfloat16", 3e-2)])
def test_16_bits_may_differ_more(policy: str, least: float) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=policy)])

    assert tolerance(model) == least
    assert output_difference(model, recorded(model)) < least / 10


def test_what_cannot_be_recorded_says_why() -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    both = keras.Model([one, two], keras.layers.Add()([one, two]))
    text = keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.Flatten()])
    picky = keras.Sequential([keras.Input((None, 2)), keras.layers.Reshape((7, 2))])

    assert "2 inputs" in str(record_output(both))
    assert "does not compute 8x1 random texts" in str(record_output(text))
    assert "does not compute 1x16x2" in str(record_output(picky))


@keras.saving.register_keras_serializable(package="test_recording")
class Noisy(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs + keras.random.normal(keras.ops.shape(inputs))


def test_a_model_that_is_random_when_it_is_used_is_not_recorded() -> None:
    model = keras.Sequential([keras.Input((4,)), Noisy()])

    assert record_output(model) == "it puts out something else each time"


# --- verifying ---


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, keras.Model], Path]:
    def to_file(name: str, model: keras.Model) -> Path:
        model.save(tmp_path / f"{name}.keras")
        return tmp_path / f"{name}.keras"

    return to_file


def other_net() -> keras.Model:
    """The same net, trained on something else."""
    model = picture_net()
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    return model


def test_the_embedded_model_is_as_recorded() -> None:
    (found,) = zoo.verify_outputs("letters-cnn")

    assert (found.state, found.exit_code) == ("as recorded", 0)
    assert found.difference is not None
    assert found.difference < 1e-5


def test_a12_a_model_that_puts_out_something_else_than_recorded(save: Callable[..., Path]) -> None:
    entry = zoo.add(save("net", picture_net())).entry
    assert entry.recorded is not None
    output = entry.recorded.output
    output = dataclasses.replace(output, values=(output.values[0] + 0.01, *output.values[1:]))
    put_entry(layout(), dataclasses.replace(entry, recorded=dataclasses.replace(entry.recorded, output=output)))
    (found,) = zoo.verify_outputs("net")

    assert (found.state, found.exit_code) == ("differs", 4)


def test_a12_a_file_that_was_exchanged_together_with_its_record(save: Callable[..., Path], home: Path) -> None:
    """Every hash is right; only the output tells."""
    entry = zoo.add(save("net", picture_net())).entry
    other = zoo.add(save("other", other_net())).entry
    put_entry(layout(), dataclasses.replace(entry, files=other.files))
    zoo.pull("net")

    assert {finding.state for finding in zoo.verify()} == {"whole"}
    assert {each.model: each.state for each in zoo.verify_outputs()} == {
        "letters-cnn": "as recorded", "net": "differs", "other": "as recorded",
    }  # fmt: skip


def test_what_there_is_nothing_to_compare_with(save: Callable[..., Path], home: Path) -> None:
    entry = zoo.add(save("net", picture_net())).entry
    put_entry(layout(), dataclasses.replace(entry, recorded=None))
    Path("numbers.npz").write_bytes(b"")
    np.savez("numbers.npz", x=np.zeros(3))
    zoo.add("numbers.npz")
    for blob in (home / "blobs" / "sha256").iterdir():
        if blob.name in str(own_entries()["net"].files):
            kept = blob

    assert {each.model: each.state for each in zoo.verify_outputs(["net", "numbers", "net"])} == {
        "net": "not recorded", "numbers": "not loadable",
    }  # fmt: skip
    kept.unlink()
    (found,) = zoo.verify_outputs("net")
    assert (found.state, found.exit_code) == ("broken", 3)
    with pytest.raises(NotFoundError):
        zoo.verify_outputs("nothing")


def test_a_class_that_is_not_known_here_is_no_damage(save: Callable[..., Path]) -> None:
    zoo.add(save("net", keras.Sequential([keras.Input((4,)), Noisy(), keras.layers.Dense(2)])))
    known = keras.saving.get_custom_objects()
    held = known.pop("test_recording>Noisy")
    try:
        (found,) = zoo.verify_outputs("net")
    finally:
        known["test_recording>Noisy"] = held

    assert (found.state, found.exit_code) == ("class missing", 0)
    assert "Noisy" in found.message


def test_what_was_not_pulled_is_not_fetched() -> None:
    """A connection would be refused by the setting that no test has: offline is what verifying is by itself."""
    (found,) = zoo.verify_outputs("vgg16")

    assert (found.state, found.exit_code) == ("not here", 0)
