"""Small files that ask for days or terabytes are refused before Keras builds them; ordinary models are not."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hostile_keras import config_of, rewritten
from keras import layers

import zoo
from zoo.errors import IntegrityError, UnsafeFileError
from zoo.recording import record_output
from zoo.registry import RecordedOutput

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")

Record = dict[str, Any]


def edited(path: Path, net: keras.Model, edit: Callable[[Record], None]) -> Path:
    """Saves a net, and changes every record of a layer in its configuration."""
    net.save(path)
    config = config_of(path)
    config.pop("build_config", None)
    config["config"].pop("build_input_shape", None)
    for layer in layer_records(config):
        layer.pop("build_config", None)
        edit(layer)
    return rewritten(path, config)


def layer_records(config: Record) -> Iterator[Record]:
    for layer in config["config"].get("layers", ()):
        yield layer
        yield from layer_records(layer)


def changing(kind: str, **values: Any) -> Callable[[Record], None]:
    def edit(layer: Record) -> None:
        if layer["class_name"] == kind:
            layer["config"].update(values)

    return edit


def refused(path: Path, words: str, error: type[Exception] = UnsafeFileError) -> None:
    """Sees that a file is refused, and takes less than 100 MB; Linux counts the peak in kB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(error, match=words):
        zoo.load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


# --- calls ---


def doubling(depth: int) -> keras.Model:
    """Models in models, each of which calls the one in it twice."""
    inputs = keras.Input((4,))
    net = keras.Model(inputs, layers.Dense(4)(inputs))
    for _ in range(depth):
        inputs = keras.Input((4,))
        net = keras.Model(inputs, net(net(inputs)))
    return net


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_x07_models_that_call_one_another_without_end_are_refused(suffix: str, tmp_path: Path) -> None:
    doubling(24).save(path := tmp_path / f"net{suffix}")
    refused(path, "more than 20,000 calls")

    net = doubling(3)
    net.save(path := tmp_path / f"few{suffix}")
    x = np.ones((1, 4))
    np.testing.assert_array_equal(zoo.load_model(path)(x), net(x))


def test_x07_layers_of_a_nested_sequential_are_counted_each_time(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), *(layers.ReLU() for _ in range(30))])
    inputs = x = keras.Input((4,))
    for _ in range(700):
        x = inner(x)
    keras.Model(inputs, x).save(path := tmp_path / "net.keras")

    refused(path, "more than 20,000 calls")


def test_x07_one_shared_object_is_not_two(tmp_path: Path) -> None:
    """Keras would take the first record for both, and never read the second, which we count."""
    net = keras.Sequential([keras.Input((4,)), layers.ReLU(name="one"), layers.ReLU(name="two")])

    def share(layer: Record) -> None:
        layer["shared_object_id"] = 7

    refused(edited(tmp_path / "net.keras", net, share), "one shared object in two ways")


def test_x07_a_sequence_of_sequences_is_not_gone_through_step_by_step(tmp_path: Path) -> None:
    inputs = keras.Input((20, 20, 20, 20, 1))
    layer: Any = layers.ReLU()
    for _ in range(4):
        layer = layers.TimeDistributed(layer)
    keras.Model(inputs, layer(inputs)).save(path := tmp_path / "net.keras")

    refused(path, "160,00. steps")


# --- what layers put out ---


def test_x07_every_call_of_a_layer_counts(tmp_path: Path) -> None:
    inputs = keras.Input((1, 1))
    twice = layers.UpSampling1D(2)
    net = keras.Model(inputs, layers.GlobalMaxPooling1D()(twice(twice(inputs))))

    refused(edited(tmp_path / "net.keras", net, changing("UpSampling1D", size=10**6)), "1,000,000,000,000 numbers")


@pytest.mark.parametrize("sequential", [False, True])
def test_x07_a_nested_model_counts_as_it_is_called(sequential: bool, tmp_path: Path) -> None:
    """Of an input of any size nothing is known; of pictures of this size it makes 1.5 billion numbers."""
    image = keras.Input((None, None, 3))
    up, pool = layers.UpSampling2D(2), layers.GlobalMaxPooling2D()
    inner = keras.Sequential([image, up, pool]) if sequential else keras.Model(image, pool(up(image)))
    inputs = keras.Input((224, 224, 3))
    net = keras.Model(inputs, inner(inputs))

    refused(edited(tmp_path / "net.keras", net, changing("UpSampling2D", size=[100, 100])), "1,505,280,000 numbers")


