"""Pairs: losses against loops in NumPy, who is with whom, and distances against those of raw pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from zoo.data import ArrayExamples, Split, open_data, split_of
from zoo.errors import DataError, UsageError
from zoo.pretraining import pairs
from zoo.pretraining.losses import PairObjective, contrastive_losses, ranking, triplet_losses
from zoo.pretraining.pairs import Pairs, PairSettings, identities, paired_rows, pretrain_pairs
from zoo.pretraining.steps import Learned, picture_spec
from zoo.surgery import Head, Surgery, split_units
from zoo.training import FitSettings

pytestmark = pytest.mark.slow  # most of the time is tracing: the parts have faster tests of their own

NONE = np.arange(0)


@pytest.fixture(scope="module")
def digits() -> Any:
    return open_data("digits")


@pytest.fixture(scope="module")
def whole(digits: Any) -> Learned:
    """What 5 epochs on pairs of digits leave."""
    return pretrain_pairs(digits, some(100, 60), picture_spec(digits.shape), settings(5))


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def settings(epochs: int = 2, **options: Any) -> PairSettings:
    options = {"units": (16,), **options}
    return PairSettings(fit=FitSettings(epochs=epochs), **options)


def some(train: int, validation: int, test: int = 0) -> Split:
    rows = np.arange(train + validation + test)
    return Split(*np.split(rows, [train, train + validation]))


# Losses

SAME = np.array([3, 1, 3, 2, 1, 7])


def points(seed: int = 1) -> NDArray[np.float64]:
    """Returns pairs of points in three dimensions, [6, 2, 3]: some close, some far."""
    return np.random.default_rng(seed).normal(size=(6, 2, 3)) * 0.6


def members(x: NDArray[np.float64]) -> list[tuple[int, NDArray[Any], NDArray[Any], list[NDArray[Any]]]]:
    """Returns each member's pair, the member, its partner, and all that are of other identities."""
    found = []
    for pair, identity in enumerate(SAME):
        others = [x[other, side] for other in range(len(x)) for side in (0, 1) if SAME[other] != identity]
        found += [(pair, x[pair, side], x[pair, 1 - side], others) for side in (0, 1)]
    return found


def contrastive_formula(x: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    total = np.zeros(len(x))
    for pair, member, partner, others in members(x):
        apart = np.mean([max(0.0, margin - float(np.linalg.norm(member - other))) ** 2 for other in others])
        total[pair] += 0.5 * np.linalg.norm(member - partner) ** 2 + 0.5 * apart
    return total / 2


def triplet_formula(x: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    total = np.zeros(len(x))
    for pair, member, partner, others in members(x):
        own = float(np.sum((member - partner) ** 2))
        distances = [float(np.sum((member - other) ** 2)) for other in others]
        farther = [each for each in distances if each > own]
        total[pair] += max(0.0, own - (min(farther) if farther else max(distances)) + margin)
    return total / 2


def gradient(loss: Any, x: NDArray[np.float64], step: float = 1e-6) -> NDArray[np.float64]:
    """Returns the numeric gradient of the sum of losses."""
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (np.sum(loss(x + moved)) - np.sum(loss(x - moved))) / (2 * step)
    return found


@pytest.mark.parametrize("margin", [0.3, 1.0])
@pytest.mark.parametrize(
    ("loss", "formula", "name"),
    [(contrastive_losses, contrastive_formula, "contrastive"), (triplet_losses, triplet_formula, "triplet")],
)
def test_losses_are_their_formulas_and_so_are_their_gradients(
    loss: Any, formula: Any, name: Any, margin: float
) -> None:
    x = points()
    x[0, 1] = x[0, 0] + 5  # a partner that is farther than all others
    tensor = tf.constant(x)

    with tf.GradientTape() as tape:
        tape.watch(tensor)
        found = loss(tensor, tf.constant(SAME), margin)

    np.testing.assert_allclose(found, formula(x, margin), rtol=1e-9)
    np.testing.assert_allclose(tape.gradient(found, tensor), gradient(lambda z: formula(z, margin), x), atol=1e-6)
    objective = PairObjective(name, margin)
    np.testing.assert_allclose(objective.losses(SAME, x.astype(np.float32)), formula(x, margin), rtol=1e-4, atol=1e-6)


def test_the_ranking_is_the_share_of_others_that_are_farther() -> None:
    x = points(2)
    wanted = np.zeros(len(x))
    for pair, member, partner, others in members(x):
        own = np.linalg.norm(member - partner)
        wanted[pair] += np.mean([np.linalg.norm(member - other) > own for other in others]) / 2

    np.testing.assert_allclose(ranking(tf.constant(x), tf.constant(SAME)), wanted, rtol=1e-12)
    assert 0 < wanted.mean() < 1


@pytest.mark.parametrize("loss", [contrastive_losses, triplet_losses])
@pytest.mark.parametrize("case", ["one identity", "one pair", "all in one point"])
def test_what_is_missing_or_the_same_makes_no_gradient_infinite(loss: Any, case: str) -> None:
    x = tf.Variable(tf.zeros((6, 2, 3)) if case == "all in one point" else tf.constant(points(), tf.float32))
    rows = slice(0, 1) if case == "one pair" else slice(None)
    same = tf.constant(SAME if case == "all in one point" else np.zeros(6, int))

    with tf.GradientTape() as tape:
        found = loss(x[rows], same[rows], 0.5)

    assert np.isfinite(found).all()
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(found, x))).all()
    if case != "all in one point":
        own = 0.5 * np.sum((points()[rows, 0] - points()[rows, 1]) ** 2, axis=1)
        np.testing.assert_allclose(found, own if loss is contrastive_losses else np.zeros(len(own)), rtol=1e-5)


