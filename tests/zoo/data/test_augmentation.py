from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.data.augmentation import Augmentation, _recolored
from zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

IDENTITY = hashlib.sha256(b"a picture").digest()
GOLDEN = {
    1: [
        ((33, 47), "270d9dc1e7375219"),
        ((34, 48), "e10a257bf72f448b"),
        ((35, 45), "1418ccb29a5ad157"),
        ((37, 44), "2ab19c603323e215"),
    ],
    3: [
        ((33, 47), "bd83d740e386d5ca"),
        ((34, 48), "2ada25b15735d093"),
        ((35, 45), "78d1e1299230d485"),
        ((37, 44), "39dce52de6ef09be"),
    ],
}  # a change of any of them wants another version in `to_json`


def picture(height: int = 37, width: int = 50, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Returns a picture of blobs with noise, in whole numbers only: the same on every machine."""
    y, x, c = np.ogrid[:height, :width, :channels]
    noise = np.frombuffer(hashlib.shake_256(bytes([seed])).digest(height * width * channels), np.uint8)
    blobs = (x * 5 + y * 3 * (c + 1) + (x * y) // 7) % 200
    return (blobs + noise.reshape(height, width, channels) % 56).astype(np.uint8)


def digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]


def test_version_0_is_the_picture() -> None:
    assert np.array_equal(Augmentation().apply(picture(), IDENTITY, 0), picture())


@pytest.mark.parametrize("channels", [1, 3])
def test_versions_are_these_on_every_machine(channels: int) -> None:
    versions = [Augmentation().apply(picture(channels=channels), IDENTITY, view) for view in range(1, 5)]

    assert [(version.shape[:2], digest(version)) for version in versions] == GOLDEN[channels]


def test_a_version_depends_on_settings_identity_and_number_alone() -> None:
    one = Augmentation().apply(picture(), IDENTITY, 1)
    others = [
        Augmentation().apply(picture(), IDENTITY, 2),
        Augmentation().apply(picture(), bytes(32), 1),
        Augmentation(seed=1).apply(picture(), IDENTITY, 1),
        Augmentation(flip=False).apply(picture(), IDENTITY, 1),
        Augmentation(crop=0.5).apply(picture(), IDENTITY, 1),
        Augmentation(color=0.1).apply(picture(), IDENTITY, 1),
    ]

    assert np.array_equal(Augmentation().apply(picture(), IDENTITY, 1), one)
    assert all(not np.array_equal(other, one) for other in others)


def test_order_and_threads_do_not_matter() -> None:
    views = list(range(1, 30))
    expected = [digest(Augmentation().apply(picture(), IDENTITY, view)) for view in views]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda view: digest(Augmentation().apply(picture(), IDENTITY, view)), views[::-1]))

    assert found[::-1] == expected


def test_the_picture_itself_stays_and_versions_can_be_written_to() -> None:
    original = picture()

    for view in range(1, 4):
        version = Augmentation().apply(original, IDENTITY, view)
        version[:] = 0

    assert np.array_equal(original, picture())


def test_half_of_the_versions_are_mirrored() -> None:
    flipping = Augmentation(flip=True, crop=1.0, color=0.0)

    versions = [flipping.apply(picture(), IDENTITY, view) for view in range(1, 401)]

    mirrored = [np.array_equal(version, picture()[:, ::-1]) for version in versions]
    assert all(flip or np.array_equal(version, picture()) for flip, version in zip(mirrored, versions, strict=True))
    assert 150 < sum(mirrored) < 250


@pytest.mark.parametrize("channels", [1, 3])
def test_without_any_change_a_version_is_the_picture(channels: int) -> None:
    still = Augmentation(flip=False, crop=1.0, color=0.0)

    assert np.array_equal(still.apply(picture(channels=channels), IDENTITY, 1), picture(channels=channels))


@pytest.mark.parametrize("least", [0.08, 0.7, 0.95])
def test_a_crop_is_a_part_of_the_picture_and_as_large_as_was_asked_for(least: float) -> None:
    height, width = 200, 300
    original = np.zeros((height, width, 3), np.uint8)
    original[..., 0], original[..., 1] = np.arange(height)[:, None], np.arange(width) % 256
    cropping = Augmentation(flip=False, crop=least, color=0.0)
    shares, aspects, corners = [], [], []

    for view in range(1, 401):
        part = cropping.apply(original, IDENTITY, view)
        top = int(part[0, 0, 0])
        left = int(part[0, 0, 1])
        lefts = [begin for begin in (left, left + 256) if begin + part.shape[1] <= width]
        assert any(np.array_equal(part, original[top : top + part.shape[0], x : x + part.shape[1]]) for x in lefts)
        shares.append(part.shape[0] * part.shape[1] / (height * width))
        aspects.append(part.shape[1] / part.shape[0] / (width / height))
        corners.append((top / max(1, height - part.shape[0]), left / max(1, width - part.shape[1])))

    assert min(shares) > least - 0.02
    assert max(shares) <= 1
    assert np.mean(shares) == pytest.approx((1 + least) / 2, abs=0.03)
    assert 0.72 < min(aspects) <= max(aspects) < 1.39
    assert np.mean(np.log(aspects)) == pytest.approx(0, abs=0.03)
    if least < 0.9:
        assert np.mean([corner[0] for corner in corners]) == pytest.approx(0.5, abs=0.06)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(1, 10**6), st.floats(0.01, 1))
def test_pictures_of_any_size_have_versions(height: int, width: int, channels: int, view: int, crop: float) -> None:
    version = Augmentation(crop=crop, color=0.9).apply(picture(height, width, channels), IDENTITY, view)

    assert version.dtype == np.uint8
    assert version.shape[2] == channels
    assert 1 <= version.shape[0] <= height
    assert 1 <= version.shape[1] <= width


def in_whole_numbers(
    pixels: NDArray[np.uint8], mean: float, brightness: float, contrast: float, saturation: float
) -> Any:
    """Returns what `_recolored` must give, computed in integers."""
    weights = np.array([0.299, 0.587, 0.114]) if pixels.ndim == 3 else np.ones(1)
    mixing = saturation * np.eye(len(weights)) + (1 - saturation) * weights if pixels.ndim == 3 else np.ones((1, 1))
    matrix = np.rint(brightness * contrast * mixing * 1024).astype(np.int64)
    offset = int(np.rint(brightness * (1 - contrast) * mean * 1024))
    values = pixels.reshape(-1, len(weights)).astype(np.int64) @ matrix.T + offset
    return np.clip((values + 512) >> 10, 0, 255).reshape(pixels.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_exact(channels: int) -> None:
    random = np.random.default_rng(0)
    pixels = picture(channels=channels) if channels == 3 else picture(channels=1)[..., 0]

    for _ in range(50):
        mean, *factors = 255 * random.random(), *(1 + 0.9 * (2 * random.random(3) - 1))
        found = np.asarray(_recolored(Image.fromarray(pixels), mean, *factors))
        assert np.array_equal(found, in_whole_numbers(pixels, mean, *factors))


def test_brightness_contrast_and_saturation_do_what_they_say() -> None:
    image = Image.fromarray(picture())
    pixels = picture().astype(float)
    mean = pixels.mean()

    assert np.asarray(_recolored(image, mean, 0.8, 1, 1)) == pytest.approx(pixels * 0.8, abs=0.8)
    assert np.asarray(_recolored(image, mean, 1, 0.5, 1)) == pytest.approx(pixels * 0.5 + mean * 0.5, abs=0.8)
    gray = np.asarray(_recolored(image, mean, 1, 1, 0))
    assert gray[..., 0] == pytest.approx(gray[..., 2])
    assert gray[..., 0] == pytest.approx(np.asarray(image.convert("L")).astype(float), abs=1)


def test_colours_change_no_more_than_was_asked_for() -> None:
    flat = np.full((16, 16, 3), 100, np.uint8)  # which has neither contrast nor saturation
    coloring = Augmentation(flip=False, crop=1.0, color=0.2)

    values = [int(coloring.apply(flat, IDENTITY, view)[0, 0, 0]) for view in range(1, 301)]

    assert 80 <= min(values) < 85
    assert 115 < max(values) <= 120


def test_settings_are_plain_data_for_the_key() -> None:
    assert Augmentation().to_json() == {"version": 1, "flip": True, "crop": 0.7, "color": 0.2, "seed": 0}


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(wrong: Any) -> None:
    with pytest.raises(DataError, match="Only pictures"):
        Augmentation().apply(wrong, IDENTITY, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"crop": 0.0}, {"crop": 1.1}, {"crop": float("nan")}, {"color": -0.1}, {"color": 1.0}, {"color": float("nan")}],
)
def test_settings_that_cannot_be_right_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augmentation(**wrong)  # type: ignore[arg-type]
