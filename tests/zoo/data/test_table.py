from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from zoo.data import open_data, table
from zoo.data.bad_files import BadFile
from zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from zoo.data.pictures import FileExamples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png", "c.png", "sub/d,e.png")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(path)
    return tmp_path / "data"


def opened(folder: Path, text: str | bytes, **options: Any) -> FileExamples:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else os.fsencode(text))
    examples: Any = open_data(path, **{"near_duplicates": False} | options)
    return examples


def test_a_table_names_pictures_labels_and_parts(folder: Path) -> None:
    examples = opened(
        folder, f'path,label,split\na.png,10,train\n{folder}/b.png,9,\n"sub/d,e.png",9,TEST\nc.png,10,valid\n'
    )

    assert list(examples.paths) == ["a.png", f"{folder}/b.png", "sub/d,e.png", "c.png"]
    assert examples.classes == ("9", "10")
    assert examples.labels.tolist() == [1, 0, 0, 1]
    assert examples.parts is not None
    assert examples.parts.tolist() == [0, -1, 2, 1]
    assert [int(picture[0, 0, 0]) for picture in examples.read(np.arange(4))] == [0, 1, 3, 2]


def test_without_a_split_nothing_is_said_of_parts(folder: Path) -> None:
    assert opened(folder, "path,label\na.png,x\nb.png,y\n").parts is None
    assert opened(folder, "path,label,split\na.png,x,\nb.png,y,\n").parts is None


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\r\na.png,x\r\nb.png,y\r\n",
        b"Label;Path\nx;a.png\ny;b.png",
        b"path\tlabel\n\na.png\tx\n\nb.png\ty\n\n",
        b'"path","label"\n"a.png","x"\n"b.png"," y "\n',
    ],
    ids=["mark and CRLF", "semicolons", "tabs and blank lines", "quotes"],
)
def test_b18_tables_as_other_programs_write_them(folder: Path, text: bytes) -> None:
    examples = opened(folder, text)

    assert list(examples.paths) == ["a.png", "b.png"]
    assert examples.classes == ("x", "y")


def test_b18_quoted_line_ends_belong_to_a_name(folder: Path) -> None:
    (folder / "a.png").rename(folder / "two\nlines.png")
    examples = opened(folder, 'path,label\n"two\nlines.png","l\nm"\nb.png,y\n')

    assert list(examples.paths) == ["two\nlines.png", "b.png"]
    assert examples.classes == ("l\nm", "y")
    with pytest.raises(DataError, match="line 4: the label is empty"):
        opened(folder, 'path,label\n"two\nlines.png",x\nb.png,\n')


def test_b12_names_that_are_no_text_come_back(folder: Path) -> None:
    name = os.fsdecode(b"latin-\xe9.png")
    (folder / "a.png").rename(folder / name)
    examples = opened(folder, f"path,label\n{name},x\n")

    assert list(examples.paths) == [name]
    assert len(examples.read(np.array([0]))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: expected columns path,label .*no column 'path' among none"),
        ("path,class\na.png,x", "line 1: .*no column 'label' among 'path', 'class'. Rename 'class' to 'label'"),
        ("a.png,x\nb.png,y", "line 1: .*no column 'path'"),
        ("path,label,label\na.png,x,y", "line 1: expected one column 'label'; got 2"),
        ("path,label\n", "no row below its header"),
        ("path,label\na.png,x\nb.png,", "line 3: the label is empty"),
        ("path,label\n ,x", "line 2: the path is empty"),
        ("path,label\na.png,x,y", "line 2: expected 2 fields, as in its header; got 3"),
        ("path,label\na.png", "line 2: expected 2 fields, as in its header; got 1"),
        ("path,label,split\na.png,x,later", "line 2: expected a split of train, .* got 'later'"),
        ("path,label\na.png,x\ngone.png,y\n\nlost.png,z", r"'gone.png' \(line 3\); 'lost.png' \(line 5\)"),
        ('path,label\na.png,x\n"b.png,y\n', "line 3: unexpected end of data"),
        ("path,label\na.png,x\nb\0.png,y", "line 3: expected text; got a NUL"),
        ("path,label\n" + "a" * 200_000 + ",x", "line 2: field larger than field limit"),
        ("path,label\na.png,x\n".encode("utf-16"), "line 1: .*UTF-16"),
    ],
)  # fmt: skip
def test_b18_what_is_wrong_is_told_with_its_line(folder: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        opened(folder, text)
    assert raised.value.exit_code == 8


def test_b18_rows_that_are_there_twice_count_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = opened(folder, "path,label\na.png,x\nb.png,y\na.png,x\na.png,x\n")

    assert list(examples.paths) == ["a.png", "b.png"]
    assert "2 rows say again what others say" in caplog.text


def test_b17_a_file_with_two_labels_is_there_twice(folder: Path) -> None:
    examples = opened(folder, "path,label\na.png,x\na.png,y\n")

    assert examples.labels.tolist() == [0, 1]
    assert np.array_equal(examples.ids[0], examples.ids[1])


def test_b18_too_many_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_CLASSES", 2)  # a million take a while
    with pytest.raises(DataError, match=r"line 4: more than 2 classes\. Is label the right column"):
        opened(folder, "path,label\na.png,x\nb.png,y\nc.png,z\n")


def test_b13_what_is_no_file_is_listed_with_its_line(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").write_bytes(b"")
    examples = opened(folder, "path,label\na.png,x\npipe.png,x\nsub,y\nbroken.png,y\nlabels.csv,y\n", max_bad=1)

    assert [(bad.path, bad.line) for bad in examples.bad] == [
        ("pipe.png", 3), ("sub", 4), ("broken.png", 5), ("labels.csv", 6),
    ]  # fmt: skip
    assert examples.bad[2] == BadFile("broken.png", "it is empty", 5)


def test_groups_are_those_of_a_column(folder: Path) -> None:
    text = "path,label,Patient\na.png,x,1\nb.png,y,1\nc.png,x,\nsub/de.png,y,\n"
    (folder / "sub/d,e.png").rename(folder / "sub/de.png")
    groups = opened(folder, text, group_by="Patient").groups

    assert groups is not None
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 3
    with pytest.raises(UsageError, match=r"No column 'patients'.*Did you mean Patient\?"):
        opened(folder, text, group_by="patients")


def test_a_column_that_tells_no_groups_apart_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="All 2 examples are one group: --group-by 'who' finds the same 'me' in each"):
        opened(folder, "path,label,who\na.png,x,me\nb.png,y,me\n", group_by="who")
    with pytest.raises(UsageError, match="0 of 2 rows"):
        opened(folder, "path,label,who\na.png,x,\nb.png,y,\n", group_by="who")


@pytest.mark.parametrize("row", [b"\xe4.png,x", b"a.png,\xe4"])
def test_a_table_that_is_not_utf_8_is_named_before_missing_files(folder: Path, row: bytes) -> None:
    with pytest.raises(DataError, match=r"is not UTF-8 \(byte 0xe4 in line 3\); save it as CSV UTF-8"):
        opened(folder, b"path,label\nb.png,x\n" + row + b"\ngone.png,x\n")
