from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.data import ArrayExamples, Ids, Rows
from zoo.data.preprocessing import preprocessed_shape, preprocessing_model
from zoo.data.reading import Reader
from zoo.errors import DataError
from zoo.features.keys import feature_spec
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
GRAY = RGB[..., :1].copy()


@dataclass
class Pictures:
    """Pictures of several sizes, as a folder has them."""

    pictures: list[NDArray[np.uint8]]
    name: str = "pictures"
    classes: tuple[str, ...] = ("a",)
    decoding: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids: Ids = np.zeros((len(self), 32), np.uint8)
        self.labels = np.zeros(len(self), np.int64)
        self.shape: tuple[int | None, ...] = (None, None, self.pictures[0].shape[-1])

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, rows: Rows) -> list[NDArray[np.uint8]]:
        return [self.pictures[row] for row in rows]


def seen(pictures: NDArray[Any], spec: InputSpec | None) -> NDArray[Any]:
    """Returns what a model sees of all the pictures."""
    reader = Reader(ArrayExamples(pictures), spec)
    result = reader[np.arange(len(pictures))]
    assert reader.shape == result.shape
    assert result.dtype == reader.dtype == np.float32
    return result


def bilinear(pictures: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Returns TensorFlow's own half-pixel bilinear resize."""
    return np.asarray(tf.image.resize(pictures, (height, width), method="bilinear", antialias=False))


@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [
        (1.0, (), ()),
        (1 / 255, (), ()),  # 0..1
        (1 / 127.5, (1.0,), ()),  # -1..1, one mean for all channels
        (1.0, (123.68, 116.779, 103.939), ()),  # VGG
        (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision
        (1.0, (), (2.0,)),
    ],
)
def test_numbers_are_scale_then_mean_then_std(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    spec = InputSpec((5, 6, 3), scale=scale, mean=mean, std=std)

    expected = (RGB.astype(float) * scale - (mean or 0)) / (std or 1)

    # float32 has 24 bits, so values up to 255 keep 5 digits after the point.
    np.testing.assert_allclose(seen(RGB, spec), expected, rtol=1e-5, atol=2e-5)


def test_bgr_is_the_channels_reversed_before_the_mean() -> None:
    mean = (103.939, 116.779, 123.68)  # Caffe's, in the order blue, green, red

    result = seen(RGB, InputSpec((5, 6, 3), color="BGR", mean=mean))

    np.testing.assert_allclose(result, RGB[..., ::-1].astype(float) - mean, atol=2e-5)


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_gray_becomes_three_equal_channels(color: Any) -> None:
    result = seen(GRAY, InputSpec((5, 6, 3), color=color))

    assert np.array_equal(result, np.repeat(GRAY, 3, axis=-1))


def test_color_becomes_gray_by_the_weights_of_bt_601() -> None:
    result = seen(RGB, InputSpec((5, 6, 1), color="gray", scale=1 / 255))

    expected = (RGB @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    np.testing.assert_allclose(result, expected, atol=2e-4)  # TensorFlow rounds the weights to 4 digits


def test_gray_stays_gray() -> None:
    assert np.array_equal(seen(GRAY, InputSpec((5, 6, 1), color="gray")), GRAY)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize(("color", "wanted"), [("RGB", 3), ("gray", 1)])
def test_other_numbers_of_channels_are_refused(channels: int, color: Any, wanted: int) -> None:
    examples = ArrayExamples(np.zeros((2, 5, 6, channels), np.uint8))

    with pytest.raises(DataError, match=rf"{color} pictures \({wanted} channels\).*have {channels}"):
        Reader(examples, InputSpec((5, 6, wanted), color=color))


@pytest.mark.parametrize(("height", "width"), [(10, 12), (3, 2), (5, 7), (1, 1)])
def test_stretch_is_half_pixel_bilinear(height: int, width: int) -> None:
    result = seen(RGB, InputSpec((height, width, 3)))

    np.testing.assert_allclose(result, bilinear(RGB, height, width), rtol=1e-6)


def test_half_pixel_means_that_the_ends_repeat_and_the_middle_mixes() -> None:
    row = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)

    # Four pixels over two: centres at -0.25, 0.25, 0.75 and 1.25 of the old ones.
    assert seen(row, InputSpec((1, 4, 1), color="gray")).ravel().tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("method", ["nearest", "bicubic", "area", "lanczos3", "lanczos5"])
def test_every_interpolation_of_the_registry_is_tensorflows(method: str) -> None:
    expected = tf.image.resize(RGB, (7, 9), method=method)

    np.testing.assert_allclose(seen(RGB, InputSpec((7, 9, 3), resize=method)), expected, rtol=1e-5, atol=1e-4)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    assert np.array_equal(seen(RGB, InputSpec((5, 6, 3), resize="lanczos5")), RGB)


@pytest.mark.parametrize(("resized", "top", "left"), [((8, 10), 2, 3), ((7, 9), 1, 2)])
def test_centre_crop_cuts_the_middle_after_resizing(resized: tuple[int, int], top: int, left: int) -> None:
    spec = InputSpec((4, 4, 3), fit="center_crop", resize_to=resized)

    expected = bilinear(RGB, *resized)[:, top : top + 4, left : left + 4]  # odd margins: less at the top left

    np.testing.assert_allclose(seen(RGB, spec), expected, rtol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_a_shorter_side_keeps_the_proportions(turned: bool) -> None:
    """The judge resizes the whole picture, 40x60, to 20x30, and cuts the middle 16x16 out of that."""
    picture = np.random.default_rng(0).uniform(0, 255, (1, 40, 60, 3)).astype(np.float32)
    height, width = (30, 20) if turned else (20, 30)
    picture = picture.transpose(0, 2, 1, 3) if turned else picture
    top, left = (height - 16) // 2, (width - 16) // 2

    expected = bilinear(picture, height, width)[:, top : top + 16, left : left + 16]

    spec = InputSpec((16, 16, 3), fit="center_crop", resize_to=20)
    np.testing.assert_allclose(seen(picture, spec), expected, atol=1e-3)


@pytest.mark.parametrize("spec", [InputSpec((4, 4, 3), scale=None), InputSpec((4, 4, 3), color=None)])
def test_what_nobody_published_is_not_guessed(spec: InputSpec) -> None:
    with pytest.raises(DataError, match=r"Say it yourself: preprocessing=zoo\.InputSpec.*zoo add FILE --replace"):
        seen(RGB, spec)


def test_a_mean_picture_that_nobody_reads_is_not_taken_for_a_mean_of_0() -> None:
    with pytest.raises(DataError, match=r"mean picture of the file m\.binaryproto subtracted") as caught:
        seen(RGB, InputSpec((4, 4, 3), mean_file="m.binaryproto"))

    assert "preprocessing=zoo.InputSpec(size, color=..., scale=..., mean=...)" in str(caught.value)


@pytest.mark.parametrize("mean", [(1.0, 2.0, 3.0), (0.0,)])
def test_beside_a_mean_in_numbers_the_file_with_the_picture_does_not_matter(mean: tuple[float, ...]) -> None:
    result = seen(RGB, InputSpec((5, 6, 3), mean=mean, mean_file="m.binaryproto"))

    np.testing.assert_allclose(result, RGB.astype(float) - mean, atol=2e-5)


def test_what_nobody_says_of_resizing_is_a_bilinear_stretch() -> None:
    stated = InputSpec((7, 9, 3), resize="bilinear", fit="stretch")
    pixels = seen(RGB, InputSpec((7, 9, 3)))

    assert np.array_equal(pixels, seen(RGB, stated))
    np.testing.assert_allclose(pixels, bilinear(RGB, 7, 9), rtol=1e-6)


def test_features_are_the_same_whoever_chose_how_pictures_are_resized() -> None:
    """What zoo chose itself and the same, stated, are one folder of the feature cache; another choice is another."""
    inputs = keras.Input((7, 9, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Dense(4)(inputs))))

    def key(**stated: Any) -> str:
        trunk = Surgery(model, 1, 1, Head(classes=2), preprocessing=InputSpec((7, 9, 3), **stated)).trunk
        return feature_spec(trunk, "digest", ArrayExamples(RGB), "float32").key

    assert key() == key(resize="bilinear", fit="stretch") == key(fit="stretch")
    assert key() != key(resize="nearest")


def test_centre_crop_without_a_size_before_it_is_a_stretch() -> None:
    spec = InputSpec((4, 4, 3), fit="center_crop")

    np.testing.assert_allclose(seen(RGB, spec), bilinear(RGB, 4, 4), rtol=1e-6)


def test_a_model_of_any_size_gets_the_pictures_unresized() -> None:
    assert np.array_equal(seen(RGB, InputSpec((None, None, 3))), RGB)


def test_resizing_comes_before_colour_and_numbers() -> None:
    spec = InputSpec((3, 4, 3), color="BGR", scale=0.5, mean=(1, 2, 3), std=(1, 2, 4))

    expected = (bilinear(RGB, 3, 4)[..., ::-1] * 0.5 - (1, 2, 3)) / (1, 2, 4)

    np.testing.assert_allclose(seen(RGB, spec), expected, rtol=1e-5, atol=1e-5)


def test_pictures_of_several_sizes_are_seen_as_each_alone() -> None:
    pictures = [RGB[0], RGB[1][:3], RGB[2][:, :2], RGB[3]]
    spec = InputSpec((4, 4, 3), scale=1 / 255)
    reader = Reader(Pictures(pictures), spec)

    result = reader[np.array([2, 0, 1])]

    assert reader.shape == (4, 4, 4, 3)
    expected = np.concatenate([seen(pictures[row][None], spec) for row in (2, 0, 1)])
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_pictures_that_happen_to_be_of_one_size_are_seen_alike() -> None:
    reader = Reader(Pictures([RGB[0], RGB[1][:3], RGB[2]]), InputSpec((4, 4, 3)))

    np.testing.assert_allclose(reader[np.array([0, 2])], bilinear(RGB[[0, 2]], 4, 4), rtol=1e-6)


def test_rows_of_numbers_are_scaled_and_nothing_else() -> None:
    rows = RANDOM.normal(size=(3, 30)).astype(np.float32)

    result = seen(rows, InputSpec((5, 6, 1), color="gray", scale=2.0, mean=(1.0,)))

    np.testing.assert_allclose(result, rows * 2 - 1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(31,), (30,), (5, 6)])
def test_rows_are_no_pictures(shape: tuple[int, ...]) -> None:
    """Not even where they have as many numbers: TensorFlow would end the process."""
    spec = InputSpec((5, 6, 1), color="gray", scale=2.0)
    with pytest.raises(DataError, match=r"wants examples of shape \[5, 6, 1\]"):
        preprocessed_shape(spec, shape, (5, 6, 1))


def test_the_shape_of_preprocessed_examples() -> None:
    spec = InputSpec((5, 6, 3))
    assert preprocessed_shape(spec, (None, None, 1), (5, 6, 3)) == (5, 6, 3)
    assert preprocessed_shape(None, (7, 9, 3), (None, None, 3)) == (7, 9, 3)
    with pytest.raises(DataError, match=r"shape \[28, 28, 3\]; these have \[8, 8, 1\], and \[5, 6, 3\] once"):
        preprocessed_shape(spec, (8, 8, 1), (28, 28, 3))


@pytest.mark.parametrize("examples", [RGB, RANDOM.normal(size=(4, 3)).astype(np.float32)])
def test_without_a_specification_nothing_changes(examples: NDArray[Any]) -> None:
    assert np.array_equal(seen(examples, None), examples)


def test_rows_are_read_in_the_order_asked_for() -> None:
    reader = Reader(ArrayExamples(RGB), None)

    assert len(reader) == 4
    assert np.array_equal(reader[np.array([3, 0, 3])], RGB[[3, 0, 3]])


def test_preprocessing_is_the_same_inside_a_saved_model(tmp_path: Any) -> None:
    spec = InputSpec((4, 4, 3), color="BGR", scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    model = preprocessing_model(spec, (None, None, 3))
    model.save(tmp_path / "model.keras")

    loaded = tf.keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_allclose(np.asarray(loaded(RGB.astype(np.float32))), seen(RGB, spec), rtol=1e-6)