# Who is with whom


def test_partners_are_of_the_same_identity_and_part_and_change() -> None:
    rng = np.random.default_rng(0)
    same = rng.integers(4, size=90)
    train, validation = paired_rows(np.arange(60), same), paired_rows(np.arange(60, 90), same)
    x = np.arange(90, dtype=np.float32).reshape(90, 1)

    found = Pairs(x, [train, validation], same, seed=5)

    assert found.shape == (16 * 90, 2, 1)
    firsts, seconds = np.moveaxis(found[np.arange(16 * 90)][:, :, 0].astype(int).reshape(16, 90, 2), 2, 0)
    np.testing.assert_array_equal(firsts, np.tile(np.arange(90), (16, 1)))
    np.testing.assert_array_equal(same[seconds], same[firsts])
    assert (seconds != firsts).all()
    assert (seconds[:, :60] < 60).all()
    assert (seconds[:, 60:] >= 60).all()
    assert all(sorted(each) == list(range(90)) for each in seconds)  # each is somebody's partner, once a version
    assert np.mean([len(set(each)) for each in seconds.T]) > 5
    again, other = Pairs(x, [train, validation], same, seed=5), Pairs(x, [train, validation], same, seed=6)
    np.testing.assert_array_equal(again[np.arange(1440)], found[np.arange(1440)])
    assert not np.array_equal(other[np.arange(1440)], found[np.arange(1440)])


def test_who_is_alone_has_no_pair() -> None:
    assert paired_rows(np.array([0, 1, 2, 4, 5]), np.array([8, 9, 8, 9, 9, 7])).tolist() == [0, 1, 2, 4]
    assert paired_rows(np.array([0, 2]), np.array([8, 9, 8])).tolist() == []  # there is nobody else
    assert paired_rows(NONE, np.arange(3)).tolist() == []


def test_identities_are_classes_or_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(["a_1", "a_2", "b_1", "b_2", "c_1"]):
        folder = tmp_path / "faces" / ("old" if number % 2 else "new")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save(folder / f"{name}.png")
    examples = open_data(tmp_path / "faces", group_by="([a-z])_[0-9]")
    assert examples.paths is not None
    names = [Path(path).name for path in examples.paths]

    classes, people = identities(examples, "class"), identities(examples, "group")

    for one in range(5):
        for two in range(5):
            assert (people[one] == people[two]) == (names[one][0] == names[two][0])
            assert (classes[one] == classes[two]) == (
                Path(examples.paths[one]).parent == Path(examples.paths[two]).parent
            )


