"""Autoencoders against PCA, formulas in NumPy, and themselves after an interruption."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from zoo.data import ArrayExamples, Split, open_data
from zoo.errors import DataError, UsageError
from zoo.features import FeatureCache
from zoo.features.extraction import Extraction
from zoo.pretraining.autoencoders import pretrain_autoencoder
from zoo.pretraining.corrupting import Corrupted, Corruption
from zoo.pretraining.stack import AutoencoderSettings
from zoo.pretraining.steps import Learned, inputs_of, picture_spec
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery, split_units
from zoo.training import FitSettings, Schedule

pytestmark = pytest.mark.slow  # most of the time is tracing: the parts have faster tests of their own

NONE = np.arange(0)


@pytest.fixture(scope="module")
def digits() -> Any:
    return open_data("digits", unlabelled=True)


def slow(value: Any) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


def settings(epochs: int = 3, **options: Any) -> AutoencoderSettings:
    return AutoencoderSettings(fit=FitSettings(epochs=epochs), **options)


def some(examples: Any, train: int, validation: int) -> Split:
    rows = np.arange(train + validation)
    return Split(rows[:train], rows[train:], np.arange(train + validation, len(examples)))


def numbers(examples: Any, rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(examples.read(rows), np.float64) / 255


def test_a_linear_one_restores_as_well_as_principal_components(digits: Any) -> None:
    rows = np.arange(len(digits))
    x = numbers(digits, rows).reshape(len(rows), -1)
    pca = PCA(10).fit(x)
    best = ((pca.inverse_transform(pca.transform(x)) - x) ** 2).mean()
    fit = FitSettings(epochs=120, batch_size=64, learning_rate=0.01, schedule=Schedule("cosine"))

    learned = pretrain_autoencoder(
        digits, Split(rows, NONE, NONE), picture_spec(digits.shape),
        AutoencoderSettings(units=(10,), activation="linear", fit=fit),
    )  # fmt: skip

    found = ((np.asarray(learned.model(x.reshape(-1, 8, 8, 1))).reshape(x.shape) - x) ** 2).mean()
    assert best * (1 - 1e-4) < found < 1.02 * best  # nothing linear can do better
    assert learned.figures["squared_error"] == pytest.approx(found, rel=1e-4)
    assert learned.figures["explained"] == pytest.approx(pca.explained_variance_ratio_.sum(), abs=0.02)


class Guarded(ArrayExamples):
    """Pictures of which but the first 200 may be looked at."""

    def read(self, rows: Any) -> NDArray[Any]:
        assert np.max(rows) < 200
        return super().read(rows)


def test_every_example_but_those_of_test_passes_every_frozen_layer_once(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: Counter[int] = Counter()
    run = Extraction.run

    def counted(self: Extraction, trunks: Any, rows: Any, start: int = 0, *others: Any) -> Any:
        for batch in run(self, trunks, rows, start, *others):
            passed.update({layer: len(batch.rows) for layer in range(start + 1, trunks[0].depth + 1)})
            yield batch

    monkeypatch.setattr(Extraction, "run", counted)
    examples = Guarded(digits.read(np.arange(250)))
    split, cache, how = some(examples, 150, 50), FeatureCache(tmp_path), settings(units=(20, 10, 5))

    first = pretrain_autoencoder(examples, split, picture_spec(digits.shape), how, cache=cache)
    assert passed == {1: 200, 2: 200}

    again = pretrain_autoencoder(examples, split, picture_spec(digits.shape), how, cache=cache)
    assert passed == {1: 200, 2: 200}  # the same seed makes the same layers, whose features are there
    assert_equal(first.model, again.model)


def assert_equal(model: keras.Model, other: keras.Model) -> None:
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("tied", [True, slow(False)])
@pytest.mark.parametrize("options", [{"conv": (4,), "units": (12,)}, slow({"units": (30, 12)}), slow({"conv": (4, 8)})])
def test_the_model_that_is_left_restores_what_the_trained_one_does(options: dict[str, Any], tied: bool) -> None:
    size = (7, 5, 3)
    x = np.random.default_rng(0).integers(0, 256, (60, *size)).astype(np.uint8)
    examples, split = ArrayExamples(x), Split(np.arange(40), np.arange(40, 60), NONE)
    how = settings(1, tied=tied, finetune=True, loss="crossentropy", **options)

    learned = pretrain_autoencoder(examples, split, picture_spec(size), how)

    # Trained as one net with layers of ours, measured as one of Keras alone: two ways to the same number.
    assert learned.figures["squared_error"] == pytest.approx(learned.figures["stack_squared_error"], rel=1e-4)
    restored = np.asarray(learned.model(x[40:] / np.float32(255)))
    assert ((restored - x[40:] / 255) ** 2).mean() == pytest.approx(learned.figures["squared_error"], rel=1e-4)
    assert 0 < restored.min() < restored.max() < 1


def test_its_layers_are_units_and_the_decoder_the_last(digits: Any, tmp_path: Path) -> None:
    learned = pretrain_autoencoder(
        digits, some(digits, 100, 20), picture_spec(digits.shape), settings(1, conv=(4,), units=(12,), tied=True)
    )

    units = split_units(learned.model)
    assert [unit.name for unit in units] == ["layer1", "layer2", "decoder"]
    assert [unit.output_shape for unit in units][1:] == [(12,), (8, 8, 1)]
    assert all(type(layer).__module__.startswith("keras.") for layer in learned.model.layers)
    net = Surgery(learned.model, "all", head=Head(classes=10)).stitch()
    assert (net.output_shape, Surgery(learned.model, "all").reuse) == ((None, 10), 2)
    assert learned.model.get_layer("layer2").output.shape == (None, 12)  # called once, in no other model
    learned.model.save(tmp_path / "model.keras")
    assert_equal(learned.model, keras.models.load_model(tmp_path / "model.keras"))


def test_pictures_for_people(digits: Any) -> None:
    how = settings(1, units=(16,), corruption=Corruption(mask=0.5))
    split = some(digits, 100, 20)

    found = pretrain_autoencoder(digits, split, picture_spec(digits.shape), how).pictures

    assert found["filters"].shape == (16, 8, 8, 1)
    assert found["examples"].shape == found["reconstructions"].shape == found["corrupted"].shape == (12, 8, 8, 1)
    np.testing.assert_allclose(found["examples"], numbers(digits, split.validation[:12]), rtol=1e-6)
    was_set = found["examples"] > 0
    assert 0.4 < (found["corrupted"][was_set] == 0).mean() < 0.6
    for pictures in found.values():
        assert pictures.dtype == np.float32
        assert pictures.min() >= 0
        assert pictures.max() <= 1


def test_a_denoising_one_restores_masked_pictures_better_than_one_that_never_saw_such(digits: Any) -> None:
    split, spec = some(digits, 1000, 200), picture_spec(digits.shape)
    x = numbers(digits, split.validation).astype(np.float32)
    masked = np.asarray(Corrupted(mask=0.4, seed=9)(x))

    def error(learned: Learned) -> float:
        return float(((np.asarray(learned.model(masked)) - x) ** 2).mean())

    plain = pretrain_autoencoder(digits, split, spec, settings(20, units=(60,)))
    denoising = pretrain_autoencoder(digits, split, spec, settings(20, units=(60,), corruption=Corruption(mask=0.4)))

    assert error(denoising) < 0.75 * error(plain)


def test_a_sparse_one_has_units_that_are_seldom_active(digits: Any) -> None:
    split, spec = some(digits, 1000, 200), picture_spec(digits.shape)

    sparse = pretrain_autoencoder(digits, split, spec, settings(15, units=(60,), sparsity=0.1, sparsity_weight=1.0))

    assert 0.07 < sparse.figures["layer1_activation"] < 0.15  # and without the penalty 0.45 or so


class KilledError(Exception):
    """Ends a training from outside."""


class Killing:
    """A progress that ends the training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.left, self._unit = epochs, ""

    def start(self, total: int | None, unit: str) -> None:
        self._unit = unit

    def expect(self, total: int) -> None:
        pass

    def advance(self, n: int, **figures: float) -> None:
        self.left -= n if self._unit == "epochs" else 0
        if self.left < 0:
            raise KilledError

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "epochs", [slow(2), 7, slow(12)]
)  # of 5 in each phase: in the first layer, the second, the whole stack
def test_what_was_killed_goes_on_as_if_nothing_had_happened(
    digits: Any, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.training.checkpoints.SECONDS", 0.0)
    monkeypatch.setattr("zoo.training.checkpoints._SHARE", 1e9)
    split, spec = some(digits, 200, 50), picture_spec(digits.shape)
    how = settings(5, units=(20, 10), corruption=Corruption(mask=0.2, noise=0.1), finetune=True)
    whole = pretrain_autoencoder(digits, split, spec, how)

    def checkpoints(name: str) -> Path:
        return tmp_path / f"{name}.safetensors"

    cache = FeatureCache(tmp_path)
    with pytest.raises(KilledError):
        pretrain_autoencoder(digits, split, spec, how, cache=cache, checkpoints=checkpoints, progress=Killing(epochs))
    counting = Killing(1000)
    again = pretrain_autoencoder(digits, split, spec, how, cache=cache, checkpoints=checkpoints, progress=counting)

    assert_equal(again.model, whole.model)
    assert [(each.epoch, each.phase, each.loss) for each in again.history.epochs] == [
        (each.epoch, each.phase, each.loss) for each in whole.history.epochs
    ]
    assert again.figures == whole.figures


def test_rows_are_standardized_inside_the_model() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6)) * [1, 10, 100, 1, 1, 0] + [0, 5, -50, 2, 1, 7]
    examples, split = ArrayExamples(rows.astype(np.float32)), some(range(300), 250, 50)
    how = AutoencoderSettings(units=(3,), activation="linear", fit=FitSettings(epochs=60, learning_rate=0.02))

    learned = pretrain_autoencoder(examples, split, None, how)

    x = rows[split.train]
    deviation = x.std(axis=0)
    wanted = (rows - x.mean(axis=0)) / np.where(deviation > 1e-3, deviation, 1)
    standardized = learned.model.get_layer("standardize")(rows.astype(np.float32))
    np.testing.assert_allclose(np.asarray(standardized), wanted, atol=1e-3)
    restored = np.asarray(learned.model(rows[split.validation].astype(np.float32)))
    assert ((restored - wanted[split.validation]) ** 2).mean() == pytest.approx(
        learned.figures["squared_error"], rel=1e-3
    )
    assert learned.figures["explained"] > 0.9  # there are but three factors
    assert not learned.pictures
    assert [unit.name for unit in split_units(learned.model)] == ["layer1", "decoder"]


def test_examples_that_do_not_suit_are_refused(digits: Any) -> None:
    split, spec = some(digits, 20, 5), picture_spec(digits.shape)
    rows = ArrayExamples(np.random.default_rng(0).normal(size=(25, 4)).astype(np.float32))

    with pytest.raises(UsageError, match=r"at most\s+3"):
        pretrain_autoencoder(digits, split, spec, settings(conv=(2, 2, 2, 2)))
    with pytest.raises(UsageError, match="want pictures"):
        pretrain_autoencoder(rows, split, None, settings(conv=(2,)))
    with pytest.raises(UsageError, match="numbers 0..1"):
        pretrain_autoencoder(rows, split, None, settings(units=(2,), loss="crossentropy"))
    with pytest.raises(DataError, match="none"):
        pretrain_autoencoder(digits, Split(NONE, NONE, NONE), spec, settings(units=(2,)))
    with pytest.raises(DataError, match="one shape"):
        inputs_of(_Several(digits), split, InputSpec((None, None, 1), color="gray", scale=1 / 255))


class _Several(ArrayExamples):
    """Pictures whose sizes vary."""

    def __init__(self, digits: Any) -> None:
        super().__init__(np.asarray(digits.read(np.arange(30))))
        self.shape = (None, None, 1)
