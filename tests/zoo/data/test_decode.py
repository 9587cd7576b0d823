from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from zoo.data.decode import DecodedColor, decode_picture
from zoo.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Every pixel and channel of it differs, and so do its height (2) and width (3).
PIXELS = np.arange(0, 18 * 14, 14, dtype=np.uint8).reshape(2, 3, 3)
GRAYS = PIXELS[..., :1].copy()


def save(path: Path, picture: Image.Image | NDArray[Any], **options: Any) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG file that claims to be so large, and ends where the pixels begin."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", size) + png_chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.ppm", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_formats_without_loss_give_every_pixel_back(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    decoded = decode_picture(save(tmp_path / name, PIXELS, **options), "RGB")

    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, PIXELS)


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif", "a.bmp"])
def test_b05_gray_pictures_give_every_pixel_back_as_gray_and_as_rgb(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, GRAYS[..., 0])

    assert np.array_equal(decode_picture(path, "gray"), GRAYS)
    assert np.array_equal(decode_picture(path, "RGB"), np.repeat(GRAYS, 3, axis=-1))


def test_color_becomes_gray_by_the_weights_of_bt_601(tmp_path: Path) -> None:
    decoded = decode_picture(save(tmp_path / "a.png", PIXELS), "gray")

    expected = PIXELS @ np.array([0.299, 0.587, 0.114])
    assert decoded.shape == (2, 3, 1)
    assert np.abs(decoded[..., 0] - expected).max() <= 1  # Pillow rounds in 16-bit fixed point


@pytest.mark.parametrize("color", ["RGB", "gray"])
def test_black_and_white_is_0_and_255(tmp_path: Path, color: DecodedColor) -> None:
    bits = np.array([[True, False]])

    decoded = decode_picture(save(tmp_path / "a.png", bits), color)

    assert decoded[..., 0].tolist() == [[255, 0]]


def test_a_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    gradient = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], (64, 48, 3))

    decoded = decode_picture(save(tmp_path / "a.jpg", gradient.copy(), quality=95), "RGB")

    assert decoded.shape == (64, 48, 3)
    assert np.abs(decoded.astype(int) - gradient).max() <= 3  # smooth: JPEG loses next to nothing


# EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored picture belong in the one that is seen.
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],  # row 0 top, column 0 right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda x: x.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_b08_exif_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}

    decoded = decode_picture(save(tmp_path / name, PIXELS, exif=exif, **options), "RGB")

    upright = UPRIGHT.get(orientation, UPRIGHT[1])  # 0 and 9 mean nothing
    assert np.array_equal(decoded, upright(PIXELS))


def test_b08_exif_orientation_of_a_jpeg_is_applied(tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)  # whole blocks of 8, so that JPEG keeps them sharp
    stored[:8] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a phone held upright

    decoded = decode_picture(save(tmp_path / "a.jpg", stored, exif=exif, quality=95), "gray")

    assert decoded.shape == (32, 16, 1)
    assert decoded[:, :8].max() < 10
    assert decoded[:, 8:].min() > 245  # the stored top row is seen at the right


FLOAT = 11  # a kind of EXIF field, and none for a width


def test_b08_orientation_is_applied_where_the_other_exif_data_are_damaged(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageWidth] = 24
    exif[ExifTags.Base.Orientation] = 3
    path = save(tmp_path / "a.jpg", noise(16, 24), exif=exif)
    plain = decode_picture(path, "RGB")[::-1, ::-1]
    whole = path.read_bytes()
    field = whole.index(struct.pack(">H", ExifTags.Base.ImageWidth), whole.index(b"Exif\0\0MM"))
    path.write_bytes(whole[: field + 2] + struct.pack(">H", FLOAT) + whole[field + 4 :])
    with Image.open(path) as picture, pytest.raises(struct.error):
        ImageOps.exif_transpose(picture)  # the damage is real

    assert np.array_equal(decode_picture(path, "RGB"), plain[::-1, ::-1])


HALF = 128  # of 255: a white ground shines through as 255 * (1 - 128 / 255) = 127


def test_b05_rgba_lies_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, HALF], [255, 0, 0, 0]]], np.uint8)

    decoded = decode_picture(save(tmp_path / "a.png", pixels), "RGB")

    assert decoded.tolist() == [[[255, 0, 0], [255, 127, 127], [255, 255, 255]]]