def test_data_without_identities_is_refused(digits: Any) -> None:
    x = np.asarray(digits.read(np.arange(20)))
    split, spec = some(15, 5), picture_spec(digits.shape)
    with pytest.raises(UsageError, match=r"two classes or more.*has 1 class"):
        pretrain_pairs(ArrayExamples(x), split, spec, settings())
    with pytest.raises(UsageError, match="no groups that could be identities"):
        pretrain_pairs(ArrayExamples(x), split, spec, settings(identity="group"))
    with pytest.raises(UsageError, match="labels of a regression task"):
        pretrain_pairs(ArrayExamples(x, np.arange(20.0), task="regression"), split, spec, settings())
    with pytest.raises(DataError, match="at least two training examples each"):
        pretrain_pairs(ArrayExamples(x, np.arange(20)), split, spec, settings())
    with pytest.raises(DataError, match="two groups or more"):
        pretrain_pairs(ArrayExamples(x, groups=np.zeros(20, int)), split, spec, settings(identity="group"))


# Whole trainings


@pytest.mark.parametrize("loss", ["contrastive", slow("triplet")])
def test_the_same_lie_closer_than_among_pixels(digits: Any, loss: Any) -> None:
    split = split_of(digits)

    learned = pretrain_pairs(digits, split, picture_spec(digits.shape), settings(10, units=(64,), loss=loss))

    x, y = np.asarray(digits.read(split.test)) / np.float32(255), digits.labels[split.test]
    embedded = np.asarray(learned.model(x))
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-4)
    upper = np.triu_indices(len(x), 1)
    is_same = (y[:, None] == y)[upper]

    def judged(points: NDArray[Any]) -> float:
        return float(roc_auc_score(is_same, -cdist(points, points)[upper]))

    assert judged(embedded) > 0.97 > 0.9 > judged(x.reshape(len(x), -1))
    assert learned.figures["ranking"] == pytest.approx(judged(embedded), abs=0.02)
    assert learned.figures["identities"] == 10


def test_what_is_learned_of_some_people_serves_for_others() -> None:
    """Each has a place among 3 factors of 12 columns; all else, more than half, is noise that all have alike."""
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(60), 12)
    basis = rng.normal(size=(3, 12))
    x = rng.normal(size=(60, 3))[people] @ basis + 3 * rng.normal(size=(720, 2)) @ rng.normal(size=(2, 12))
    examples = ArrayExamples(x.astype(np.float32), groups=people)
    split = some(480, 120, 120)  # other people in each
    learned = pretrain_pairs(
        examples, split, None, settings(30, units=(32,), embedding=8, identity="group", loss="triplet")
    )

    unseen, upper = split.test, np.triu_indices(120, 1)
    is_same = (people[unseen][:, None] == people[unseen])[upper]

    def judged(points: NDArray[Any]) -> float:
        return float(roc_auc_score(is_same, -cdist(points, points)[upper]))

    assert judged(np.asarray(learned.model(x[unseen].astype(np.float32)))) > 0.9 > 0.8 > judged(x[unseen])
    assert learned.figures["identities"] == 40
    assert not learned.pictures


def test_its_layers_are_units_and_the_embedding_the_last(digits: Any, tmp_path: Path) -> None:
    how = settings(1, conv=(4,), units=(12,), embedding=5)

    learned = pretrain_pairs(digits, some(100, 40), picture_spec(digits.shape), how)

    units = split_units(learned.model)
    assert [unit.name for unit in units] == ["layer1", "layer2", "embedding"]
    assert units[-1].output_shape == (5,)
    assert all(type(layer).__module__.startswith("keras.") for layer in learned.model.layers)
    net = Surgery(learned.model, "all", head=Head(classes=10)).stitch()
    assert (net.output_shape, Surgery(learned.model, "all").reuse) == ((None, 10), 2)
    learned.model.save(tmp_path / "model.keras")
    assert_equal(learned.model, keras.models.load_model(tmp_path / "model.keras"))


