"""A training that stops anywhere goes on from its checkpoint as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

from zoo.errors import IntegrityError, TrainingError
from zoo.training import Checkpoint, Epoch, FitSettings, History, Optimizer, Part, Schedule, checkpoints, chunks, fit
from zoo.training.checkpoints import FitState

WIDTH, CLASSES, EPOCHS = 6, 3, 8


class StoppedError(Exception):
    """Stands for a kill."""


def net(width: int = 8) -> keras.Model:
    """Returns a net with dropout, whose random state must be kept too, and BatchNormalization."""
    weights = keras.initializers.GlorotUniform(seed=1)
    layers = [
        keras.layers.Dense(width, kernel_initializer=weights),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.Dropout(0.3, seed=5),
        keras.layers.Dense(CLASSES, kernel_initializer=weights),
    ]
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


def examples(count: int = 60) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    return x, x[:, :CLASSES].argmax(axis=1)


def parts(count: int = 60) -> tuple[Part, Part]:
    x, y = examples(count)
    return Part(x, y, np.arange(0, count, 2)), Part(x, y, np.arange(1, count, 2))


def train(model: keras.Model, path: Path | None, stop_after: int | None = None, **settings: Any) -> History:
    def watch(epoch: Epoch, rate: float) -> None:
        if epoch.epoch == stop_after:
            raise StoppedError

    chosen = FitSettings(EPOCHS, 8, 0.05, patience=EPOCHS, **settings)
    return fit(model, *parts(), chosen, checkpoint=Checkpoint(path, 0.0) if path else None, watch=watch)


def without_seconds(history: History) -> list[tuple[Any, ...]]:
    return [row[:-1] for row in history.table()[1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": Optimizer("adam")},
        {"optimizer": Optimizer("nesterov"), "schedule": Schedule("cosine", warmup=1)},
    ],
)
@pytest.mark.parametrize("stop_after", [1, 5])
def test_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, settings: dict[str, Any], stop_after: int) -> None:
    whole, broken, path = net(), net(), tmp_path / "checkpoint"
    expected = train(whole, None, **settings)
    with pytest.raises(StoppedError):
        train(broken, path, stop_after, **settings)

    again = net()
    found = train(again, path if path.exists() else None, **settings)

    assert without_seconds(found) == without_seconds(expected)
    assert (found.best_epoch, found.steps, found.stopped) == (expected.best_epoch, expected.steps, expected.stopped)
    for one, other in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_that_had_ended_is_not_trained_again(tmp_path: Path) -> None:
    path, model = tmp_path / "checkpoint", net()
    expected = train(model, path)
    again, seen = net(), []

    found = fit(
        again, *parts(), FitSettings(EPOCHS, 8, 0.05, patience=EPOCHS), checkpoint=Checkpoint(path, 0.0),
        watch=lambda epoch, rate: seen.append((epoch, rate)),
    )  # fmt: skip

    assert seen == [(epoch, None) for epoch in expected.epochs]  # told again, and with no rate: nothing was trained
    assert found.epochs == expected.epochs
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_written_no_more_often_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    fit(net(), *parts(), FitSettings(EPOCHS, 8), checkpoint=Checkpoint(path, 3600.0))

    assert not path.exists()


def test_t01_the_last_finite_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that breaks: after three epochs all that is read is not a number."""
    monkeypatch.setattr(chunks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(checkpoints, "_SHARE", float("inf"))  # every epoch, however long writing takes
    train, none = parts()[0], Part(*examples(), np.arange(0))
    broken = Part(Breaking(train.x, 3), train.y, train.rows)
    path, model = tmp_path / "checkpoint", net()

    with pytest.raises(TrainingError, match="step 1 of epoch 4"):
        fit(model, broken, none, FitSettings(EPOCHS, 64), checkpoint=Checkpoint(path, 0.0))

    state = Checkpoint(path).load()
    assert state is not None
    assert len(state.epochs) == 3
    assert all(np.isfinite(each).all() for each in (*state.variables, *state.optimizer, *state.best))
    for one, other in zip(model.get_weights(), state.best, strict=True):
        np.testing.assert_array_equal(one, other)


class Breaking:
    """An array of which all that is read is not a number, after some reads."""

    def __init__(self, x: Any, reads: int) -> None:
        self._x, self._reads, self.shape, self.dtype = x, reads, x.shape, x.dtype

    def __getitem__(self, rows: Any) -> Any:
        self._reads -= 1
        return self._x[rows] if self._reads >= 0 else np.full_like(self._x[rows], np.nan)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_checkpoint_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint"
    train(net(), path)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "changed": b"\xff" * 16 + data[16:], "empty": b""}[damage])

    with pytest.raises(IntegrityError, match="Remove it"):
        train(net(), path)


def test_the_checkpoint_of_another_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    train(net(), path)

    with pytest.raises(IntegrityError, match="another model"):
        train(net(width=9), path)


def test_every_dtype_comes_back(tmp_path: Path) -> None:
    arrays = [
        np.array([1.5, -2], ml_dtypes.bfloat16),
        np.array(3, np.int64),
        np.array([[True], [False]]),
        np.arange(6, dtype=np.uint32).reshape(2, 3).T,  # not contiguous
        np.array([0.1], np.float16),
    ]
    saved = Checkpoint(tmp_path / "checkpoint")
    saved.save(FitState(arrays, arrays[:1], arrays[1:], 2, float("inf"), (Epoch(1, 0.5, 0.5, None, None, 0.1),)))

    found = saved.load()

    assert found is not None
    assert (found.best_epoch, found.best_loss, found.stopped) == (2, float("inf"), None)
    assert found.epochs == (Epoch(1, 0.5, 0.5, None, None, 0.1),)
    for one, other in zip(found.variables, arrays, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
