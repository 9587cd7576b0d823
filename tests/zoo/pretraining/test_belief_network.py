"""Deep belief networks as models: what their layers and decoders compute, what they read, and how they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.data import ArrayExamples, Split, open_data, split_of
from zoo.errors import DataError, UsageError
from zoo.features import FeatureCache
from zoo.pretraining.belief_network import pretrain_rbm
from zoo.pretraining.columns import columns_of
from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.steps import Learned, picture_spec
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery, split_units
from zoo.training import checkpoints

SPEC = InputSpec((8, 8, 1), color="gray", scale=1 / 255)
COUNT = 400


def digits(count: int = COUNT) -> ArrayExamples:
    found = open_data("digits")
    return ArrayExamples(found.read(np.arange(count)))  # nobody says which is which


def learned(
    units: tuple[int, ...] = (40, 20), data: Any = None, spec: InputSpec | None = SPEC, **options: Any
) -> Learned:
    own = {name: options.pop(name) for name in ("cache", "checkpoints") if name in options}
    data = digits() if data is None else data
    return pretrain_rbm(data, split_of(data), spec, RBMSettings(units, **{"epochs": 10, **options}), **own)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def weights_of(model: keras.Model, name: str) -> Any:
    decoder = model.get_layer("decoder")
    return (decoder if name.startswith("decoder") else model).get_layer(name).get_weights()


@pytest.fixture(scope="module")
def stack() -> Learned:
    return learned(epochs=60)


def test_each_machine_is_a_dense_layer_and_the_decoder_the_last_unit(stack: Learned) -> None:
    units = split_units(stack.model)

    assert [unit.name for unit in units] == ["layer1", "layer2", "decoder"]
    assert [unit.params for unit in units] == [64 * 40 + 40, 40 * 20 + 20, 20 * 40 + 40 + 40 * 64 + 64]
    surgery = Surgery(stack.model, reuse="all", head=Head(10), preprocessing=SPEC)
    assert (surgery.reuse, surgery.stitch().output_shape) == (2, (None, 10))


def test_the_model_takes_means_up_and_down_again(stack: Learned) -> None:
    x = digits().x[:7].astype(np.float32) / 255
    (w1, c1), (w2, c2) = (weights_of(stack.model, name) for name in ("layer1", "layer2"))
    (up2, b2), (up1, b1) = (weights_of(stack.model, name) for name in ("decoder2", "decoder1"))

    np.testing.assert_array_equal(up1, w1.T)
    np.testing.assert_array_equal(up2, w2.T)
    top = sigmoid(sigmoid(x.reshape(7, 64) @ w1 + c1) @ w2 + c2)
    expected = sigmoid(sigmoid(top @ w2.T + b2) @ w1.T + b1).reshape(7, 8, 8, 1)
    np.testing.assert_allclose(np.asarray(stack.model(x)), expected, atol=1e-5)


def test_it_learns_what_the_digits_are(stack: Learned) -> None:
    data, split = digits(), split_of(digits())
    x = data.x / 255.0
    variance = float(((x[split.validation] - x[split.train].mean(axis=0)) ** 2).mean())
    restored = np.asarray(stack.model(x[split.validation].astype(np.float32)))

    assert stack.figures["squared_error"] == pytest.approx(((restored - x[split.validation]) ** 2).mean(), rel=1e-4)
    assert stack.figures["squared_error"] < 0.7 * variance
    assert stack.figures["layer1_reconstruction_error"] < 0.4 * variance
    assert {"layer1_pseudo_likelihood", "layer2_pseudo_likelihood", "layer1_free_energy_gap"} < set(stack.figures)
    assert "layer2_log_likelihood" in stack.figures  # of 20 hidden units
    assert "layer1_log_likelihood" not in stack.figures
    first, last = stack.history.epochs[0], stack.history.epochs[59]
    assert last.score > first.score
    assert (last.val_score or 0) > (first.val_score or 0)
    assert [each.phase for each in stack.history.epochs] == [1] * 60 + [2] * 60


def test_filters_and_reconstructions_are_pictures(stack: Learned) -> None:
    assert {name: each.shape for name, each in stack.pictures.items()} == {
        "filters": (40, 8, 8, 1), "examples": (12, 8, 8, 1), "reconstructions": (12, 8, 8, 1)
    }  # fmt: skip
    for each in stack.pictures.values():
        assert each.dtype == np.float32
        assert 0 <= each.min() < each.max() <= 1


def test_it_is_saved_and_loaded(stack: Learned, tmp_path: Path) -> None:
    stack.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = digits().x[:5].astype(np.float32) / 255

    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(stack.model(x)))


def test_gaussian_units_are_standardized_inside_the_model() -> None:
    data = digits()
    found = learned((30,), visible="gaussian", epochs=30)
    train = (data.x[split_of(data).train] / 255.0).reshape(-1, 64)
    least = 0.1 * np.sqrt(train.var(axis=0).mean())  # of a pixel that is nearly always black
    mean, deviation = train.mean(axis=0), np.maximum(train.std(axis=0), least)
    x = data.x[:7].astype(np.float32) / 255
    (w, c), (up, b) = weights_of(found.model, "layer1"), weights_of(found.model, "decoder1")

    hidden = sigmoid((x.reshape(7, 64) - mean) / deviation @ w + c)
    layer = keras.Model(found.model.input, found.model.get_layer("layer1").output)
    np.testing.assert_allclose(np.asarray(layer(x)), hidden, atol=1e-4)
    np.testing.assert_allclose(up, w.T * deviation, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.asarray(found.model(x)).reshape(7, 64), hidden @ up + b, atol=1e-4)
    assert found.figures["squared_error"] < 0.5 * train.var(axis=0).mean()


def rows(count: int = 300) -> np.ndarray:
    """Returns rows of numbers of very different sizes, of which one never changes."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(count, 2))
    x = common @ rng.normal(size=(2, 6)) * [1, 10, 100, 1, 0.1, 1] + [0, 5, 1000, 0, 0, 3]
    x[:, 3] = 7
    return np.asarray(x.astype(np.float32))