def test_b05_gray_with_alpha_lies_on_white(tmp_path: Path) -> None:
    picture = Image.merge("LA", [Image.fromarray(np.array([values], np.uint8)) for values in ([0] * 3, [255, HALF, 0])])
    path = save(tmp_path / "a.png", picture)

    assert decode_picture(path, "gray")[0, :, 0].tolist() == [0, 127, 255]
    assert decode_picture(path, "RGB")[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_b05_a_transparent_palette_colour_is_white(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(np.array([[0, 1, 0]], np.uint8))
    picture.putpalette([200, 0, 0, 0, 100, 0])  # 0 is red, 1 green

    decoded = decode_picture(save(tmp_path / name, picture, transparency=1), "RGB")

    assert decoded.tolist() == [[[200, 0, 0], [255, 255, 255], [200, 0, 0]]]


def test_b05_a_palette_with_alpha_of_its_own_lies_on_white(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 0, 255])

    decoded = decode_picture(save(tmp_path / "a.png", picture, transparency=bytes([HALF, 255])), "RGB")

    assert decoded.tolist() == [[[255, 127, 127], [0, 0, 255]]]


def test_the_transparent_colour_of_an_rgb_png_is_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", PIXELS, transparency=tuple(int(value) for value in PIXELS[1, 2]))

    expected = PIXELS.copy()
    expected[1, 2] = 255
    assert np.array_equal(decode_picture(path, "RGB"), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
@pytest.mark.parametrize("color", ["RGB", "gray"])
def test_b06_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str, color: DecodedColor) -> None:
    values = np.array([[0, 257, 32_767, 32_768, 65_535]], np.uint16)

    decoded = decode_picture(save(tmp_path / name, values), color)

    # value >> 8
    assert decoded.dtype == np.uint8
    assert decoded[0, :, 0].tolist() == [0, 1, 127, 128, 255]
    assert decoded.shape[-1] == (3 if color == "RGB" else 1)


def test_b06_sixteen_bit_pictures_are_turned_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    values = np.array([[0, 65_535]], np.uint16)

    decoded = decode_picture(save(tmp_path / "a.png", values, exif=exif), "gray")

    assert decoded[..., 0].tolist() == [[0], [255]]


def test_float_pictures_of_0_to_1_fill_the_range(tmp_path: Path) -> None:
    decoded = decode_picture(save(tmp_path / "a.tif", np.array([[0.0, 0.5, 1.0]], np.float32)), "gray")

    assert decoded[0, :, 0].tolist() == [0, 128, 255]  # 127.5 goes to the even neighbour


def test_b05_a_cmyk_jpeg_has_the_colours_of_its_inks(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red

    path = save(tmp_path / "a.jpg", inks, quality=95)

    red = decode_picture(path, "RGB").astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 3  # JPEG's loss
    assert np.abs(decode_picture(path, "gray").astype(int) - 76).max() <= 3  # 0.299 * 255


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.tif", {}), ("a.webp", {"lossless": True}), ("a.png", {})],
)
def test_b07_the_first_frame_of_several_counts(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    first, second = Image.new("RGB", (4, 3), (200, 0, 0)), Image.new("RGB", (4, 3), (0, 0, 200))

    path = save(tmp_path / name, first, save_all=True, append_images=[second], **options)

    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == 2
    assert np.array_equal(decode_picture(path, "RGB"), np.broadcast_to([200, 0, 0], (3, 4, 3)))


@pytest.mark.parametrize("name", ["a.jpg", "a.PNG", "a", "a.txt"])
def test_b09_the_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, PIXELS, format="PNG")

    assert np.array_equal(decode_picture(path, "RGB"), PIXELS)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2000), (2000, 1)])
def test_b11_pictures_of_one_pixel_in_a_direction_are_pictures(tmp_path: Path, height: int, width: int) -> None:
    pixels = noise(height, width)

    assert np.array_equal(decode_picture(save(tmp_path / "a.png", pixels), "RGB"), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")  # Pillow on a TIFF, before it raises
def test_b04_a_truncated_picture_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    whole = save(tmp_path / "whole", noise(60, 40), format=kind).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(DataError, match="cut"):
        decode_picture(path, "RGB")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"just text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\xff\xd8\xff"],
    ids=["empty", "NUL", "text", "SVG", "PDF", "JPEG magic alone"],
)
def test_b04_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.jpg"):
        decode_picture(path, "RGB")


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "SGI"])
def test_b09_formats_off_the_list_are_not_tried(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.png", noise(16, 16), format=kind)

    with pytest.raises(DataError, match="no picture of a known format"):
        decode_picture(path, "RGB")


def test_b10_a_header_that_claims_too_many_pixels_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(50_000, 50_000))  # decoded: 7.5 GB

    with pytest.raises(DataError, match=r"bomb\.png.*pixels"):
        decode_picture(path, "RGB")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow warns from 89 million on
