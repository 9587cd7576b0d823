"""Figures of what was learned: of the weights that are kept, in units that can be compared, and within memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from zoo.data import ArrayExamples, Split
from zoo.errors import TrainingError, UsageError
from zoo.pretraining import autoencoders, columns, rbm_training
from zoo.pretraining.autoencoders import pretrain_autoencoder
from zoo.pretraining.belief_network import pretrain_rbm
from zoo.pretraining.columns import columns_of
from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.rbm import new_rbm
from zoo.pretraining.rbm_training import Seen, final_figures
from zoo.pretraining.stack import AutoencoderSettings, Stack
from zoo.pretraining.steps import Learned, inputs_of, standardizing
from zoo.training import Epoch, FitSettings, History, Part, fit

NONE = np.arange(0)


def rows(count: int = 120) -> NDArray[np.float32]:
    """Returns rows of 6 columns that follow from 2 factors, and are of very different sizes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 2)) @ rng.normal(size=(2, 6)) * [1, 10, 1000, 1, 0.1, 1]
    return np.asarray(x, np.float32)


def some(train: int, validation: int = 0) -> Split:
    return Split(np.arange(train), np.arange(train, train + validation), NONE)


def test_a_stack_that_was_better_before_has_the_score_of_that_and_no_kept_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fitted(model: Any, train: Any, validation: Any, how: FitSettings, *others: Any, **options: Any) -> History:
        how = dataclasses.replace(how, learning_rate=5.0) if options["beat_start"] else how
        return fit(model, train, validation, how, *others, **options)

    monkeypatch.setattr(autoencoders, "fit", fitted)
    how = AutoencoderSettings(units=(4, 3), finetune=True, fit=FitSettings(epochs=3, learning_rate=0.1))

    learned = pretrain_autoencoder(ArrayExamples(rows()), some(100, 20), None, how)

    assert learned.figures["stack_squared_error"] == pytest.approx(learned.figures["squared_error"], rel=1e-4)
    assert learned.history.best_epoch == 0
    assert len(learned.history.epochs) == 9


@pytest.mark.filterwarnings("error")
def test_the_error_of_rows_is_of_standardized_numbers_however_large() -> None:
    x = rows()
    how = RBMSettings(units=(5,), epochs=3)

    learned = pretrain_rbm(ArrayExamples(x), some(100, 20), None, how)
    large = pretrain_rbm(ArrayExamples(x * np.float32(2.0**73)), some(100, 20), None, how)

    difference = (np.asarray(learned.model(x[100:])) - x[100:]) / x[:100].std(axis=0, dtype=np.float64)
    assert learned.figures["squared_error"] == pytest.approx((difference**2).mean(), rel=1e-4)
    assert large.figures["squared_error"] == pytest.approx(learned.figures["squared_error"], rel=1e-3)


def test_figures_that_are_not_finite_are_refused() -> None:
    source = keras.Input((2,))
    history = History((Epoch(1, 0.1, 0.1, None, None, 0.1),), 1, 1, 0.1, "")
    with pytest.raises(TrainingError, match="explained is nan, squared_error is inf"):
        Learned(keras.Model(source, source), history, {"a": 1.0, "explained": np.nan, "squared_error": np.inf})


def test_validation_rows_say_what_numbers_there_are_too() -> None:
    x = np.random.default_rng(1).uniform(size=(20, 3)).astype(np.float32)
    x[17, 1] = 7.0
    inside, outside = some(15), some(15, 5)

    assert standardizing(inputs_of(ArrayExamples(x), inside, None)) is None
    assert standardizing(inputs_of(ArrayExamples(x), outside, None)) is not None
    with pytest.raises(UsageError, match="those of 'arrays' are .* to 7"):
        pretrain_rbm(ArrayExamples(x), outside, None, RBMSettings(units=(2,), visible="bernoulli"))
    with pytest.raises(UsageError, match=r"numbers 0\.\.1"):
        Stack(inputs_of(ArrayExamples(x), outside, None), AutoencoderSettings(units=(2,), loss="crossentropy"))


class Counted:
    """Examples that count how many of them are asked for at once."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._x, self.shape, self.dtype = x, x.shape, x.dtype
        self.most = 0

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, chosen: Any) -> NDArray[np.float32]:
        self.most = max(self.most, len(chosen))
        return self._x[chosen]


def test_large_examples_are_read_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Counted(np.random.default_rng(2).uniform(size=(40, 5, 20)).astype(np.float32))
    monkeypatch.setattr(columns, "PIECE_BYTES", 8 * 100 * 7)

    found = columns_of(x, np.arange(30), np.arange(30, 40))

    assert x.most == 7
    np.testing.assert_allclose(found.mean, x[np.arange(30)].mean(axis=0, dtype=np.float64).reshape(-1))
    assert (found.low, found.high) == (x[np.arange(40)].min(), x[np.arange(40)].max())


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_figures_of_a_machine_are_taken_in_pieces_of_as_many_as_fit(
    visible: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    x = Counted(rng.uniform(size=(80, 5, 4)).astype(np.float32))
    seen = Seen(Part(x, np.zeros(80, np.int64), np.arange(50)), Part(x, np.zeros(80, np.int64), np.arange(50, 80)))
    machine = new_rbm(np.full(20, 0.5), 6, visible, rng)
    whole = final_figures(machine, seen, 0)
    x.most = 0

    monkeypatch.setattr(columns, "PIECE_BYTES", 8 * 20 * 7)
    assert final_figures(machine, seen, 0) == pytest.approx(whole, rel=1e-6)
    assert x.most == 7
    monkeypatch.setattr(rbm_training, "_JUDGED_BYTES", 4 * 20 * 10)
    held = rbm_training._Monitor(seen, 0)
    assert (len(held._train[0]), len(held._validation[0])) == (10, 10)