def assert_equal(model: keras.Model, other: keras.Model) -> None:
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_pictures_for_people(digits: Any, whole: Learned) -> None:
    found = whole.pictures

    x = np.asarray(digits.read(np.arange(160))).reshape(160, -1)
    rows = [
        [int(np.abs(x - np.rint(each.reshape(-1) * 255)).sum(axis=1).argmin()) for each in found[name]]
        for name in ("examples", "same")
    ]
    assert len(rows[0]) == 12
    assert min(rows[0] + rows[1]) >= 100
    assert (digits.labels[rows[0]] == digits.labels[rows[1]]).all()
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
    split, spec, how = some(100, 60), picture_spec(digits.shape), settings(5)

    def checkpoints(name: str) -> Path:
        return tmp_path / f"{name}.safetensors"

    with pytest.raises(KilledError):
        pretrain_pairs(digits, split, spec, how, checkpoints=checkpoints, progress=Killing(3))
    assert checkpoints("pairs").exists()
    again = pretrain_pairs(digits, split, spec, how, checkpoints=checkpoints, progress=Killing(1000))

    assert_equal(again.model, whole.model)
    assert [(each.epoch, each.loss) for each in again.history.epochs] == [
        (each.epoch, each.loss) for each in whole.history.epochs
    ]
    assert again.figures == whole.figures


@pytest.mark.slow
def test_too_many_to_hold_are_read_when_they_are_asked_for(
    digits: Any, whole: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "MOST_BYTES", 0)
    found = pretrain_pairs(digits, some(100, 60), picture_spec(digits.shape), settings(5))
    assert_equal(found.model, whole.model)


def test_neither_test_examples_nor_their_labels_are_looked_at(digits: Any, whole: Learned) -> None:
    class Guarded(ArrayExamples):
        def read(self, rows: Any) -> NDArray[Any]:
            assert np.max(rows) < 160
            return super().read(rows)

    y = np.where(np.arange(200) < 160, digits.labels[:200], 9 - digits.labels[:200])
    examples = Guarded(np.asarray(digits.read(np.arange(200))), y)

    found = pretrain_pairs(examples, some(100, 60, 40), picture_spec(digits.shape), settings(5))

    assert_equal(found.model, whole.model)


def test_validation_examples_meet_others_though_they_lie_class_by_class(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.training.fitting._EVALUATION_BATCH", 10)
    order = np.argsort(digits.labels[:200], kind="stable")
    examples = ArrayExamples(np.asarray(digits.read(order)), digits.labels[order])
    split = Split(np.arange(0, 200, 2), np.arange(1, 200, 2), NONE)

    learned = pretrain_pairs(examples, split, picture_spec((8, 8, 1)), settings(1))

    assert learned.figures["ranking"] > 0.6  # it is 0 of what meets nobody else


def test_without_pairs_among_the_validation_examples_all_epochs_are_run(digits: Any) -> None:
    learned = pretrain_pairs(digits, some(100, 1), picture_spec(digits.shape), settings(2))
    assert len(learned.history.epochs) == 2
    assert learned.history.epochs[0].val_loss is None
    assert learned.figures["ranking"] == learned.history.best.score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ()}, "layers of at least 1 unit"),
        ({"loss": "hinge"}, "Expected a loss of contrastive, triplet"),
        ({"margin": 0.0}, "a margin above 0"),
        ({"embedding": 1}, "at least 2 dimensions"),
        ({"identity": "person"}, "Expected an identity of class or group"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(**options)
    with pytest.raises(UsageError, match="batches of at least 2"):
        PairSettings(units=(3,), fit=FitSettings(batch_size=1))