def test_x07_a_batch_of_a_fixed_size_counts(tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input(batch_shape=(2, 4)), layers.Dense(4)])
    path = edited(tmp_path / "net.keras", net, changing("InputLayer", batch_shape=[2**27, 4]))

    refused(path, "536,870,912 numbers")


def test_a_backbone_of_any_size_in_a_model_of_one_size_loads(tmp_path: Path) -> None:
    image = keras.Input((None, None, 3))
    inner = keras.Model(image, layers.Conv2D(4, 3)(layers.UpSampling2D(2)(image)))
    net = keras.Sequential([keras.Input((8, 8, 3)), inner, layers.GlobalMaxPooling2D(), layers.Dense(2)])
    net.save(path := tmp_path / "net.keras")
    x = np.random.default_rng(0).random((1, 8, 8, 3))

    np.testing.assert_array_equal(zoo.load_model(path)(x), net(x))


def test_x16_a_window_without_end_is_not_made(tmp_path: Path) -> None:
    sound = keras.Input((1024,))
    net = keras.Model(sound, layers.MelSpectrogram(fft_length=512, sequence_stride=64)(sound))
    path = edited(tmp_path / "net.keras", net, changing("MelSpectrogram", fft_length=2**30))

    refused(path, "fft_length of 1,073,741,824")


# --- what Keras takes beside weights ---


def test_x07_normalization_wants_its_weights_from_the_file(tmp_path: Path) -> None:
    """Each of these would take four times 64 MiB as it is built."""
    inputs = x = keras.Input((4,))
    for _ in range(6):
        x = layers.Normalization()(x)
    path = edited(tmp_path / "net.keras", keras.Model(inputs, x), changing("InputLayer", batch_shape=[None, 2**24]))

    refused(path, r"the net's shapes are not there.*\(16777216,\)", IntegrityError)


def test_x07_constants_of_many_normalizations_are_added_up(tmp_path: Path) -> None:
    inputs = x = keras.Input((4,))
    for _ in range(6):
        x = layers.Normalization(mean=0.0, variance=1.0)(x)
    path = edited(tmp_path / "net.keras", keras.Model(inputs, x), changing("InputLayer", batch_shape=[None, 2**21]))

    refused(path, "25,165,824 numbers beside its weights")


def stateful_lstm() -> keras.Model:
    lstm = layers.LSTM(4, stateful=True)
    return keras.Sequential([keras.Input(batch_shape=(4, 5, 3)), lstm, layers.Dense(2)])


def stateful_both_ways() -> keras.Model:
    gru = layers.Bidirectional(layers.GRU(4, stateful=True, return_sequences=True))
    cells = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], stateful=True)
    return keras.Sequential([keras.Input(batch_shape=(4, 5, 3)), gru, cells])


def stateful_pictures() -> keras.Model:
    return keras.Sequential([keras.Input(batch_shape=(4, 5, 6, 6, 2)), layers.ConvLSTM2D(3, 3, stateful=True)])


@pytest.mark.parametrize("suffix", [".keras", pytest.param(".h5", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [stateful_lstm, stateful_both_ways, stateful_pictures])
def test_a_net_that_keeps_its_state_loads(make: Callable[[], keras.Model], suffix: str, tmp_path: Path) -> None:
    net = make()
    net.save(path := tmp_path / f"net{suffix}")
    loaded = zoo.load_model(path)
    x = np.random.default_rng(0).random(net.input_shape).astype("float32")

    for _ in range(2):  # the second begins where the first has ended
        np.testing.assert_array_equal(loaded(x), net(x))
    assert not np.array_equal(net(x), net(x))
    found = record_output(loaded)
    assert isinstance(found, RecordedOutput), found
    assert found.input == net.input_shape


@pytest.mark.parametrize("make", [stateful_lstm, stateful_both_ways, stateful_pictures])
def test_x07_no_state_of_a_batch_without_end_is_made(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    net = make()
    batch = changing("InputLayer", batch_shape=[2**22, *net.input_shape[1:]])

    refused(edited(tmp_path / "net.keras", net, batch), "numbers beside its weights")
