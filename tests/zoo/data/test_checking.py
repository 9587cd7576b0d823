"""What a check finds, on real files that are wrong in every way, and on arrays."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from zoo.data import ArrayExamples, open_data, split_examples, split_of
from zoo.data.checking import DataCheck, check_data, data_warnings
from zoo.data.findings import Finding
from zoo.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<img src=x onerror=alert(1)>\u202egnp & '\".jpg"


def picture(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Returns a picture with detail of all sizes, another one for each seed."""
    random = np.random.default_rng(seed)
    coarse, fine = random.integers(0, 255, (5, 6, 3), np.uint8), random.integers(0, 255, (20, 24, 3), np.uint8)
    layers = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in (coarse, fine)]
    return Image.blend(*layers, 0.35)


def put(path: Path, image: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 12) -> Path:
    """Returns a folder of sound pictures that are all different."""
    for number, name in enumerate(classes):
        for each in range(count):
            put(root / name / f"{each:02}.jpg", picture(1000 * number + each), quality=92)
    return root


def finding(check: DataCheck, kind: str) -> Finding:
    (found,) = [each for each in check.findings if each.kind == kind]
    return found


def names(check: DataCheck, kind: str) -> list[set[str]]:
    return [set(case.names) for case in finding(check, kind).cases]


def test_sound_data_has_no_findings(tmp_path: Path) -> None:
    check = check_data(str(folder(tmp_path / "pets")))

    assert (check.examples, check.passed_over, check.problem, check.findings) == (24, 0, None, ())
    assert [(each.name, each.examples) for each in check.classes] == [("cat", 12), ("dog", 12)]
    assert all(each.train + each.validation + each.test == 12 for each in check.classes)
    assert (dict(check.formats), dict(check.modes)) == ({"JPEG": 24}, {"RGB": 24})
    assert (check.sizes["width"].median, check.sizes["height"].median) == (96, 80)
    assert sum(count for _, _, count in check.sides) == 24


