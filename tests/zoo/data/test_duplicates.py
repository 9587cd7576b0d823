from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from zoo.data.duplicates import near_duplicates

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Random = np.random.Generator


def thumbnail(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("L").resize((17, 16), Image.Resampling.BOX))


def texture(random: Random) -> Image.Image:
    """Returns noise with the spectrum of photographs, of any sharpness, and some round things on it."""
    height, width = (int(size) for size in random.integers(120, 240, 2))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width)
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(random.normal(size=(height, width))) / frequency ** random.uniform(0.6, 2.0)
    noise = np.fft.ifft2(spectrum).real
    pixels = np.clip(128 + 50 * (noise - noise.mean()) / noise.std(), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels).convert("RGB")
    draw_round_things(picture, random, int(random.integers(0, 5)))
    return picture


def shapes(random: Random) -> Image.Image:
    picture = Image.new("RGB", (240, 200), tuple(random.integers(0, 255, 3).tolist()))
    draw_round_things(picture, random, int(random.integers(4, 9)))
    return picture


def draw_round_things(picture: Image.Image, random: Random, count: int) -> None:
    for _ in range(count):
        x, y, size = random.integers(0, picture.width), random.integers(0, picture.height), random.integers(12, 70)
        color = tuple(random.integers(0, 255, 3).tolist())
        ImageDraw.Draw(picture).ellipse([int(x - size), int(y - size), int(x + size), int(y + size)], fill=color)


def line_drawing(random: Random) -> Image.Image:
    picture = Image.new("RGB", (240, 240), "white")
    for _ in range(int(random.integers(2, 7))):
        points = [(int(x), int(y)) for x, y in random.integers(15, 225, (3, 2))]
        ImageDraw.Draw(picture).line(points, fill="black", width=int(random.integers(1, 4)))
    return picture


def page_of_text(random: Random) -> Image.Image:
    picture = Image.new("RGB", (240, 320), "white")
    for line in range(22):
        words = "".join(random.choice(list("abcdefgh   klmno"), int(random.integers(10, 32))))
        ImageDraw.Draw(picture).text((20, 20 + 13 * line), words, fill="black")
    return picture


def slope(random: Random) -> Image.Image:
    y, x = np.mgrid[:160, :200] / 200
    angle = random.uniform(0, 6.28)
    pixels = 128 + random.uniform(20, 100) * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.4))
    return Image.fromarray(np.clip(pixels + random.normal(0, 2, x.shape), 0, 255).astype(np.uint8))


