"""Features for NumPy, scikit-learn and PyTorch users: from a model's name and a folder, in three lines."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import zoo
from zoo.errors import CutError, DiskError, UsageError


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    """Thirty zeros and thirty ones as picture files."""
    digits = zoo.open_data("digits:0-1")
    counts = [0, 0]
    for row in range(len(digits)):
        label = int(digits.labels[row])
        if counts[label] < 30:
            path = tmp_path / "digits" / digits.classes[label] / f"{counts[label]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.read(np.array([row]))[0][..., 0]).save(path)
            counts[label] += 1
    return tmp_path / "digits"


def test_scikit_learn_learns_from_them(digits_folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    features = zoo.extract_features("letters-cnn", digits_folder, freeze=4)
    model = LogisticRegression(max_iter=1000).fit(features, features.labels)
    assert model.score(features, features.labels) == 1.0
    assert features.classes == ("0", "1")


def test_they_are_those_that_a_transfer_would_use(digits_folder: Path) -> None:
    zoo.extract_features("letters-cnn", digits_folder)
    run = zoo.transfer("letters-cnn", digits_folder, epochs=1)
    assert (run.record["features"]["hits"], run.record["features"]["misses"]) == (60, 0)


def test_maps_stay_as_they_are() -> None:
    """letters-cnn sees 28 x 28, and its first unit pools to 14 x 14 of 32."""
    units = zoo.split_units(zoo.load_model("letters-cnn"))
    features = zoo.extract_features("letters-cnn", "digits:0-1", freeze=1, pool="map", dtype="float16")
    assert (features.shape[1:], features.dtype) == (tuple(units[0].output_shape), np.float16)


def test_versions_follow_the_pictures_themselves(digits_folder: Path) -> None:
    features = zoo.extract_features("letters-cnn", digits_folder, views=2)
    plain = zoo.extract_features("letters-cnn", digits_folder)
    assert len(features) == 180
    np.testing.assert_array_equal(features[:60], plain)
    np.testing.assert_array_equal(features.labels[60:120], plain.labels)


def test_a_model_of_ones_own_and_arrays(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu"), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    features = zoo.extract_features(model, x, home=tmp_path)
    np.testing.assert_allclose(features, np.maximum(x @ model.layers[0].get_weights()[0], 0), rtol=1e-5)


def test_a_file_of_them_is_data_again(tmp_path: Path) -> None:
    features = zoo.extract_features("letters-cnn", "digits:0-1", freeze=3)
    path = zoo.save_features(features, tmp_path / "features.npz")
    with np.load(path) as written:
        np.testing.assert_array_equal(written["x"], features)
        assert written["y"][:4].tolist() == ["0", "1", "0", "1"]
        np.testing.assert_array_equal(written["example"], np.arange(len(features)))
    opened = zoo.open_data(path)
    assert (len(opened), opened.classes) == (len(features), ("0", "1"))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CutError):
        zoo.extract_features("letters-cnn", freeze=6)
    with pytest.raises(UsageError, match="at least one unit"):
        zoo.extract_features("letters-cnn", freeze=0)
    features = zoo.extract_features("letters-cnn", "digits:0-1")
    with pytest.raises(UsageError, match=r"\.npz"):
        zoo.save_features(features, tmp_path / "features.csv")
    (tmp_path / "file").touch()
    with pytest.raises(DiskError):
        zoo.save_features(features, tmp_path / "file" / "features.npz")
