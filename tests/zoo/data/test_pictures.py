from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from zoo.data import SomeExamples, inspecting, open_data, pictures
from zoo.data.decode import REDUCED_STILL, decode_picture, size_seen
from zoo.errors import DataError
from zoo.registry import InputSpec

if TYPE_CHECKING:
    from zoo.data.pictures import FileExamples


def spec(size: int | None, **options: Any) -> InputSpec:
    return InputSpec((size, size, 1 if options.get("color") == "gray" else 3), **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("cat/1.png", 10), ("dog/2.png", 20), ("dog/3.png", 30)):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (value, 0, 0)).save(path)
    return tmp_path / "pets"


def opened(folder: Path, **options: Any) -> FileExamples:
    examples: Any = open_data(folder, near_duplicates=False, **options)
    return examples


def test_b15_a_file_that_is_gone_is_told_of(folder: Path) -> None:
    examples = opened(folder)
    (folder / "dog/2.png").unlink()

    with pytest.raises(DataError, match=r"dog/2\.png was there when the data was opened, and is gone"):
        examples.read(np.array([1]))
    assert len(examples.read(np.array([0, 2]))) == 2


def test_b15_a_file_that_is_another_is_told_of(folder: Path) -> None:
    examples = opened(folder)
    (folder / "dog/2.png").write_bytes((folder / "cat/1.png").read_bytes())

    with pytest.raises(DataError, match=r"dog/2\.png was changed after the data was opened"):
        examples.read(np.array([1]))


def test_b20_a_read_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = opened(folder)
    released = threading.Event()
    monkeypatch.setattr(inspecting, "PATIENCE", 0.1)
    monkeypatch.setattr(pictures, "read_file", lambda path, alive: released.wait(30))
    try:
        with pytest.raises(DataError, match=r"cat/1\.png: it could not be read within 0\.1 seconds"):
            examples.read(np.array([0]))
    finally:
        released.set()


def test_several_threads_may_read_at_once(folder: Path) -> None:
    examples = opened(folder)
    found: list[bool] = []

    def read() -> None:
        for number in range(30):
            row = number % 3
            (picture,) = examples.read(np.array([row]))
            found.append(int(picture[0, 0, 0]) == 10 * (row + 1))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 240
    assert all(found)


def test_some_examples_pass_all_on(folder: Path) -> None:
    examples = opened(folder, group_by="^([a-z]+)/", min_side=2)
    some = SomeExamples(examples, np.array([2, 0]))

    assert some.paths is not None
    assert list(some.paths) == ["dog/3.png", "cat/1.png"]
    assert examples.groups is not None
    assert some.groups is not None
    assert some.groups.tolist() == examples.groups[[2, 0]].tolist()
    assert some.inspections is not None
    assert [each.width for each in some.inspections] == [40, 40]
    assert some.policy == examples.policy
    gray = some.seen_by(spec(8, color="gray"))
    assert (gray.shape, len(gray), gray.read(np.array([0]))[0].shape) == ((None, None, 1), 2, (30, 40, 1))


def test_what_a_model_sees_stands_in_decoding_and_nothing_of_single_pictures(folder: Path) -> None:
    examples = opened(folder)
    small = examples.seen_by(spec(8))

    assert small.decoding == {"color": "RGB", "decoder": 1, "jpeg_at_least": [16, 16]}
    assert examples.decoding["jpeg_at_least"] is None  # the examples themselves are as they were
    assert examples.seen_by(None).decoding == examples.decoding
    assert examples.seen_by(spec(8, color="gray")).decoding["color"] == "gray"
    assert examples.seen_by(spec(9)).decoding != small.decoding


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (None, None),
        (spec(None), None),
        (InputSpec((20, 30, 3)), (20, 30)),
        (spec(224, fit="center_crop", resize_to=256), (256, 256)),
        (spec(224, fit="center_crop", resize_to=(250, 260)), (250, 260)),
        (spec(224, fit="center_crop"), (224, 224)),
        (spec(224, resize_to=256), (224, 224)),  # which is only meant before a crop
    ],
)
def test_the_size_that_pictures_are_resized_to_is_read_from_the_spec(wanted: Any, size: Any) -> None:
    assert size_seen(wanted) == size


@pytest.mark.parametrize(
    ("at_least", "scale"), [((100, 100), 2), ((101, 101), 1), ((50, 66), 4), ((50, 67), 2), ((10, 10), 8), (None, 1)]
)
def test_a_jpeg_stays_twice_as_large_as_what_is_wanted(tmp_path: Path, at_least: Any, scale: int) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (533, 401), "red").save(path)

    decoded = decode_picture(path, "RGB", at_least)

    assert decoded.shape == (-(-401 // scale), -(-533 // scale), 3)
    assert at_least is None or scale == 1 or decoded.shape[:2] >= tuple(REDUCED_STILL * side for side in at_least)


def test_reduction_minds_how_a_picture_lies(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "a.jpg"
    Image.new("RGB", (800, 400), "red").save(path, exif=exif)

    assert decode_picture(path, "RGB", (200, 100)).shape == (400, 200, 3)
    assert decode_picture(path, "RGB", (100, 200)).shape == (800, 400, 3)  # 400 wide when upright: not to be halved


def test_other_formats_are_never_reduced(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (800, 400), "red").save(path)
    assert decode_picture(path, "RGB", (10, 10)).shape == (400, 800, 3)


def test_a_reduced_photograph_is_nearer_to_all_its_pixels_than_the_whole_one(tmp_path: Path) -> None:
    """What the rule was chosen by: bilinear resizing looks at four pixels and passes over the others."""
    from sklearn.datasets import load_sample_images

    def sampled(pixels: Any, side: int) -> Any:
        """Returns what a bilinear resize without smoothing gives, as Keras's."""
        for axis in (0, 1):
            size = pixels.shape[axis]
            places = (np.arange(side) + 0.5) * size / side - 0.5
            below = np.clip(np.floor(places).astype(int), 0, size - 2)
            share = np.expand_dims(places - below, tuple({0, 1, 2} - {axis}))
            pixels = np.take(pixels, below, axis) * (1 - share) + np.take(pixels, below + 1, axis) * share
        return pixels

    for number, photograph in enumerate(load_sample_images().images):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(photograph).save(path, quality=92)
        whole = decode_picture(path, "RGB")
        for side in (48, 96):
            reduced = decode_picture(path, "RGB", (side, side))
            assert reduced.shape < whole.shape
            every = np.asarray(Image.fromarray(whole).resize((side, side), Image.Resampling.BOX)).astype(float)
            assert np.abs(sampled(reduced, side) - every).mean() < np.abs(sampled(whole, side) - every).mean()