def flat(random: Random) -> Image.Image:
    pixels = random.uniform(0, 255) + random.normal(0, random.choice([0, 1, 4]), (150, 180))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def dark(random: Random) -> Image.Image:
    return texture(random).point(lambda value: value * 0.04)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def trimmed(picture: Image.Image) -> Image.Image:
    """Returns the picture without 2 % of its width and height."""
    across, down = round(0.01 * picture.width), round(0.01 * picture.height)
    return picture.crop((across, down, picture.width - across, picture.height - down))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": lambda picture: jpeg(picture, 40),
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "double": lambda picture: picture.resize((picture.width * 2, picture.height * 2)),
    "trimmed": trimmed,
    "gray": lambda picture: picture.convert("L"),
    "brighter": lambda picture: picture.point(lambda value: min(255, value * 1.1 + 5)),
    "half and compressed": lambda picture: jpeg(picture.resize((picture.width // 2, picture.height // 2)), 60),
}


def made(kind: Callable[[Random], Image.Image], count: int) -> list[Image.Image]:
    random = np.random.default_rng(7)
    return [kind(random) for _ in range(count)]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("kind", [texture, shapes])
def test_copies_are_found_and_nothing_else(kind: Callable[[Random], Image.Image], copy: str) -> None:
    pictures = made(kind, 60)
    copies = [COPIES[copy](picture) for picture in pictures[:25]]

    cluster = near_duplicates(np.stack([thumbnail(picture) for picture in (*pictures, *copies)]))

    found = (cluster[:25] >= 0) & (cluster[:25] == cluster[60:])
    assert found.sum() >= 23  # of 25: some have hardly any detail
    assert np.all(cluster[25:60] == -1)
    assert len(set(cluster[:25][found])) == found.sum()


@pytest.mark.parametrize("kind", [texture, shapes, line_drawing, page_of_text, slope, flat, dark])
def test_different_pictures_are_not_taken_for_copies(kind: Callable[[Random], Image.Image]) -> None:
    assert np.all(near_duplicates(np.stack([thumbnail(picture) for picture in made(kind, 100)])) == -1)


def test_what_shows_nothing_is_no_copy_even_of_the_same_gray() -> None:
    assert near_duplicates(np.full((5, 16, 17), 255, np.uint8)).tolist() == [-1] * 5


def test_equal_thumbnails_with_detail_are_copies_and_numbered_by_the_first() -> None:
    one, other = (thumbnail(picture) for picture in made(texture, 2))
    assert near_duplicates(np.stack([other, one, one, one])).tolist() == [-1, 1, 1, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    assert near_duplicates(np.zeros((count, 16, 17), np.uint8)).tolist() == [-1] * count


def test_the_order_of_the_pictures_does_not_matter() -> None:
    pictures = made(texture, 40)
    thumbnails = np.stack([thumbnail(each) for each in (*pictures, *map(trimmed, pictures[:10]))])
    order = np.random.default_rng(0).permutation(50)
    straight, shuffled = near_duplicates(thumbnails), near_duplicates(thumbnails[order])

    same = straight[:, None] == straight[None]
    same[straight == -1] = False
    again = shuffled[:, None] == shuffled[None]
    again[shuffled == -1] = False
    assert np.array_equal(same[np.ix_(order, order)], again)


def test_a_chain_of_pictures_does_not_grow_together() -> None:
    """One picture becomes another in small steps, each all but equal to the last."""
    first, last = (thumbnail(picture).astype(float) for picture in made(texture, 2))
    chain = np.stack([(first * (1 - share) + last * share) for share in np.linspace(0, 1, 60)]).astype(np.uint8)

    cluster = near_duplicates(chain)

    assert cluster[0] != cluster[-1]
    assert 2 <= len(set(cluster)) < 30


@pytest.mark.parametrize("count", [10, 40])
def test_copies_are_found_in_small_data_too(count: int) -> None:
    """Where the copy is one of few pictures it must not count for how alike different ones are."""
    pictures = made(line_drawing, count)
    copies = [jpeg(trimmed(picture), 40) for picture in pictures]

    cluster = near_duplicates(np.stack([thumbnail(picture) for picture in (*pictures, *copies)]))

    assert np.mean((cluster[:count] >= 0) & (cluster[:count] == cluster[count:])) >= 0.8


def test_pictures_that_are_only_like_each_other_are_no_copies() -> None:
    """Of 0.6 of one noise and 0.4 of another the correlation with the first is 0.83."""
    noise = np.random.default_rng(0).normal(128, 35, (40, 16, 17))
    mixed = 0.6 * noise[:10] + 0.4 * noise[10:20]

    cluster = near_duplicates(np.clip(np.concatenate([noise, mixed]), 0, 255).astype(np.uint8))

    assert np.all(cluster == -1)


def test_many_pictures_and_copies_of_some() -> None:
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(16)[:, None] * 16, np.fft.fftfreq(17)[None] * 17)
    frequency[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(10_000, 16, 17))) / frequency**1.3).real
    noise /= noise.std(axis=(1, 2), keepdims=True)
    pictures = np.clip(128 + 45 * noise, 0, 255).astype(np.uint8)
    copies = np.clip(pictures[:500] + random.normal(0, 4, (500, 16, 17)), 0, 255).astype(np.uint8)

    cluster = near_duplicates(np.concatenate([pictures, copies]))

    assert np.mean(cluster[:500] == cluster[10_000:]) >= 0.99
    assert np.all(cluster[500:10_000] == -1)