def test_b10_the_cap_is_100_million_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(10_001, 10_000))
    with pytest.raises(DataError, match=r"10001x10000 pixels; at most 100,000,000"):
        decode_picture(path, "RGB")

    path.write_bytes(png_header(10_000, 10_000))  # allowed, and only then found to be cut
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_picture(path, "RGB")


def test_b10_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    comment = png_chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(50_000_000)))  # 50 kB of file
    picture = io.BytesIO()
    Image.fromarray(PIXELS).save(picture, "PNG")
    header, rest = picture.getvalue()[:33], picture.getvalue()[33:]
    path = tmp_path / "a.png"
    path.write_bytes(header + comment + rest)

    with pytest.raises(DataError, match=r"a\.png cannot be decoded"):
        decode_picture(path, "RGB")


@pytest.mark.parametrize("name", ["none.png", "."])
def test_a_missing_file_or_a_folder_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="No picture"):
        decode_picture(tmp_path / name, "RGB")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    good, bad = save(tmp_path / "a.png", PIXELS), tmp_path / "b.png"
    bad.write_bytes(good.read_bytes()[:40])
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        decode_picture(good, "RGB")
        with pytest.raises(DataError):
            decode_picture(bad, "RGB")

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_b13_a_pipe_is_never_opened(tmp_path: Path) -> None:
    """Opening one would wait for a writer that never comes."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="pipe"):
        decode_picture(tmp_path / "pipe.png", "gray")


def chunked_png(depth: int, color: int, samples: NDArray[Any]) -> bytes:
    """Returns a PNG file of samples [height, width, n] as they are; Pillow writes no colours of 16 bits."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in samples)
    size = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


SIXTEEN = np.array([[[0, 257, 32_767], [32_768, 65_535, 255]]], np.uint16)
GRAY_LA, RGB, RGBA = 4, 2, 6  # colour types of PNG


def test_b06_colours_of_16_bits_lose_the_lower_8(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(chunked_png(16, RGB, SIXTEEN))
    assert decode_picture(path, "RGB").tolist() == (SIXTEEN >> 8).tolist()


def test_b06_16_bits_with_alpha_lie_on_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(chunked_png(16, GRAY_LA, np.array([[[0, 65_535], [0, 0], [40_000, 65_535]]], np.uint16)))
    assert decode_picture(path, "gray")[0, :, 0].tolist() == [0, 255, 40_000 >> 8]
    path.write_bytes(chunked_png(16, RGBA, np.array([[[512, 1024, 2048, 65_535], [1, 2, 3, 0]]], np.uint16)))
    assert decode_picture(path, "RGB").tolist() == [[[2, 4, 8], [255, 255, 255]]]


def test_b06_all_16_bits_are_as_tensorflow_has_them(tmp_path: Path) -> None:
    """The other decoder of this field: libpng strips the lower 8 bits."""
    import tensorflow as tf

    values = np.arange(0, 65_536, 64, dtype=np.uint16).reshape(32, 32)
    path = save(tmp_path / "a.png", values)
    theirs = np.asarray(tf.io.decode_png(path.read_bytes(), dtype=tf.uint16)).astype(int) >> 8
    assert np.array_equal(decode_picture(path, "gray"), theirs)
    assert np.array_equal(decode_picture(path, "gray")[..., 0], values >> 8)


def tiff(bits: int, data: bytes, width: int, height: int, samples: int = 1) -> bytes:
    """Returns a little-endian TIFF of one strip, uncompressed."""
    photometric = 2 if samples == 3 else 1
    tags = [(256, width), (257, height), (259, 1), (262, photometric), (273, 8), (277, samples), (278, height),
            (279, len(data))]  # fmt: skip
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    begin = 8 + len(data)
    after = begin + 2 + 12 * 9 + 4
    depth = struct.pack("<HHIHH", 258, 3, 1, bits, 0) if samples == 1 else struct.pack("<HHII", 258, 3, samples, after)
    entries.insert(2, depth)
    ifd = struct.pack("<H", 9) + b"".join(entries) + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, begin) + data + ifd + struct.pack("<H", bits) * samples


