"""Auxiliary tasks: corruptions and max-margin losses against NumPy, and nets that learn what there is to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax

from zoo.data import ArrayExamples, Split, open_data
from zoo.errors import DataError, UsageError
from zoo.pretraining.auxiliary import AuxiliarySettings, pretrain_auxiliary
from zoo.pretraining.losses import VersionsObjective, margin_losses
from zoo.pretraining.steps import Learned, picture_spec
from zoo.pretraining.versions import Exchanged, Rotated, Shuffled
from zoo.surgery import Head, Surgery, split_units
from zoo.training import FitSettings

pytestmark = pytest.mark.slow  # most of the time is tracing: the parts have faster tests of their own

NONE = np.arange(0)


@pytest.fixture(scope="module")
def digits() -> Any:
    return open_data("digits", unlabelled=True)


@pytest.fixture(scope="module")
def whole(digits: Any) -> Learned:
    """What 5 epochs on shuffled digits leave."""
    return pretrain_auxiliary(digits, some(100, 20), picture_spec(digits.shape), settings(5, task="shuffled"))


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def settings(epochs: int = 2, **options: Any) -> AuxiliarySettings:
    options = {"units": (16,), **options}
    return AuxiliarySettings(fit=FitSettings(epochs=epochs), **options)


def some(train: int, validation: int, test: int = 0) -> Split:
    rows = np.arange(train + validation + test)
    return Split(*np.split(rows, [train, train + validation]))


def numbers(examples: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(examples.read(rows) / 255, np.float32)


def distinct(*shape: int) -> NDArray[np.float32]:
    """Returns an array without a number that is there twice."""
    return np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(np.float32)


# Versions


def test_rotations_are_those_of_numpy() -> None:
    x = distinct(3, 5, 5, 2)

    found = np.asarray(Rotated()(x))

    np.testing.assert_array_equal(found, np.stack([np.rot90(x, turns, (1, 2)) for turns in range(4)], axis=1))


def patches(x: NDArray[Any], side: int) -> list[tuple[float, ...]]:
    """Returns the patches of a picture in order, each as its numbers."""
    height, width = x.shape[0] // side, x.shape[1] // side
    corners = [(row * height, column * width) for row in range(side) for column in range(side)]
    return [tuple(x[top : top + height, left : left + width].reshape(-1)) for top, left in corners]


@pytest.mark.parametrize(("shape", "side"), [((4, 6, 2), 2), ((7, 11, 1), 3)])
def test_shuffled_pictures_have_the_same_patches_in_every_other_order(shape: Any, side: int) -> None:
    x = distinct(2000, *shape)

    good, bad = np.moveaxis(np.asarray(Shuffled(side, seed=3)(x)), 1, 0)

    np.testing.assert_array_equal(good, x)
    orders = set()
    for before, after in zip(x, bad, strict=True):
        whole = patches(before, side)
        order = tuple(whole.index(each) for each in patches(after, side))
        assert sorted(order) == list(range(side**2))
        orders.add(order)
    assert tuple(range(side**2)) not in orders
    assert len(orders) == 23 if side == 2 else len(orders) > 1900  # of 4 patches there are 24 orders
    height, width = (size // side * side for size in shape[:2])
    np.testing.assert_array_equal(bad[:, height:], x[:, height:])
    np.testing.assert_array_equal(bad[:, :, width:], x[:, :, width:])


def test_exchanged_values_come_from_the_same_column_of_another_row() -> None:
    x = distinct(300, 10)

    good, bad = np.moveaxis(np.asarray(Exchanged(0.3, seed=4)(x)), 1, 0)

    np.testing.assert_array_equal(good, x)
    changed = bad != x
    assert (changed.sum(axis=1) == 3).all()  # so none was replaced by itself
    np.testing.assert_allclose(changed.mean(axis=0), 0.3, atol=0.1)
    rows, columns = np.nonzero(changed)
    sources = np.array([np.flatnonzero(x[:, column] == bad[row, column])[0] for row, column in zip(rows, columns)])  # noqa: B905
    steps = (sources - rows) % 300  # all others are as likely
    assert 140 < steps.mean() < 160
    assert 80 < steps.std() < 93
    alone = np.asarray(Exchanged(0.3)(x[:1]))
    np.testing.assert_array_equal(alone[:, 0], alone[:, 1])


def test_one_column_at_least_is_exchanged() -> None:
    x = distinct(50, 3)
    bad = np.asarray(Exchanged(0.01)(x))[:, 1]
    assert ((bad != x).sum(axis=1) == 1).all()


@pytest.mark.parametrize("layer", [Shuffled(3), Exchanged(0.5)])
def test_what_is_random_is_new_at_every_step_of_training_and_else_always_the_same(layer: Any) -> None:
    x = distinct(20, 6, 6, 1) if isinstance(layer, Shuffled) else distinct(20, 6)

    trained = [np.asarray(layer(x, training=True)) for _ in range(2)]
    judged = [np.asarray(layer(x)) for _ in range(2)]

    assert not np.array_equal(trained[0], trained[1])
    np.testing.assert_array_equal(judged[0], judged[1])


# Losses


def gradient(loss: Any, x: NDArray[np.float64], step: float = 1e-6) -> NDArray[np.float64]:
    """Returns the numeric gradient of the sum of losses."""
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (np.sum(loss(x + moved)) - np.sum(loss(x - moved))) / (2 * step)
    return found


def slope(loss: Any, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the gradient of the sum of losses as TensorFlow has it."""
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total = tf.reduce_sum(loss(tensor))
    return np.asarray(tape.gradient(total, tensor))