def test_rows_are_standardized_where_they_are_not_within_0_and_1() -> None:
    x = rows()
    found = learned((20,), ArrayExamples(x), None, epochs=40, learning_rate=0.02)
    error = ((np.asarray(found.model(x)) - x) ** 2).mean(axis=0)

    assert [unit.name for unit in split_units(found.model)] == ["layer1", "decoder"]
    assert (error[[0, 1, 2, 4, 5]] < 0.5 * x.var(axis=0)[[0, 1, 2, 4, 5]]).all()
    assert error[3] < 0.5  # what is constant is no trouble
    assert found.pictures == {}
    with pytest.raises(UsageError, match="numbers 0..1; those of 'arrays' are .* gaussian"):
        learned((20,), ArrayExamples(x), None, visible="bernoulli")


def test_rows_within_0_and_1_are_probabilities() -> None:
    x = (rows() > rows().mean(axis=0)).astype(np.float32)
    found = learned((5,), ArrayExamples(x), None)

    assert "log_likelihood" in {name.removeprefix("layer1_") for name in found.figures}
    assert np.asarray(found.model(x)).min() > 0
    assert np.asarray(found.model(x)).max() < 1


def test_test_examples_are_never_read() -> None:
    x = rows()
    split = split_of(ArrayExamples(x))
    x[split.test] = np.nan
    found = pretrain_rbm(ArrayExamples(x), split, None, RBMSettings((5,), epochs=2))

    assert np.isfinite(found.figures["squared_error"])
    with pytest.raises(DataError, match="no|none|Expected training"):
        pretrain_rbm(ArrayExamples(x), Split(split.train[:0], split.validation, split.test), None, RBMSettings((5,)))


class Counting(FeatureCache):
    """A feature cache that remembers what it computed."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.computed: list[tuple[int, int]] = []

    def features(self, trunk: Any, examples: Any, **options: Any) -> Any:
        found = super().features(trunk, examples, **options)
        self.computed.append((trunk.depth, found.stats.misses))
        return found


def test_each_example_passes_the_layers_below_once(tmp_path: Path) -> None:
    data = digits()
    split = split_of(data)
    used = np.unique(data.ids[np.concatenate([split.train, split.validation])], axis=0)
    cache = Counting(tmp_path)
    learned((12, 10, 8), cache=cache, epochs=3)

    assert cache.computed == [(1, len(used)), (2, len(used))]
    cache.computed.clear()
    learned((12, 10, 9), cache=cache, epochs=3)
    assert cache.computed == [(1, 0), (2, 0)]  # the lower layers came out the same, to the bit


class StoppedError(Exception):
    """Stands for a kill."""


def test_a_killed_training_goes_on_in_the_layer_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE", float("inf"))
    expected = learned((12, 10, 8), epochs=3)

    def until(name: str) -> Path:
        if name == "layer3":
            raise StoppedError
        return tmp_path / name

    with pytest.raises(StoppedError):
        learned((12, 10, 8), epochs=3, checkpoints=until)
    written = {name: (tmp_path / name).read_bytes() for name in ("layer1", "layer2")}
    found = learned((12, 10, 8), epochs=3, checkpoints=lambda name: tmp_path / name)

    assert {name: (tmp_path / name).read_bytes() for name in written} == written  # neither was trained again
    for one, other in zip(found.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.figures == expected.figures


def test_columns_are_added_up_piece_by_piece() -> None:
    x = np.random.default_rng(0).normal(3, 2, (2500, 2, 3)).astype(np.float32)
    chosen = np.arange(100, 2400)
    columns = columns_of(x, chosen)

    np.testing.assert_allclose(columns.mean, x[chosen].mean(axis=0, dtype=np.float64).reshape(-1))
    np.testing.assert_allclose(columns.deviation, x[chosen].std(axis=0, dtype=np.float64).reshape(-1))
    assert (columns.low, columns.high) == (x[chosen].min(), x[chosen].max())


def test_pictures_of_digits_have_the_spec_of_these_tests() -> None:
    assert picture_spec(digits().shape) == SPEC
