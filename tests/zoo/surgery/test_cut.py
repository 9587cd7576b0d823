"""Surgery: equal to the model below the cut, frozen where it says so, and never felt by the caller's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from zoo.errors import CutError, UsageError
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery, training_call, whole_trunk
from zoo.surgery.heads import POOLS, Pool
from zoo.training import FitSettings, Part, fit


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shaken(model: keras.Model) -> keras.Model:
    """The model with BatchNormalization statistics that are not the identity."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


def conv_net() -> keras.Model:
    return shaken(keras.Sequential([
        keras.Input((12, 12, 3)),
        layers.Conv2D(4, 3, name="conv1"), layers.BatchNormalization(name="bn1"), layers.ReLU(name="relu1"),
        layers.Dropout(0.5, name="drop1"),
        layers.Conv2D(6, 3, name="conv2"), layers.BatchNormalization(name="bn2"), layers.ReLU(name="relu2"),
        layers.Conv2D(8, 3, name="conv3"), layers.ReLU(name="relu3"),
        layers.Flatten(name="flat"), layers.Dense(5, name="fc"),
    ]))  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param("ResNet50", marks=pytest.mark.slow), "MobileNetV2"])
def test_every_legal_cut_of_applications_gives_back_the_model(name: str) -> None:
    """tail(trunk(x)) equals model(x) to float32 rounding, at each cut (64x64 keeps it quick)."""
    model = shaken(getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classifier_activation=None))
    trunk = whole_trunk(model)
    x = noise(2, 64, 64, 3)
    expected = np.asarray(model(x))
    every = keras.Model(trunk.cuts[0], list(trunk.cuts[1:]))(x)
    assert np.abs(expected).max() > 1e-3  # a dead net would agree with anything
    for depth, features in enumerate(every[:-1], 1):
        tail = keras.Model(trunk.cuts[depth], trunk.output)
        np.testing.assert_allclose(tail(features), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("reuse", "freeze"), [(0, 0), (1, 0), (1, 1), (2, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("pool", POOLS)
def test_stitch_equals_head_of_tail_of_trunk(reuse: int, freeze: int, pool: Pool) -> None:
    surgery = Surgery(conv_net(), reuse, freeze, Head(classes=4, hidden=(7,), pool=pool))
    x = noise(3, 12, 12, 3)
    features = surgery.trunk(x) if surgery.trunk else x
    whole = np.asarray(surgery.stitch()(x))
    assert whole.shape == (3, 4)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(surgery.head(surgery.tail(features)), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(surgery.trainable(features), whole, rtol=1e-5, atol=1e-6)


def test_training_leaves_frozen_units_and_the_callers_model_byte_for_byte() -> None:
    model = conv_net()
    before = [weight.tobytes() for weight in model.get_weights()]
    flags = [layer.trainable for layer in model.layers]
    surgery = Surgery(model, 3, 1, Head(classes=2))
    assert surgery.trunk is not None
    frozen = [weight.tobytes() for weight in surgery.trunk.model.get_weights()]
    tail = [weight.copy() for weight in surgery.tail.get_weights()]
    x, y = noise(16, 12, 12, 3), np.arange(16) % 2
    features = np.asarray(surgery.trunk(x))
    fit(
        surgery.logits,
        Part(features, y, np.arange(16)),
        Part(features, y, np.arange(0)),
        FitSettings(epochs=2),
    )
    assert [weight.tobytes() for weight in surgery.trunk.model.get_weights()] == frozen == before[:6]
    assert [weight.tobytes() for weight in model.get_weights()] == before
    assert [layer.trainable for layer in model.layers] == flags
    assert any(np.any(new != old) for new, old in zip(surgery.tail.get_weights(), tail, strict=True))


@pytest.mark.parametrize("train_batchnorm", [False, True])
def test_batchnorm_in_the_tail(train_batchnorm: bool) -> None:
    """Gamma and beta train always; the statistics only when asked for."""
    surgery = Surgery(conv_net(), 3, 1, Head(classes=2), train_batchnorm=train_batchnorm)
    assert surgery.trunk is not None
    x, y = noise(32, 12, 12, 3), np.arange(32) % 2
    features = np.asarray(surgery.trunk(x))
    old = [weight.copy() for weight in surgery.tail.get_layer("bn2").get_weights()]
    fit(
        surgery.logits,
        Part(features, y, np.arange(32)),
        Part(features, y, np.arange(0)),
        FitSettings(epochs=2),
    )
    changed = [bool(np.any(a != b)) for a, b in zip(surgery.tail.get_layer("bn2").get_weights(), old, strict=True)]
    assert changed == [True, True, train_batchnorm, train_batchnorm]


def test_only_the_head_trains_where_everything_reused_is_frozen() -> None:
    stitched = Surgery(conv_net(), 2, 2, Head(classes=2)).stitch()
    assert [weight.path.split("/")[0] for weight in stitched.trainable_weights] == ["head_logits"] * 2
    statistics = stitched.get_layer("bn1").get_weights()
    stitched(noise(8, 12, 12, 3), training=True)
    assert all(np.array_equal(a, b) for a, b in zip(statistics, stitched.get_layer("bn1").get_weights(), strict=True))


def test_a_stitched_model_is_saved_and_loaded_by_plain_keras(tmp_path: Path) -> None:
    surgery = Surgery(conv_net(), 3, 2, Head(classes=3, hidden=(4,)))
    stitched, x = surgery.stitch(), noise(4, 12, 12, 3)
    stitched.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), stitched(x))
    # Trunk and tail keep their modes: only head_logits, head_hidden1 and conv3 train; bn2 is in the trunk.
    assert len(loaded.trainable_weights) == len(stitched.trainable_weights) == 6


def test_a_model_that_was_cut_before_can_be_cut_again() -> None:
    once = Surgery(conv_net(), 2, 1, Head(classes=3, hidden=(4,))).stitch()
    again = Surgery(once, "all", "all", Head(classes=2, hidden=(4,)))
    assert [unit.name for unit in again.units] == ["conv1", "conv2", "head_hidden1", "head_logits"]
    assert [layer.name for layer in again.head.layers[1:]] == [
        "head2_hidden1",
        "head2_logits",
        "head2_probabilities",
    ]


def test_parameters_add_up() -> None:
    surgery = Surgery(conv_net(), 2, 1, Head(classes=3))
    # conv1: 3*3*3*4 + 4, bn1: 4*4; conv2: 3*3*4*6 + 6, bn2: 4*6; head: 6*3 + 3
    assert surgery.parameters() == {"frozen": 128, "trained": 246, "new": 21}


def test_copies_of_the_same_seed_are_equal_and_need_no_global_randomness() -> None:
    model = conv_net()
    keras.utils.set_random_seed(1)
    first = Surgery(model, 2, 1, Head(classes=3, hidden=(4,), seed=5)).stitch().get_weights()
    keras.utils.set_random_seed(2)
    second = Surgery(model, 2, 1, Head(classes=3, hidden=(4,), seed=5)).stitch().get_weights()
    other = Surgery(model, 2, 1, Head(classes=3, hidden=(4,), seed=6)).stitch().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_scratch_is_the_same_shape_with_random_weights_that_all_train() -> None:
    model = conv_net()
    surgery = Surgery(model, 2, 0, Head(classes=3), train_batchnorm=True, random=True)
    scratch = surgery.stitch()
    assert scratch.count_params() == Surgery(model, 2, 1, Head(classes=3)).stitch().count_params()
    assert not np.array_equal(scratch.get_layer("conv1").get_weights()[0], model.get_layer("conv1").get_weights()[0])
    assert len(scratch.trainable_weights) == 10  # two kernels and biases, two gammas and betas, the head
    assert scratch.get_layer("bn1").momentum == 0.9
    assert model.get_layer("bn1").momentum == 0.99


def test_a_weighted_layer_on_both_sides_of_the_boundary_is_refused() -> None:
    shared = layers.Dense(4, name="shared")
    vector = keras.Input((4,))
    model = keras.Model(vector, layers.Dense(2)(shared(layers.ReLU()(shared(vector)))))
    with pytest.raises(CutError, match="'shared'.*--freeze 2, or --freeze 0"):
        Surgery(model, 2, 1, Head(classes=2))
    for freeze in (0, 2):
        surgery = Surgery(model, 2, freeze, Head(classes=2))
        assert len(surgery.stitch().weights) == 4  # shared stays one layer


def test_a_stateless_layer_on_both_sides_is_fine() -> None:
    relu, vector = layers.ReLU(name="relu"), keras.Input((4,))
    x = relu(layers.Dense(4, name="a")(vector))
    model = keras.Model(vector, layers.Dense(2, name="out")(relu(layers.Dense(4, name="b")(x))))
    surgery = Surgery(model, 2, 1, Head(classes=2))
    assert surgery.stitch()(noise(2, 4)).shape == (2, 2)


def test_stateful_recurrent_layers_are_refused_by_name() -> None:
    steps = keras.Input(batch_shape=(2, 3, 4))
    model = keras.Model(steps, layers.Dense(2)(layers.LSTM(3, stateful=True, name="memory")(steps)))
    with pytest.raises(CutError, match="'memory'.*stateful"):
        Surgery(model, 1, 1, Head(classes=2))


def test_recurrent_and_attention_models_are_cut() -> None:
    tokens = keras.Input((6, 8))
    x = layers.LSTM(5, return_sequences=True, name="lstm")(tokens)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    surgery = Surgery(model, 2, 1, Head(classes=2))
    x = noise(2, 6, 8)
    assert surgery.trunk is not None
    np.testing.assert_allclose(surgery.trainable(surgery.trunk(x)), surgery.stitch()(x), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="test")
class Doubling(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


def test_custom_layers_are_copied_too() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), Doubling(), layers.Dense(2)])
    surgery = Surgery(model, 1, 1, Head(classes=2))
    x = noise(2, 4)
    assert surgery.trunk is not None
    np.testing.assert_allclose(surgery.trunk(x), 2 * model.layers[0](x), rtol=1e-6)