def margin_formula(scores: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    each = [[max(0.0, margin - good + bad) for bad in others] for good, *others in scores]
    return np.asarray(np.mean(each, axis=1))


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_the_margin_loss_is_its_formula_and_so_is_its_gradient(margin: float) -> None:
    scores = np.random.default_rng(1).normal(size=(30, 4))
    wanted = margin_formula(scores, margin)
    assert (wanted == 0).any() or margin > 1
    assert (wanted > 0).any()

    np.testing.assert_allclose(margin_losses(tf.constant(scores), margin), wanted, rtol=1e-12)
    found = slope(lambda x: margin_losses(x, margin), scores)
    np.testing.assert_allclose(found, gradient(lambda x: margin_formula(x, margin), scores), atol=1e-8)
    objective = VersionsObjective(margin)
    outputs = scores[:, :, None].astype(np.float32)
    np.testing.assert_allclose(objective.losses(None, outputs), wanted, atol=1e-6)
    np.testing.assert_allclose(objective.scores(None, outputs), (scores[:, :1] > scores[:, 1:]).mean(axis=1))


def test_the_loss_of_classes_is_its_formula_and_so_is_its_gradient() -> None:
    logits = np.random.default_rng(2).normal(size=(9, 4, 4))

    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        told = [log_softmax(x[:, version], axis=1)[:, version] for version in range(4)]
        return np.asarray(-np.mean(told, axis=0))

    objective = VersionsObjective()

    np.testing.assert_allclose(objective.losses(None, tf.constant(logits)), formula(logits), rtol=1e-12)
    found = slope(lambda x: objective.losses(None, x), logits)
    np.testing.assert_allclose(found, gradient(formula, logits), atol=1e-8)
    right = logits.argmax(axis=2) == np.arange(4)
    np.testing.assert_allclose(objective.scores(None, logits), right.mean(axis=1))


# Whole trainings


@pytest.mark.parametrize(
    ("options", "epochs", "least"),
    [
        slow({"task": "rotated", "units": (64,)}, 40, 0.9),
        slow({"task": "shuffled", "units": (64,)}, 20, 0.9),
        slow({"task": "rotated", "conv": (8, 16), "units": ()}, 40, 0.8),
        ({"task": "shuffled", "conv": (8,), "units": (32,), "loss": "margin"}, 12, 0.9),
        slow({"task": "rotated", "units": (64,), "loss": "margin"}, 20, 0.9),
    ],
)
def test_a_net_learns_to_see_what_was_done_to_digits(
    digits: Any, options: dict[str, Any], epochs: int, least: float
) -> None:
    split = some(1000, 300)

    learned = pretrain_auxiliary(digits, split, picture_spec(digits.shape), settings(epochs, **options))

    assert learned.figures["accuracy"] > least
    x = numbers(digits, split.validation)
    if options["task"] != "rotated":
        halves = np.concatenate([x[:, :, 4:], x[:, :, :4]], axis=2)  # one of the orders of four patches
        good, bad = np.asarray(learned.model(x)), np.asarray(learned.model(halves))
        assert ((good - bad)[:, 0] > 0).mean() > least - 0.1
        return
    turned = [np.asarray(learned.model(np.rot90(x, turns, (1, 2)).copy())) for turns in range(4)]
    if options.get("loss") == "margin":
        right = [turned[0][:, 0] > each[:, 0] for each in turned[1:]]
    else:
        right = [each.argmax(axis=1) == turns for turns, each in enumerate(turned)]
        np.testing.assert_allclose(turned[0].sum(axis=1), 1, rtol=1e-5)
    assert np.mean(right) == pytest.approx(learned.figures["accuracy"], abs=1e-6)


def rows_of_factors(count: int, *, dependent: bool) -> ArrayExamples:
    """Returns rows of 8 columns that follow from 2 factors; or the same columns, each in an order of its own."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(count, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(count, 8))
    x = x if dependent else rng.permuted(x, axis=0)
    return ArrayExamples((x * 50 + 1000).astype(np.float32))


def test_exchanged_values_are_seen_where_columns_depend_on_each_other_and_only_there() -> None:
    split, how = some(3000, 1000), settings(8, units=(64, 32))

    dependent = pretrain_auxiliary(rows_of_factors(4000, dependent=True), split, None, how)
    independent = pretrain_auxiliary(rows_of_factors(4000, dependent=False), split, None, how)

    assert dependent.figures["accuracy"] > 0.85
    assert independent.figures["accuracy"] == pytest.approx(0.5, abs=0.04)
    assert independent.figures["loss"] > 0.97 * np.log(2)
    assert dependent.figures["chance"] == 0.5
    assert [unit.name for unit in split_units(dependent.model)] == ["layer1", "layer2", "task"]
    assert not dependent.pictures


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({"conv": (4,), "units": (12, 6)}, [(64,), (12,), (6,), (4,)]),
        ({"conv": (4, 6), "units": (), "loss": "margin"}, [(4, 4, 4), (2, 2, 6), (1,)]),
    ],
)
def test_its_layers_are_units_and_the_task_the_last(
    digits: Any, options: dict[str, Any], shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    learned = pretrain_auxiliary(digits, some(60, 20), picture_spec(digits.shape), settings(1, **options))

    units = split_units(learned.model)
    assert [unit.name for unit in units] == [*(f"layer{number}" for number in range(1, len(shapes))), "task"]
    assert [unit.output_shape for unit in units] == shapes
    assert all(type(layer).__module__.startswith("keras.") for layer in learned.model.layers)
    net = Surgery(learned.model, "all", head=Head(classes=10)).stitch()
    assert (net.output_shape, Surgery(learned.model, "all").reuse) == ((None, 10), len(shapes) - 1)
    learned.model.save(tmp_path / "model.keras")
    assert_equal(learned.model, keras.models.load_model(tmp_path / "model.keras"))
    x = numbers(digits, np.arange(5))
    code = keras.Model(learned.model.input, learned.model.get_layer(f"layer{len(shapes) - 1}").output)
    assert code(x).shape[-1] == shapes[-2][-1]


def assert_equal(model: keras.Model, other: keras.Model) -> None:
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_pictures_for_people(digits: Any, whole: Learned) -> None:
    found = whole.pictures

    shown = numbers(digits, np.arange(100, 112))
    np.testing.assert_allclose(found["examples"], shown, rtol=1e-6)
    for before, after in zip(found["examples"], found["corrupted"], strict=True):
        assert sorted(patches(before, 2)) == sorted(patches(after, 2))
    assert not np.array_equal(found["examples"], found["corrupted"])
    assert found["filters"].shape == (16, 8, 8, 1)


class KilledError(Exception):
    """Ends a training from outside."""


class Killing:
    """A progress that ends the training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def start(self, total: int | None, unit: str) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def advance(self, n: int, **figures: float) -> None:
        self.left -= n
        if self.left < 0:
            raise KilledError

    def close(self) -> None:
        pass


def test_what_was_killed_goes_on_as_if_nothing_had_happened(
    digits: Any, whole: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.training.checkpoints.SECONDS", 0.0)
    monkeypatch.setattr("zoo.training.checkpoints._SHARE", 1e9)
    split, spec, how = some(100, 20), picture_spec(digits.shape), settings(5, task="shuffled")

    def checkpoints(name: str) -> Path:
        return tmp_path / f"{name}.safetensors"

    with pytest.raises(KilledError):
        pretrain_auxiliary(digits, split, spec, how, checkpoints=checkpoints, progress=Killing(3))
    assert checkpoints("task").exists()
    again = pretrain_auxiliary(digits, split, spec, how, checkpoints=checkpoints, progress=Killing(1000))

    assert_equal(again.model, whole.model)
    assert [(each.epoch, each.loss) for each in again.history.epochs] == [
        (each.epoch, each.loss) for each in whole.history.epochs
    ]
    assert again.figures == whole.figures


def test_neither_test_examples_nor_labels_are_looked_at(digits: Any, whole: Learned) -> None:
    class Guarded(ArrayExamples):
        def read(self, rows: Any) -> NDArray[Any]:
            assert np.max(rows) < 120
            return super().read(rows)

    examples = Guarded(np.asarray(digits.read(np.arange(200))), np.arange(200) % 7)
    how = settings(5, task="shuffled")

    assert_equal(pretrain_auxiliary(examples, some(100, 20, 80), picture_spec((8, 8, 1)), how).model, whole.model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ()}, "layers of at least 1 unit"),
        ({"conv": (3, 0)}, "layers of at least 1 unit"),
        ({"activation": "no-such"}, "an activation that Keras knows"),
        ({"task": "turned"}, "Expected a task of rotated, shuffled, exchanged"),
        ({"loss": "mse"}, "Expected a loss of classification, margin"),
        ({"margin": 0.0}, "a margin above 0"),
        ({"margin": float("nan")}, "a margin above 0"),
        ({"patches": 1}, "at least 2 patches"),
        ({"share": 0.0}, "a share of columns above 0"),
        ({"share": 1.1}, "a share of columns above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(**options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 6, 1), {"task": "rotated"}, "square pictures; these are 8x6"),
        ((8,), {"task": "rotated"}, "want pictures.*Exchange values"),
        ((8,), {"task": "shuffled"}, "want pictures"),
        ((8, 6, 1), {"task": "shuffled", "patches": 7}, "at most 6 patches"),
        ((8, 6, 1), {"task": "exchanged"}, "want rows of numbers"),
        ((1,), {}, "two columns"),
        ((8,), {"conv": (4,)}, "want pictures"),
        ((4, 4, 1), {"conv": (4, 4, 4)}, "Use at most 2"),
    ],
)
def test_examples_that_do_not_suit_are_refused(shape: Any, options: dict[str, Any], message: str) -> None:
    examples = ArrayExamples(np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8))
    with pytest.raises(UsageError, match=message):
        pretrain_auxiliary(examples, some(15, 5), picture_spec(shape), settings(**options))


def test_without_training_examples_there_is_nothing_to_learn(digits: Any) -> None:
    with pytest.raises(DataError, match="none"):
        pretrain_auxiliary(digits, Split(NONE, NONE, NONE), picture_spec(digits.shape), settings())


@pytest.mark.parametrize(
    ("shape", "kind"), [((8, 8, 1), Rotated), ((8, 6, 1), Shuffled), ((5,), Exchanged), ((6, 6, 4), Rotated)]
)
def test_the_task_is_chosen_by_the_shape(shape: tuple[int, ...], kind: type) -> None:
    assert type(settings().versions(shape)) is kind