def test_b06_a_tiff_of_16_bits_a_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(16, SIXTEEN.astype("<u2").tobytes(), 2, 1, 3))
    assert decode_picture(path, "RGB").tolist() == (SIXTEEN >> 8).tolist()


def test_b06_twelve_bits_fill_the_range(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(12, bytes.fromhex("000fff800100"), 4, 1))  # 0, 4095, 2048, 256
    assert decode_picture(path, "gray")[0, :, 0].tolist() == [0, 255, 128, 16]


def test_b06_numbers_of_32_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    decoded = decode_picture(save(tmp_path / "a.tif", np.array([[0, 500_000, 1_000_000]], np.int32)), "gray")
    assert decoded[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("color", ["RGB", "gray"])
def test_values_that_are_no_numbers_do_not_crash(tmp_path: Path, color: DecodedColor) -> None:
    path = save(tmp_path / "a.tif", np.array([[0.0, np.nan, 1.0, np.inf]], np.float32))
    assert decode_picture(path, color).shape[:2] == (1, 4)


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    """Each scan of a progressive JPEG may be some bytes, and goes over all of the picture."""
    whole = save(tmp_path / "a.jpg", noise(64, 64), progressive=True).read_bytes()
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    path = tmp_path / "b.jpg"
    path.write_bytes(whole[:-2] + scan * 200 + whole[-2:])
    with pytest.raises(DataError, match="more than 100 scans"):
        decode_picture(path, "RGB")


def test_a_phones_jpeg_with_a_film_after_it_is_a_picture(tmp_path: Path) -> None:
    """Whose bytes look like the begin of a scan many times."""
    path = save(tmp_path / "a.jpg", noise(16, 16))
    path.write_bytes(path.read_bytes() + b"\xff\xda\x00\x07" * 500)
    assert decode_picture(path, "RGB").shape == (16, 16, 3)


def test_a_phones_jpeg_with_a_second_picture_is_its_first(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (8, 8), "blue")
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second])
    assert np.abs(decode_picture(path, "RGB").astype(int) - [254, 0, 0]).max() < 3
    assert decode_picture(path, "RGB", (12, 16)).shape == (24, 32, 3)


@pytest.mark.parametrize("kind", [b"VP8X", b"VP8L", b"VP8 "])
def test_b10_the_size_of_a_webp_is_read_before_its_decoder_makes_room(tmp_path: Path, kind: bytes) -> None:
    side = 16_000
    bodies = {
        b"VP8X": bytes(4) + (side - 1).to_bytes(3, "little") * 2,
        b"VP8L": b"\x2f" + (side - 1 | (side - 1) << 14).to_bytes(4, "little") + bytes(5),
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side),
    }
    body = bodies[kind] + bytes(20)
    path = tmp_path / "a.webp"
    path.write_bytes(b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body)
    with pytest.raises(DataError, match="16000x16000 pixels"):
        decode_picture(path, "RGB")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what it passes over
def test_b10_many_large_tags_of_a_tiff_take_no_memory(tmp_path: Path) -> None:
    """Each of 10,000 tags says that its value is nearly all of the file."""
    import tracemalloc

    filler = bytes(1 << 20)
    tags = b"".join(struct.pack("<HHII", 30_000 + number, 7, len(filler), 8) for number in range(10_000))
    path = tmp_path / "a.tif"
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(filler)) + filler + struct.pack("<H", 10_000) + tags + bytes(4)
    )
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            decode_picture(path, "RGB")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_b10_a_profile_that_unpacks_to_much_takes_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    bomb = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200_000_000), 9))
    whole = chunked_png(8, RGB, PIXELS)
    path = tmp_path / "a.png"
    path.write_bytes(whole[:33] + bomb + whole[33:])
    tracemalloc.start()
    try:
        with contextlib.suppress(DataError):
            decode_picture(path, "RGB")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_file_may_not_be_larger_than_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(DataError, match=r"has 1,073,741,825 bytes; at most"):
        decode_picture(path, "RGB")


def test_b06_32_bits_of_small_values_are_no_black_picture(tmp_path: Path) -> None:
    """Nobody says what is white among 32 bits: the largest value is."""
    Image.fromarray(np.array([[0, 100, 200]], np.int32)).save(tmp_path / "a.tif")
    assert decode_picture(tmp_path / "a.tif", "gray")[0, :, 0].tolist() == [0, 128, 255]
