from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import DataError, TrainingError, UsageError
from zoo.training import FitSettings, Part, chunks, evaluate, fit, fitting, predict

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, CLASSES = 6, 3
COUNT = 50  # no multiple of the batch sizes below: the last batch is smaller
NONE = np.arange(0)


def examples(count: int = COUNT, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns examples whose classes can be learnt from their largest value."""
    x = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)
    return x, x[:, :CLASSES].argmax(axis=1)


def net(*between: keras.Layer, activation: str = "relu", **hidden: Any) -> keras.Model:
    """Returns a small net; its weights are the same every time."""
    layers = [keras.layers.Dense(8, activation=activation, **hidden), *between, keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    random = np.random.default_rng(3)
    for variable in model.trainable_variables:
        if "normalization" not in variable.path:
            variable.assign(random.normal(size=variable.shape) * 0.5)
    return model


def part(x: Any, y: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> Part:
    return Part(x, y, np.arange(len(y)) if rows is None else rows)


def halves() -> tuple[Part, Part]:
    """Returns training and validation examples, as rows of the same arrays."""
    x, y = examples()
    return part(x, y, np.arange(0, COUNT, 2)), part(x, y, np.arange(1, COUNT, 2))


def val_loss_of(model: keras.Model, chosen: Part) -> float:
    logits = predict(model, chosen)
    return float(-np.asarray(tf.nn.log_softmax(logits))[np.arange(len(chosen)), chosen.y[chosen.rows]].mean())


def assert_same_weights(one: keras.Model, other: keras.Model, rtol: float = 0.0, atol: float = 0.0) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def stream(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    """Lets features be read in chunks of so many bytes, few as they are."""
    monkeypatch.setattr(chunks, "WHOLE_BYTES", 0)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", chunk_bytes)


@dataclass
class Recorder:
    """A progress that remembers what it was told."""

    told: list[Any] = field(default_factory=list)

    def start(self, total: int | None, unit: str) -> None:
        self.told.append(("start", total, unit))

    def advance(self, n: int, **figures: float) -> None:
        self.told.append(("advance", n, figures))

    def close(self) -> None:
        self.told.append("close")


class Spoiling:
    """Features on a disk that breaks: after `reads` of them, all that is read is not a number."""

    def __init__(self, x: NDArray[np.float32], reads: float = float("inf")) -> None:
        self._x, self._reads = x, reads
        self.shape, self.dtype = x.shape, x.dtype
        self.largest = 0

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        self._reads -= 1
        self.largest = max(self.largest, len(rows))
        return self._x[rows] if self._reads >= 0 else np.full_like(self._x[rows], np.nan)


@pytest.mark.parametrize(
    ("batch_size", "hidden"),
    [
        (16, {}),
        pytest.param(7, {}, marks=pytest.mark.slow),
        pytest.param(64, {}, marks=pytest.mark.slow),  # more than there are
        pytest.param(16, {"kernel_regularizer": "l2"}, marks=pytest.mark.slow),
        (16, {"activity_regularizer": "l2"}),
    ],
)
def test_losses_are_those_of_keras_fit(batch_size: int, hidden: dict[str, str]) -> None:
    x, y = examples()
    validation = examples(30, seed=1)
    ours, theirs = net(**hidden), net(**hidden)

    settings = FitSettings(epochs=5, batch_size=batch_size, learning_rate=0.01, shuffle=False)
    history = fit(ours, part(x, y), part(*validation), settings)
    theirs.compile(
        keras.optimizers.Adam(0.01, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy("plain", from_logits=True)],
        jit_compile=False,
    )
    expected = theirs.fit(x, y, batch_size, epochs=5, shuffle=False, verbose=0, validation_data=validation).history

    # Keras adds penalties to its loss; the metric is without, as ours is.
    assert [epoch.loss for epoch in history.epochs] == pytest.approx(expected["plain"], abs=1e-5)
    assert [epoch.score for epoch in history.epochs] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert [epoch.val_loss for epoch in history.epochs] == pytest.approx(expected["val_plain"], abs=1e-5)
    assert [epoch.val_score for epoch in history.epochs] == pytest.approx(expected["val_accuracy"], abs=1e-6)
    assert history.best_epoch == 5  # of so few epochs the last is the best, so the weights are Keras's too
    assert_same_weights(ours, theirs, atol=1e-5)
    assert history.steps == 5 * -(-COUNT // batch_size)


def test_chunks_give_the_result_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples()
    validation = part(*examples(30, seed=1))
    settings = FitSettings(epochs=3, batch_size=8, shuffle=False)  # shuffled, chunks have another order
    whole, pieces, source = net(), net(), Spoiling(x)
    expected = fit(whole, part(x, y), validation, settings)

    stream(monkeypatch, 2 * 8 * WIDTH * 4 + 5)  # two batches of 8
    found = fit(pieces, part(source, y), validation, settings)

    assert source.largest == 16
    assert [epoch.loss for epoch in found.epochs] == pytest.approx([epoch.loss for epoch in expected.epochs])
    assert [epoch.val_loss for epoch in found.epochs] == pytest.approx([epoch.val_loss for epoch in expected.epochs])
    assert found.steps == expected.steps == 3 * 7
    assert_same_weights(whole, pieces, rtol=1e-6, atol=1e-7)


def test_shuffled_chunks_train_as_well_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples(400)
    by_class = np.argsort(y)  # as a folder of pictures has them
    train, unseen = part(x[by_class], y[by_class]), part(*examples(200, seed=9))
    settings = FitSettings(epochs=10, batch_size=8, learning_rate=0.01)
    models = [net() for _ in range(3)]
    fit(models[0], train, part(x, y, NONE), settings)

    stream(monkeypatch, 10 * 8 * WIDTH * 4)
    for model in models[1:]:
        history = fit(model, train, part(x, y, NONE), settings)

    assert history.steps == 10 * 50
    assert_same_weights(*models[1:])
    accuracies = [evaluate(np.asarray(tf.nn.softmax(predict(model, unseen))), unseen.y).accuracy for model in models]
    assert min(accuracies) > 0.85
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.05)


@pytest.mark.parametrize("streamed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_each_epoch_trains_on_one_version_of_each_example(streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples()
    versions = np.concatenate([x, x + 1, x - 1])
    if streamed:
        stream(monkeypatch, 2 * 8 * WIDTH * 4)
    rows = np.arange(0, COUNT, 2)
    train = Part(versions, y, rows, versions=3)
    settings = FitSettings(epochs=4, batch_size=8, shuffle=False, seed=2)
    model, by_hand = net(), net()

    history = fit(model, train, part(x, y, NONE), settings)
    loss, optimizer = keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.optimizers.Adam(0.001)
    by_hand.compile(optimizer, loss, jit_compile=False)
    for number in range(1, 5):
        chosen = rows + train.versions_of(number, 2) * COUNT
        by_hand.fit(versions[chosen], y[rows], batch_size=8, shuffle=False, verbose=0)

    assert history.steps == 4 * 4
    assert_same_weights(model, by_hand, atol=1e-5)


@pytest.mark.parametrize("streamed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_evaluation_sees_the_first_version_only(streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples()
    versions = Part(np.concatenate([x, np.full_like(x, np.nan)]), y, np.arange(COUNT), versions=2)
    if streamed:
        stream(monkeypatch, 2 * 8 * WIDTH * 4)
    model = net()

    epoch = fit(model, part(x, y), versions, FitSettings(1)).epochs[0]

    assert epoch.val_loss == pytest.approx(val_loss_of(model, part(x, y)), rel=1e-6)
    assert np.array_equal(predict(model, versions), predict(model, part(x, y)))


def test_a_chunk_is_never_less_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    stream(monkeypatch, 1)
    source = Spoiling(examples()[0])

    history = fit(net(), part(source, examples()[1]), part(*examples(), NONE), FitSettings(2, batch_size=16))

    assert source.largest == 16
    assert history.steps == 2 * 4


@pytest.mark.parametrize("dtype", [pytest.param(np.float16, marks=pytest.mark.slow), np.float64, np.uint8])
def test_features_of_other_dtypes_are_cast(dtype: Any) -> None:
    x, y = examples()
    x = (x * 4).round() if dtype != np.uint8 else np.abs(x * 4).round()  # whole numbers: every dtype has them
    one, other = net(), net()

    fit(one, part(x.astype(np.float32), y), part(x, y, NONE), FitSettings(2))
    fit(other, part(x.astype(dtype), y), part(x, y, NONE), FitSettings(2))

    assert_same_weights(one, other)


def test_several_passes_an_epoch_are_as_one_over_repeated_examples() -> None:
    x, y = examples()
    validation = part(*examples(30, seed=1))
    one, other = net(), net()

    passes = fit(one, part(x, y), validation, FitSettings(2, shuffle=False, passes=3))
    repeated = fit(other, part(np.tile(x, (3, 1)), np.tile(y, 3)), validation, FitSettings(2, shuffle=False))

    assert passes.steps == repeated.steps == 2 * 5  # 150 examples in batches of 32
    assert [epoch.loss for epoch in passes.epochs] == pytest.approx([epoch.loss for epoch in repeated.epochs])
    assert [epoch.score for epoch in passes.epochs] == [epoch.score for epoch in repeated.epochs]
    assert_same_weights(one, other)


def test_only_the_rows_of_the_part_are_used() -> None:
    x, y = examples()
    rows = np.array([7, 3, 11, 5])
    whole, few = net(), net()

    fit(whole, part(x, y, rows), part(x, y, NONE), FitSettings(3, batch_size=2))
    fit(few, part(x[rows], y[rows]), part(x, y, NONE), FitSettings(3, batch_size=2))

    assert_same_weights(whole, few)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    train, validation = halves()
    models = [net(keras.layers.Dropout(0.5, seed=1)) for _ in range(3)]

    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit(model, train, validation, FitSettings(3, batch_size=4, seed=seed))

    assert_same_weights(models[0], models[1])
    assert not np.array_equal(models[0].get_weights()[0], models[2].get_weights()[0])


def test_early_stopping_keeps_the_best_weights() -> None:
    train = part(*examples(20))
    x, y = examples(40, seed=1)
    noisy = part(x, np.random.default_rng(5).permutation(y))  # so that learning soon makes it worse
    model = net()

    history = fit(model, train, noisy, FitSettings(300, batch_size=5, learning_rate=0.02, patience=4))

    losses = [float(epoch.val_loss or 0) for epoch in history.epochs]
    assert history.best_epoch == 1 + int(np.argmin(losses))
    assert 1 < history.best_epoch < 300 - 4
    assert len(losses) == history.best_epoch + 4
    assert history.stopped == "no lower validation loss for 4 epochs"
    assert val_loss_of(model, noisy) == pytest.approx(min(losses), abs=1e-6)
    assert val_loss_of(model, noisy) < losses[-1]


def test_validation_is_in_inference_mode() -> None:
    train, validation = halves()
    model = net(keras.layers.Dropout(0.5, seed=1))

    epoch = fit(model, train, validation, FitSettings(1)).epochs[0]

    assert epoch.val_loss == pytest.approx(val_loss_of(model, validation), rel=1e-6)


def test_all_epochs_run_while_the_validation_loss_falls() -> None:
    train, validation = halves()

    history = fit(net(), train, validation, FitSettings(4, patience=1))

    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4]
    assert history.stopped == "all epochs were run, and the last was the best: more may do better"
    assert history.seconds >= sum(epoch.seconds for epoch in history.epochs) > 0


def test_without_validation_examples_all_epochs_run_and_the_last_weights_stay() -> None:
    x, y = examples()
    once, twice = net(), net()
    settings = FitSettings(6, shuffle=False, patience=1)

    history = fit(once, part(x, y), part(x, y, NONE), settings)
    fit(twice, part(x, y), part(x, y), settings)

    assert [epoch.val_loss for epoch in history.epochs] == [None] * 6
    assert (history.best_epoch, len(history.epochs)) == (6, 6)
    assert_same_weights(once, twice)  # there the validation loss falls to the end


@pytest.mark.parametrize("bad", [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", ["relu", "linear"])  # TensorFlow's ReLU may make 0 of a NaN
def test_features_that_are_not_finite_end_training_at_their_step(bad: float, activation: str) -> None:
    x, y = examples()
    x[9, 2] = bad
    model, untouched, progress = net(activation=activation), net(), Recorder()
    settings = FitSettings(5, batch_size=4, learning_rate=0.05, shuffle=False)

    with pytest.raises(TrainingError) as caught:
        fit(model, part(x, y), part(*examples()), settings, progress)

    assert "at step 3 of epoch 1" in str(caught.value)  # rows 8..11
    assert ("loss is nan" in str(caught.value)) or activation == "relu"
    assert "learning rate 0.05" in str(caught.value)
    assert "--lr 0.005" in str(caught.value)
    assert_same_weights(model, untouched)
    assert progress.told == [("start", 5, "epochs"), "close"]


def test_the_step_is_counted_through_the_pieces_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    stream(monkeypatch, 2 * 4 * WIDTH * 4)  # two batches of 4
    x, y = examples()
    x[22] = np.nan  # in the sixth batch of 4, the second of the third piece

    with pytest.raises(TrainingError, match="at step 6 of epoch 1"):
        fit(net(), part(x, y), part(x, y, NONE), FitSettings(5, batch_size=4, shuffle=False))


def test_the_best_weights_from_before_the_failure_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    stream(monkeypatch, 10 * WIDTH * 4)  # a batch of 10: five reads an epoch
    x, y = examples()
    failed, whole = net(), net()

    with pytest.raises(TrainingError, match="at step 1 of epoch 3"):
        fit(failed, part(Spoiling(x, reads=10), y), part(x, y), FitSettings(9, batch_size=10))
    fit(whole, part(x, y), part(x, y), FitSettings(2, batch_size=10))

    assert_same_weights(failed, whole, rtol=1e-6, atol=1e-7)


def test_a_learning_rate_that_explodes_ends_training_with_finite_weights() -> None:
    model, untouched = net(), net()

    with pytest.raises(TrainingError, match=r"learning rate 1e\+38"):
        fit(model, part(*examples()), part(*examples()), FitSettings(5, batch_size=64, learning_rate=1e38))

    assert_same_weights(model, untouched)


def test_validation_features_that_are_not_finite_end_training() -> None:
    x, y = examples()
    broken = x.copy()
    broken[5] = np.nan
    model, untouched = net(activation="linear"), net()

    with pytest.raises(TrainingError, match="validation loss is nan after epoch 1"):
        fit(model, part(x, y), part(broken, y), FitSettings(5))

    assert_same_weights(model, untouched)


def test_weights_that_the_last_step_ruined_are_not_kept() -> None:
    x, y = examples()
    model, untouched = net(), net()

    with pytest.raises(TrainingError, match="weights are not finite after epoch 1"):  # 1e39 is beyond float32
        fit(model, part(x, y), part(x, y, NONE), FitSettings(1, batch_size=COUNT, learning_rate=1e39))

    assert_same_weights(model, untouched)


def test_gradients_that_are_not_finite_end_training_though_the_loss_is() -> None:
    x, y = examples()
    model = net()
    first, last = model.layers[0].kernel, model.layers[-1].kernel
    first.assign(first * 1e-6)
    last.assign(last * 1e20)  # outputs of 1e20 * 1e-6 * 1e20 = 1e34; gradients of 1e20 * 1e20, beyond float32
    before = [np.array(weight) for weight in model.get_weights()]

    with pytest.raises(TrainingError, match="A gradient is not finite at step 1 of epoch 1"):
        fit(model, part(x * np.float32(1e20), y), part(x, y, NONE), FitSettings(1, batch_size=COUNT))

    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_no_training_examples_are_an_error() -> None:
    x, y = examples()

    with pytest.raises(DataError, match="training examples"):
        fit(net(), part(x, y, NONE), part(x, y))


def test_progress_is_told_each_epoch_and_the_end() -> None:
    train, validation = halves()
    progress = Recorder()

    history = fit(net(), train, validation, FitSettings(2), progress)

    figures = [
        {"loss": epoch.loss, "accuracy": epoch.score, "val_accuracy": epoch.val_score} for epoch in history.epochs
    ]
    advances = [("advance", 1, figure) for figure in figures]
    assert progress.told == [("start", 2, "epochs"), *advances, "close"]


def test_progress_is_told_of_an_accuracy_of_zero() -> None:
    x, y = examples(20)
    wrong = np.full_like(y, CLASSES)  # a class that no training example has, of a net with one more output
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(CLASSES + 1, bias_initializer="zeros")])
    model.layers[0].bias.assign([0, 0, 0, -50])
    progress = Recorder()

    fit(model, part(x, y), part(x, wrong), FitSettings(1), progress)

    assert progress.told[1][2]["val_accuracy"] == 0.0


def statistics(layer: keras.Layer) -> NDArray[np.float32]:
    return np.concatenate([np.ravel(value) for value in (layer.moving_mean, layer.moving_variance)])


def test_batch_normalization_updates_its_statistics() -> None:
    x, y = examples()
    normalization = keras.layers.BatchNormalization(momentum=0.0)  # keeps those of the last batch alone
    model = keras.Sequential([keras.Input((WIDTH,)), normalization, keras.layers.Dense(CLASSES)])

    fit(model, part(x, y), part(x, y, NONE), FitSettings(1, batch_size=COUNT))

    np.testing.assert_allclose(normalization.moving_mean, x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(normalization.moving_variance, x.var(axis=0), rtol=1e-4)


@pytest.mark.parametrize("frozen", ["called with training=False", "not trainable"])
def test_batch_normalization_that_is_fixed_keeps_its_statistics(frozen: str) -> None:
    x, y = examples()
    normalization = keras.layers.BatchNormalization(momentum=0.0)
    inputs = keras.Input((WIDTH,))
    normalized = normalization(inputs, training=False if "False" in frozen else None)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(normalized))
    normalization.trainable = frozen != "not trainable"
    before = statistics(normalization)

    fit(model, part(x, y), part(x, y, NONE), FitSettings(2))

    assert np.array_equal(statistics(normalization), before)
    moved = np.any(np.asarray(normalization.gamma) != 1)
    assert moved == (frozen != "not trainable")


def test_frozen_layers_keep_their_weights() -> None:
    model = net()
    model.layers[0].trainable = False
    before = [np.array(weight) for weight in model.layers[0].get_weights()]

    fit(model, part(*examples()), part(*examples()), FitSettings(2))

    assert all(np.array_equal(a, b) for a, b in zip(model.layers[0].get_weights(), before, strict=True))
    assert not np.array_equal(model.layers[-1].get_weights()[0], net().layers[-1].get_weights()[0])


def test_a_model_of_pictures_trains_too() -> None:
    x = np.random.default_rng(0).normal(size=(12, 4, 4, 1)).astype(np.float32)
    y = np.arange(12) % 2
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4, 4, 1)), *layers])

    history = fit(model, part(x, y), part(x, y), FitSettings(20, learning_rate=0.05))

    assert history.epochs[-1].loss < history.epochs[0].loss


def test_what_was_learnt_holds_for_new_examples() -> None:
    model, unseen = net(), part(*examples(200, seed=9))

    fit(model, part(*examples(400, seed=8)), part(*examples(100, seed=7)), FitSettings(60, learning_rate=0.01))

    # Three classes, told apart by the largest of three values: learnable almost without error.
    assert evaluate(np.asarray(tf.nn.softmax(predict(model, unseen))), unseen.y).accuracy > 0.9


def test_predict_gives_the_outputs_in_the_order_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples()
    rows = np.array([3, 1, 40, 3])
    model = net(keras.layers.Dropout(0.9))  # does nothing in inference mode
    expected = np.asarray(model(x[rows], training=False))

    monkeypatch.setattr(fitting, "_EVALUATION_BATCH", 3)  # so that four rows take two batches
    result = predict(model, part(x, y, rows))

    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_predict_gives_nothing_for_nothing() -> None:
    assert predict(net(), part(*examples(), NONE)).shape == (0, CLASSES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"passes": 0},
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
    ],
)
def test_settings_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong

    with pytest.raises(UsageError, match=name.replace("_", ".")):
        FitSettings(**wrong)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100, 101, 640, 641])
def test_settings_from_scratch_allow_for_enough_steps(count: int) -> None:
    settings = FitSettings(seed=4, batch_size=32).from_scratch(count)

    steps = -(-count * settings.passes // 32)
    assert 20 <= steps < 20 + max(1, -(-count // 32)) + 1  # no more than a pass above
    assert 4000 <= settings.epochs * steps < 4000 + steps
    assert 400 <= settings.patience * steps < 400 + steps
    assert (settings.seed, settings.batch_size) == (4, 32)


def test_settings_from_scratch_never_allow_less_than_what_was_asked_for() -> None:
    many = 32 * 1000  # examples of 1,000 steps an epoch

    assert FitSettings(epochs=70, patience=7).from_scratch(many) == FitSettings(epochs=70, patience=7)