def test_b04_broken_files_are_found_and_too_many_are_a_problem(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    whole = (root / "cat" / "00.jpg").read_bytes()
    (root / "cat" / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "text.jpg").write_text("no picture")
    (root / "cat" / "empty.jpg").write_bytes(b"")

    check = check_data(str(root))

    assert names(check, "broken") == [{"cat/empty.jpg"}, {"cat/short.jpg"}, {"cat/text.jpg"}]
    assert (finding(check, "broken").level, check.passed_over, check.examples) == ("error", 3, 24)
    assert "3 of 27 files" in str(check.problem)
    assert check_data(str(root), max_bad=0.2).problem is None
    assert "none may be" in str(check_data(str(root), max_bad=0.2, bad_files="fail").problem)


def test_b17_copies_across_classes_are_label_collisions(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    shutil.copy(root / "cat" / "00.jpg", root / "dog" / "same.jpg")
    shutil.copy(root / "cat" / "01.jpg", root / "cat" / "again.jpg")

    check = check_data(str(root))

    assert names(check, "label collision") == [{"cat/00.jpg", "dog/same.jpg"}]
    assert finding(check, "label collision").cases[0].detail == "cat, dog"
    assert names(check, "copy") == [{"cat/01.jpg", "cat/again.jpg"}]


def test_near_duplicates_are_found_across_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    put(root / "dog" / "smaller.jpg", picture(0).resize((60, 50)), quality=70)
    put(root / "cat" / "gray.png", picture(1).convert("L"))

    check = check_data(str(root))

    assert names(check, "near duplicate across classes") == [{"cat/00.jpg", "dog/smaller.jpg"}]
    assert names(check, "near duplicate") == [{"cat/01.jpg", "cat/gray.png"}]
    assert not [each for each in check_data(str(root), near_duplicates=False).findings if "near" in each.kind]


def test_b17_copies_across_the_parts_of_the_data_are_counted(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    folder(root / "train")
    for part, seed in (("val", 5000), ("test", 6000)):
        for number, name in enumerate(("cat", "dog")):
            for each in range(3):
                put(root / part / name / f"{each}.jpg", picture(seed + 10 * number + each), quality=92)
    shutil.copy(root / "train" / "cat" / "00.jpg", root / "test" / "cat" / "leak.jpg")
    put(root / "val" / "dog" / "near.jpg", picture(1000).resize((60, 50)), quality=70)

    check = check_data(str(root))

    assert finding(check, "copy across parts").title.startswith("1 held-out picture ")
    assert names(check, "copy across parts") == [{"train/cat/00.jpg", "test/cat/leak.jpg"}]
    assert names(check, "near duplicate across parts") == [{"train/dog/00.jpg", "val/dog/near.jpg"}]
    assert [(each.train, each.validation, each.test) for each in check.classes] == [(12, 3, 4), (12, 4, 3)]


def test_odd_pictures_are_each_found_for_what_they_are(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    orientation = Image.Exif()
    orientation[0x0112] = 6
    put(root / "cat" / "blank.png", Image.new("RGB", (96, 80), "white"))
    put(root / "cat" / "long.png", picture(50, (400, 40)))
    put(root / "cat" / "tiny.png", picture(51, (10, 10)))
    put(root / "cat" / "print.jpg", picture(52).convert("CMYK"))
    put(root / "cat" / "deep.png", Image.fromarray(np.asarray(picture(53).convert("L")).astype(np.uint16) * 257))
    put(root / "cat" / "turned.jpg", picture(54), exif=orientation)
    put(root / "cat" / "misnamed.jpg", picture(55), format="PNG")
    put(root / "cat" / "moving.gif", picture(56), save_all=True, append_images=[picture(57)])

    check = check_data(str(root))

    odd = {"blank": "blank.png", "long": "long.png", "small": "tiny.png", "CMYK": "print.jpg", "16 bit": "deep.png",
           "turned": "turned.jpg", "suffix": "misnamed.jpg", "animated": "moving.gif"}  # fmt: skip
    assert {kind: names(check, kind) for kind in odd} == {kind: [{f"cat/{name}"}] for kind, name in odd.items()}
    assert check.problem is None


def test_small_and_uneven_classes_are_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", count=12)
    put(root / "bird" / "0.jpg", picture(7777))

    check = check_data(str(root))

    assert names(check, "small class") == [{"bird"}]
    assert names(check, "imbalance") == [{"bird"}, {"cat"}] or names(check, "imbalance") == [{"bird"}, {"dog"}]
    assert names(check, "no test") == [{"bird"}]


def test_b02_one_class_is_a_problem_and_still_reported(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4))
    check = check_data((rows, ["only"] * 30))

    assert "1 class" in str(check.problem)
    assert check.examples == 30


def test_data_that_is_not_there_or_empty(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError):
        check_data(str(tmp_path / "nothing"))
    with pytest.raises(NotFoundError):
        check_data(str(tmp_path / "missing"))


def test_rows_that_are_not_finite_constant_or_copies() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    rows[3, 2], rows[4, 0], rows[7], rows[9] = np.nan, np.inf, 1.0, rows[8]

    check = check_data((rows, np.arange(60) % 2))

    assert (check.noun, names(check, "not finite")) == ("row", [{"row 3"}, {"row 4"}])
    assert names(check, "blank") == [{"row 7"}]
    assert names(check, "label collision") == [{"row 8", "row 9"}]
    assert check.sizes["values"].high == pytest.approx(np.nanmax(np.where(np.isinf(rows), np.nan, rows)))
    json.dumps(check.to_json(), allow_nan=False)


def test_pictures_in_memory_that_were_scaled_already() -> None:
    pictures = np.random.default_rng(0).random((40, 8, 8, 3))
    assert "not 0 to 255" in finding(check_data((pictures, np.arange(40) % 2)), "range").title


def test_digits_have_nothing_to_look_at() -> None:
    check = check_data("digits")
    assert (check.noun, check.examples, check.findings, check.problem) == ("picture", 1797, (), None)
    assert "Nothing was found" in check.to_html()


def test_json_tells_all_and_is_json(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    shutil.copy(root / "cat" / "00.jpg", root / "dog" / "same.jpg")

    document = json.loads(json.dumps(check_data(str(root)).to_json(), allow_nan=False))

    assert document["schema"] == 1
    assert document["findings"][0]["kind"] == "label collision"
    assert document["findings"][0]["cases"][0]["names"] == ["cat/00.jpg", "dog/same.jpg"]


def test_the_page_shows_pictures_and_escapes_hostile_names(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", ("cat", "<script>dog"))
    shutil.copy(root / "cat" / "00.jpg", root / "<script>dog" / HOSTILE)

    page = check_data(str(root)).to_html()

    assert page.count("data:image/") == 2
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;\\u202egnp" in page
    assert re.findall(r"(?:src|href)=\"(?!data:)", page) == []
    assert "default-src 'none'" in page


def test_the_page_stays_small_and_says_what_it_left_out() -> None:
    """Of 60 pictures, each there six times, 24 have room, and of their 144 copies 120."""
    pictures = np.tile(np.random.default_rng(0).integers(0, 255, (60, 16, 16, 3), np.uint8), (6, 1, 1, 1))

    check = check_data((pictures, np.arange(360) % 2))
    page = check.to_html()

    assert len(finding(check, "copy").cases) == 60
    assert page.count("data:image/") == 120
    assert "24 of 60" in page
    assert len(page) < 1_000_000


def test_warnings_before_a_training_name_the_cases_and_read_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[1] = rows[0]
    parts = np.where(np.arange(40) < 30, 0, 2).astype(np.int8)
    rows[35] = rows[2]
    examples = ArrayExamples(rows, np.arange(40) % 2, parts=parts)
    examples.read = None  # type: ignore[assignment, method-assign]
    split = split_examples(examples.ids, examples.labels, parts=parts)

    told = data_warnings(examples, split)

    assert told == (
        "2 rows in several classes at once: row 0 = row 1 (0, 1); row 2 = row 35 (0, 1).",
        "1 held-out row with the same content in another part: row 2 = row 35 (train, test).",
    )


def test_sound_data_has_no_warnings() -> None:
    examples = ArrayExamples(np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2)
    assert data_warnings(examples, split_examples(examples.ids, examples.labels)) == ()


def test_what_belongs_together_and_is_parted_by_the_data_is_warned_of_once() -> None:
    """Rows 0 and 35 are one group; rows 2 and 36 are one content, which has a warning of its own."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[36] = rows[2]
    parts = np.where(np.arange(40) < 30, 0, 2).astype(np.int8)
    groups = np.arange(40)
    groups[35], groups[36] = groups[0], groups[2]
    examples = ArrayExamples(rows, np.arange(40) % 2, parts=parts, groups=groups)

    told = data_warnings(examples, split_examples(examples.ids, examples.labels, parts=parts, groups=groups))

    assert told == (
        "1 held-out row with the same content in another part: row 2 = row 36 (train, test).",
        "1 held-out row of one group, or nearly the same, with training ones.",
    )


def test_b15_a_file_that_fails_only_when_it_is_decoded_in_full_is_bad_too(tmp_path: Path) -> None:
    examples = open_data(str(folder(tmp_path / "pets")))
    put(tmp_path / "pets" / "dog" / "03.jpg", picture(999))

    check, quick = check_data(examples), check_data(examples, quick=True)

    assert names(check, "broken") == [{"dog/03.jpg"}]
    assert (check.examples, check.passed_over, check.decoded) == (23, 1, True)
    assert "1 of 24 files" in str(check.problem)
    assert (quick.examples, quick.passed_over, quick.decoded, quick.problem) == (24, 0, False, None)


def test_b12_names_that_are_no_text_are_told_everywhere(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    odd = os.fsencode(root / "dog") + b"/caf\xe9\n\xf0\x9f\x98\x80.jpg"
    shutil.copy(root / "cat" / "00.jpg", odd)

    check = check_data(str(root))

    assert names(check, "label collision") == [{"cat/00.jpg", "dog/caf\udce9\n😀.jpg"}]
    json.dumps(check.to_json())
    page = check.save_html(tmp_path / "check.html").read_text("utf-8")
    assert "caf\\udce9\\u000a😀.jpg" in page


def test_b03_b11_few_and_smallest_pictures_are_checked(tmp_path: Path) -> None:
    put(tmp_path / "pets" / "cat" / "dot.png", picture(1, (1, 1)))
    put(tmp_path / "pets" / "dog" / "line.png", picture(2, (3000, 1)))

    check = check_data(str(tmp_path / "pets"))

    assert names(check, "long") == [{"dog/line.png"}]
    assert sum(count for _, _, count in check.sides) == 2
    assert "none is left to test on" in str(check.problem)
    assert check.to_html().count("data:image/") >= 2


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "remedy"),
    [
        ((20, 12, 12, 3), "float32", "range", "(x * 255).astype('uint8')"),
        ((20, 3, 12, 12), "uint8", "channels first", "x.transpose(0, 2, 3, 1)"),
    ],
)
def test_arrays_that_a_transfer_refuses_are_a_problem(
    shape: tuple[int, ...], dtype: str, kind: str, remedy: str
) -> None:
    x = np.random.default_rng(0).uniform(0, 1 if dtype == "float32" else 255, shape).astype(dtype)
    check = check_data((x, np.arange(20) % 2))
    assert (finding(check, kind).level, remedy in str(check.problem)) == ("error", True)


def test_rows_that_may_be_pictures_are_noted() -> None:
    check = check_data((np.random.default_rng(0).random((20, 8, 8)), np.arange(20) % 2))
    assert check.problem is None
    assert (finding(check, "rows").level, "(x * 255).astype('uint8')" in finding(check, "rows").advice) == (
        "note",
        True,
    )


def test_a_path_with_two_labels_is_told_with_its_lines_and_classes_of_one_name(tmp_path: Path) -> None:
    put(tmp_path / "a.png", picture(1))
    put(tmp_path / "b.png", picture(2, (97, 80)))
    (tmp_path / "labels.csv").write_text("path,label\na.png,Kreise\nb.png,kreise\na.png,kreise\n")
    check = check_data(tmp_path / "labels.csv")
    assert names(check, "label collision") == [{"a.png (line 2)", "a.png (line 4)"}]
    assert names(check, "like-named classes") == [{"Kreise", "kreise"}]


def test_the_median_size_is_one_in_whole_pixels(tmp_path: Path) -> None:
    for number, side in enumerate((90, 101, 112, 133)):
        put(tmp_path / "pets" / "ab"[number % 2] / f"{number}.png", picture(number, (side, side + 7)))
    put(tmp_path / "pets" / "a" / "icon.png", picture(9, (9, 9)))
    put(tmp_path / "pets" / "b" / "large.png", picture(8, (140, 95)))
    check = check_data(tmp_path / "pets")
    assert (check.sizes["width"].median, check.sizes["height"].median) == (101, 97)
    assert "the median is 101x97." in finding(check, "small").advice


def test_links_and_other_files_are_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", count=2)
    (root / "cat" / "link.jpg").symlink_to(root / "cat" / "00.jpg")
    for name in ("README", "cat/notes.txt"):
        (root / name).write_text("text")
    assert check_data(root).ignored == {"links": 1, "other files": 2}


def test_labels_are_counted_each_for_itself_and_values_not_at_all() -> None:
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(200, 3)), (random.random((200, 8)) < 0.4).astype(np.uint8)
    labels[:, 7] = 0
    labels[:2, 7] = 1  # in one part at the most
    parts = np.where(np.arange(200) < 120, 1, np.where(np.arange(200) < 160, 0, 2)).astype(np.int8)
    several = ArrayExamples(rows, labels, parts=parts, task="multilabel")
    values = ArrayExamples(rows, rows[:, 0], task="regression")

    told = data_warnings(several, split_of(several))

    assert told == (
        "1 label without a train example: 7.",
        "1 label without a test example: 7.",
        f"The largest label has more than ten times the examples of the smallest: 7 (2 rows); "
        f"{labels.sum(axis=0).argmax()} ({labels.sum(axis=0).max()} rows).",
    )
    assert [each.name for each in check_data(several).classes] == list("01234567")
    assert data_warnings(values, split_of(values)) == ()
    assert [(each.name, each.examples) for each in check_data(values).classes] == [("any value", 200)]


def test_uneven_classes_are_warned_of_before_a_training() -> None:
    examples = ArrayExamples(np.random.default_rng(0).normal(size=(110, 3)), np.arange(110) >= 105)
    (told,) = data_warnings(examples, split_of(examples))
    assert told == (
        "The largest class has more than ten times the examples of the smallest: True (5 rows); False (105 rows)."
    )