def test_preprocessing_is_kept_with_the_trunk() -> None:
    spec = InputSpec((12, 12, 3), scale=1 / 255)
    surgery = Surgery(conv_net(), 2, 2, Head(classes=2), preprocessing=spec)
    assert surgery.trunk is not None
    assert surgery.trunk.preprocessing is spec
    assert surgery.trunk.at(1).depth == 1
    with pytest.raises(CutError, match="1 to 2"):
        surgery.trunk.at(3)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (lambda: Head(classes=1), "at least 2 classes"),
        (lambda: Head(classes=2, hidden=(0,)), "at least 1 unit"),
        (lambda: Head(classes=2, pool="mean"), "avg, max, avgmax, flatten"),  # type: ignore[arg-type]
    ],
)
def test_heads_that_cannot_be(head: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        head()


def test_adapted_normalization_keeps_its_statistics() -> None:
    """EfficientNet normalizes inside: its copy must too."""
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(noise(100, 4) * 3 + 5)
    model = keras.Sequential([keras.Input((4,)), normalization, layers.Dense(3), layers.Dense(2)])
    surgery = Surgery(model, 1, 1, Head(classes=2))
    x = noise(5, 4)
    assert surgery.trunk is not None
    np.testing.assert_allclose(surgery.trunk(x), model.layers[1](model.layers[0](x)), rtol=1e-5)


@keras.saving.register_keras_serializable(package="test")
class Projection(keras.layers.Layer):
    """A fixed random projection: its seed is what it computes."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}

    def call(self, x: Any) -> Any:
        return x @ np.random.default_rng(self.seed).normal(size=(x.shape[-1], 3)).astype(np.float32)


def test_a_seed_that_was_set_stays() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Projection(7), layers.Dense(2)])
    surgery = Surgery(model, 1, 1, Head(classes=2))
    x = noise(5, 4)
    assert surgery.trunk is not None
    np.testing.assert_allclose(surgery.trunk(x), model.layers[1](model.layers[0](x)), rtol=1e-5)


class Forgetful(keras.layers.Layer):
    """Keeps what it computes where no copy finds it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.factor = 1.0

    def call(self, x: Any) -> Any:
        return x * self.factor


def test_a_layer_that_no_copy_can_equal_is_refused() -> None:
    forgetful = Forgetful()
    forgetful.factor = 3.0
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), forgetful, layers.Dense(2)], name="net")
    with pytest.raises(CutError, match=r"copy of unit 1 \(dense.*computes something else"):
        Surgery(model, 1, 1, Head(classes=2))


