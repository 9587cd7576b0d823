"""What stacked autoencoders are made of: formulas in NumPy, and adjoints."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import entropy

from zoo.data import ArrayExamples, Split, open_data
from zoo.errors import UsageError
from zoo.pretraining.blocks import BlockSpec, ConvBlock, DenseBlock
from zoo.pretraining.corrupting import Corrupted, Corruption
from zoo.pretraining.stack import AutoencoderSettings, Stack, sparsity_penalty
from zoo.pretraining.steps import inputs_of, picture_spec
from zoo.training import FitSettings

NONE = np.arange(0)


def settings(epochs: int = 3, **options: Any) -> AutoencoderSettings:
    return AutoencoderSettings(fit=FitSettings(epochs=epochs), **options)


def some(examples: Any, train: int, validation: int) -> Split:
    rows = np.arange(train + validation)
    return Split(rows[:train], rows[train:], np.arange(train + validation, len(examples)))


def test_what_trains_a_layer_has_none_of_those_below() -> None:
    digits = open_data("digits", unlabelled=True)
    inputs = inputs_of(digits, some(digits, 20, 0), picture_spec(digits.shape))
    stack = Stack(inputs, settings(units=(20, 10)))

    model = stack.training_model(2)

    assert model.input_shape == (None, 20)
    assert {tuple(each.shape) for each in model.trainable_variables} == {(20, 10), (10,), (10, 20), (20,)}


def test_the_penalty_of_codes_is_the_divergence_of_two_coins() -> None:
    code = np.random.default_rng(1).uniform(0.01, 0.99, (6, 2, 3, 4)).astype(np.float32)
    mean = code.mean(axis=(0, 1, 2), dtype=np.float64)

    wanted = np.mean([entropy([0.2, 0.8], [each, 1 - each]) for each in mean])

    assert float(sparsity_penalty(code, 0.2)) == pytest.approx(wanted, rel=1e-5)
    assert np.isfinite(float(sparsity_penalty(np.zeros((2, 3), np.float32), 0.2)))


def test_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(2)
    examples = ArrayExamples(rng.integers(0, 256, (8, 3, 3, 1)).astype(np.uint8))
    inputs = inputs_of(examples, Split(np.arange(8), NONE, NONE), picture_spec((3, 3, 1)))
    x = inputs.array(inputs.train)
    for loss in ("mse", "crossentropy"):
        stack = Stack(inputs, settings(units=(5,), activation="sigmoid", loss=loss, sparsity=0.3, sparsity_weight=0.7))
        found = np.asarray(stack.training_model(1)(x), np.float64)

        kernel, bias = (np.asarray(each, np.float64) for each in stack.blocks[0].kernel.get_weights())
        code = 1 / (1 + np.exp(-(x.reshape(8, 9) @ kernel + bias)))
        kernel, bias = stack.blocks[0].decoder_weights()
        decoded, clean = code @ kernel + bias, x.reshape(8, 9)
        penalty = np.mean([entropy([0.3, 0.7], [each, 1 - each]) for each in code.mean(axis=0)])
        if loss == "crossentropy":
            decoded = 1 / (1 + np.exp(-decoded))
            each = -(clean * np.log(decoded) + (1 - clean) * np.log(1 - decoded)).mean(axis=1)
        else:
            each = ((decoded - clean) ** 2).mean(axis=1)
        np.testing.assert_allclose(found[:, 0], each + 0.7 * penalty, rtol=1e-4)
        np.testing.assert_allclose(found[:, 1], ((decoded - clean) ** 2).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("kind", [DenseBlock, ConvBlock])
def test_a_tied_decoder_is_the_transpose_of_its_encoder(kind: type[DenseBlock | ConvBlock]) -> None:
    rng = np.random.default_rng(4)
    block = kind(BlockSpec(1, 6, "linear", "linear", tied=True, seed=0), (6, 6, 2))
    source = keras.Input((6, 6, 2))
    block.decode(block.encode(source))
    linear = block.kernel
    x = rng.normal(size=(1, 6, 6, 2)).astype(np.float32)
    flat = x.reshape(1, -1) if kind is DenseBlock else x
    code = rng.normal(size=np.asarray(linear(flat)).shape).astype(np.float32)

    back = block._decoder(code)

    # <Ax, y> = <x, A'y>: what being the transpose means.
    assert np.sum(np.asarray(linear(flat)) * code) == pytest.approx(np.sum(flat * np.asarray(back)), rel=1e-3)


def test_what_is_corrupted() -> None:
    x = np.ones((4, 5000), np.float32)
    layer = Corrupted(mask=0.3, noise=0.5, seed=1)

    trained = [np.asarray(layer(x, training=True)) for _ in range(2)]
    judged = [np.asarray(layer(x)) for _ in range(2)]

    assert not np.array_equal(trained[0], trained[1])
    np.testing.assert_array_equal(judged[0], judged[1])
    for found in (trained[0], judged[0]):
        kept = found[found != 0]
        assert len(kept) / x.size == pytest.approx(0.7, abs=0.02)
        assert kept.mean() == pytest.approx(1, abs=0.02)
        assert kept.std() == pytest.approx(0.5, abs=0.02)
    for options in ({"mask": 1.0}, {"mask": -0.1}, {"noise": -1.0}, {"noise": float("nan")}):
        with pytest.raises(UsageError):
            Corruption(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "layers of at least 1 unit"),
        ({"units": (5, 0)}, "layers of at least 1 unit"),
        ({"units": (5,), "loss": "mae"}, "Expected a loss of mse, crossentropy"),
        ({"units": (5,), "activation": "no-such"}, "an activation that Keras knows"),
        ({"units": (5,), "sparsity": 1.0}, "above 0 and below 1"),
        ({"units": (5,), "sparsity": 0.1, "activation": "relu"}, "activation sigmoid"),
        ({"units": (5,), "sparsity_weight": -1.0}, "0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AutoencoderSettings(**options)
