"""Tables of texts: read letter by letter, known by content, split and checked as other data are."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data import SomeExamples, open_data, split_of
from zoo.data.checking import check_data
from zoo.data.preprocessing import preprocessed_shape
from zoo.data.reading import Reader
from zoo.data.text import TextExamples, read_texts
from zoo.errors import DataError, UsageError


def table(tmp_path: Path, text: str | bytes, name: str = "reviews.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def opened(tmp_path: Path, text: str | bytes, **options: Any) -> TextExamples:
    examples: Any = open_data(table(tmp_path, text), **options)
    return examples


def read(examples: Any) -> list[str]:
    return list(examples.read(np.arange(len(examples))))


ODD = ["a", "", 'he said "no"', "two\nlines\r\nand more", "comma, and ; too", "  spaces  ", "☃" * 9, "x" * 300_000]


def test_texts_are_taken_letter_by_letter(tmp_path: Path) -> None:
    rows = "".join('"{}",{}\r\n'.format(text.replace('"', '""'), number % 2) for number, text in enumerate(ODD))
    examples = opened(tmp_path, f"text,label\r\n{rows}")

    assert read(examples) == ODD
    assert (examples.classes, examples.labels.tolist(), examples.shape) == (("0", "1"), [0, 1] * 4, ())
    assert [bytes(each) for each in examples.ids] == [hashlib.sha256(text.encode()).digest() for text in ODD]
    assert list(examples.paths)[:5] == [f"reviews.csv:{line}" for line in (2, 3, 4, 5, 8)]
    assert all(type(text) is str for text in read(examples))


def test_nothing_is_normalized(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    examples = opened(tmp_path, f"text,label\n{composed},a\n{apart},b\n")
    assert read(examples) == [composed, apart]
    assert not np.array_equal(examples.ids[0], examples.ids[1])


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbftext,label\r\ngood,1\r\nbad,0\r\n",
        b"Label;Text\n1;good\n\n0;bad",
        b"id\ttext\tlabel\n7\tgood\t1\n8\tbad\t0\n",
    ],
    ids=["mark and CRLF", "semicolons and a blank line", "tabs and a column more"],
)
def test_b18_tables_as_other_programs_write_them(tmp_path: Path, text: bytes) -> None:
    assert read(opened(tmp_path, text)) == ["good", "bad"]


def test_parts_groups_and_labels_are_those_of_other_tables(tmp_path: Path) -> None:
    examples = opened(tmp_path, "text,label,split,who\na,x,train,1\nb,y,TEST,1\nc,x,,2\nd,y,val,\n", group_by="who")
    assert examples.parts is not None
    assert examples.groups is not None
    assert examples.parts.tolist() == [0, 2, -1, 1]
    assert examples.groups[0] == examples.groups[1]
    assert len(set(examples.groups.tolist())) == 3

    several = opened(tmp_path, "text,label\na,x|y\nb,\nc,y\n", task="multilabel")
    assert several.labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert opened(tmp_path, "text,label\na,1.5\nb,-2\n", task="regression").labels.tolist() == [[1.5], [-2.0]]


def test_equal_texts_fall_into_one_part(tmp_path: Path) -> None:
    rows = "".join(f"text {number % 40},{number % 2}\n" for number in range(400))
    examples = opened(tmp_path, f"text,label\n{rows}")
    split = split_of(examples)
    parts = [{read(examples)[row] for row in part} for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40

    again = opened(tmp_path, f"text,label\n{''.join(reversed(rows.splitlines(keepends=True)))}")
    moved = split_of(again)
    assert {read(again)[row] for row in moved.test} == parts[2]


def test_more_columns_may_have_line_ends_and_a_path_comes_first(tmp_path: Path) -> None:
    assert read(opened(tmp_path, 'note,text,label\n"a\nb",good,1\n"c\nd",bad,0\n')) == ["good", "bad"]
    with pytest.raises(DataError, match="names files that are not there"):
        opened(tmp_path, "path,text,label\na.png,good,1\nb.png,bad,0\n")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("text,label\n", "has no texts: it has no row below its header"),
        ("text,kind\na,b\n", "line 1: expected columns text,label .*no column 'label' among 'text', 'kind'"),
        ("review,label\na,b\n", "no column 'path' among .*Rename 'review' to 'text'"),
        ("text,text,label\na,b,c\n", "line 1: expected one column 'text'; got 2"),
        ("text,label\na,1\nb,2,3\n", "line 3: expected 2 fields, as in its header; got 3"),
        ("text,label\na,1\nb,\n", "line 3: the label is empty"),
        ("text,label,split\na,1,exam\n", "line 2: expected a split of train"),
        ('text,label\n"a,1\n', "line 2: unexpected end of data"),
        (b'text,label\ngood,1\n"two\nli\xe4es",0\n', r"is not UTF-8 \(byte 0xe4 in line 4\)"),
        (b"text,label\ngood,\xff\n", r"is not UTF-8 \(byte 0xff in line 2\)"),
        (b"text,label\ngo\0od,1\n", "line 2: expected text; got a NUL character"),
        ("text,label\na,1\n".encode("utf-16"), "line 1: expected text in UTF-8; this is in UTF-16"),
    ],
)
def test_tables_that_cannot_be_used_name_the_line(tmp_path: Path, text: str | bytes, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        opened(tmp_path, text)


def test_groups_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No column 'who' to group by"):
        opened(tmp_path, "text,label\na,1\nb,2\n", group_by="who")


def test_check_tells_what_is_odd(tmp_path: Path) -> None:
    rows = "".join(f"text number {number},{'pn'[number % 2]}\n" for number in range(40))
    more = " ,p\nsame,p\nsame,n\nthrice,n\nthrice,n\nthrice,n\nlost \N{REPLACEMENT CHARACTER},p\n"
    check = check_data(table(tmp_path, f"text,label\n{rows}{more}"))

    assert (check.noun, check.examples, check.problem) == ("text", 47, None)
    kinds = {finding.kind: finding for finding in check.findings}
    assert set(kinds) == {"label collision", "empty", "copy", "replaced letters"}
    assert kinds["label collision"].cases[0].names == ('reviews.csv:43 "same"', 'reviews.csv:44 "same"')
    assert kinds["label collision"].cases[0].detail == "p, n"
    assert kinds["empty"].cases[0].names == ('reviews.csv:42 ""',)
    assert kinds["copy"].title == "2 texts more than once"
    assert check.sizes["letters"].high == 14
    assert sum(each.examples for each in check.classes) == 47
    assert check.to_json()["noun"] == "text"


def test_the_page_of_a_check_escapes_texts(tmp_path: Path) -> None:
    rows = "".join(f"text {number},{'pn'[number % 2]}\n" for number in range(40))
    script = "<script>alert(1)</script>"
    page = check_data(table(tmp_path, f"text,label\n{rows}{script},p\n{script},n\n")).to_html()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_reader_passes_texts_on(tmp_path: Path) -> None:
    examples = opened(tmp_path, "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(150)))
    reader = Reader(SomeExamples(examples, np.arange(149, -1, -1)), None, "string")
    batches = list(reader.batches(np.arange(150), 64))
    assert list(batches[0].x[:2]) == ["text 149", "text 148"]
    assert sum(len(each.rows) for each in batches) == 150
    assert reader.shape == (150,)


def test_texts_and_models_of_something_else_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"wants examples of shape \[8, 8, 3\]; these are texts"):
        preprocessed_shape(None, (), (8, 8, 3))
    with pytest.raises(DataError, match=r"wants texts; these are pictures or rows of shape \[None, None, 3\]"):
        preprocessed_shape(None, (None, None, 3), ())
    assert preprocessed_shape(None, (), ()) == ()


def test_files_of_texts_are_lines_or_a_column(tmp_path: Path) -> None:
    lines = table(tmp_path, "\ufefffirst\r\n\n  \nsecond\u2028still\x0b, the second", "some.txt")
    assert read_texts(lines) == [(1, "first"), (4, "second\u2028still\x0b, the second")]
    column = table(tmp_path, 'id,Text\n1,"a\nb"\n2,\n', "some.csv")
    assert read_texts(column) == [(2, "a\nb"), (4, "")]
    with pytest.raises(DataError, match=r"is not UTF-8 \(byte 0xff in line 2\)"):
        read_texts(table(tmp_path, b"a\n\xff\n", "bad.txt"))
    with pytest.raises(DataError, match="line 1: expected one column 'text'; got 'a', 'b'"):
        read_texts(table(tmp_path, "a,b\n1,2\n", "no.csv"))