def test_dropout_inside_composite_layers_and_nested_blocks_drops_in_training() -> None:
    """Half of a Dropout(0.5)'s outputs are 0 in training, though BatchNormalization beside it keeps its statistics."""

    class Composite(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.Dropout(0.5, seed=1)

        def call(self, x: Any) -> Any:
            return self.drop(x)

    for block in (Composite(), keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.5, seed=1)])):
        vector = keras.Input((1000,))
        fixed = {"training": False} if isinstance(block, keras.Model) else {}
        run = training_call(keras.Model(vector, block(vector, **fixed)))
        zeros = float(np.mean(np.asarray(run(np.ones((10, 1000), np.float32))) == 0))
        assert 0.45 < zeros < 0.55  # 10,000 draws: 0.5 within ten standard errors
    statistics = block.layers[0].get_weights()[2:]
    assert [weight.max() for weight in statistics] == [0, 1]


def test_every_input_dtype_and_policy_is_trained() -> None:
    words = keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 4, name="embed")(words))
    model = keras.Model(words, layers.Dense(2)(layers.Dense(3, dtype="mixed_float16")(x)))
    surgery = Surgery(model, 2, 1, Head(classes=2))
    x, y = np.random.default_rng(0).integers(0, 50, (20, 6)), np.arange(20) % 2
    assert surgery.trunk is not None
    features = np.asarray(surgery.trunk(x))
    train, validation = Part(features, y, np.arange(20)), Part(features, y, np.arange(4))
    history = fit(surgery.logits, train, validation, FitSettings(epochs=2))
    assert np.isfinite(history.epochs[-1].loss)
