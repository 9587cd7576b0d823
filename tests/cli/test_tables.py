"""Tables: what fits, what is cut and what never is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from zoo.cli.tables import table_lines, text_width

HEADER = ["name", "task", "count"]
ROWS = [["vgg16", "image-classification", "138"], ["tfhub/google/imagenet/mobilenet", "text", "7"]]


def lines(width: int | None, header: list[str] = HEADER, rows: list[list[str]] = ROWS) -> list[str]:
    return table_lines(header, rows, {"count"}, width)


def test_without_a_width_nothing_is_cut_and_numbers_are_on_the_right() -> None:
    assert lines(None) == [
        "name                             task                  count",
        "vgg16                            image-classification    138",
        "tfhub/google/imagenet/mobilenet  text                      7",
    ]


def test_a_name_too_long_for_its_column_stands_on_a_line_of_its_own() -> None:
    assert lines(40) == [
        "name          task                 count",
        "vgg16         image-classificati…    138",
        "tfhub/google/imagenet/mobilenet",
        "              text                     7",
    ]


@pytest.mark.parametrize("width", [24, 30, 40, 60, 61, 80, 200])
def test_a_table_fits_and_names_and_numbers_are_whole(width: int) -> None:
    """Below 21 columns (6 and 6 of text, 5 for the number's header, two gaps) the number would have to give."""
    shown = lines(width)
    names = {name for name, *_ in ROWS}

    assert names <= {word for line in shown for word in line.split()}
    assert all(text_width(line) <= width for line in shown if line not in names)
    assert {"138", "7"} <= {line.split()[-1] for line in shown}


def test_names_behind_a_number_are_never_cut_either() -> None:
    """Names of layers, which stand behind the number of their unit."""
    shown = table_lines(["unit", "name", "note"], [["1", "a_long_name_of_a_layer", "x" * 30]], {"unit"}, 24)

    assert shown == ["unit  name    note", "   1  a_long_name_of_a_layer", "              xxxxxxxxx…"]


def test_wide_characters_take_two_columns_and_are_not_cut_in_half() -> None:
    shown = lines(23, rows=[["模型", "分类分类分类", "1"]])

    assert shown == ["name  task        count", "模型  分类分类…       1"]


def test_a_table_of_numbers_alone_and_one_without_rows() -> None:
    assert table_lines(["a", "b"], [["1", "22"]], {"a", "b"}, 3) == ["a   b", "1  22"]
    assert lines(None, rows=[]) == ["name  task  count"]


@pytest.mark.parametrize(("columns", "has_summary"), [(80, False), (140, True)])
def test_in_a_terminal_a_table_fits_its_header_is_bold_and_wide_columns_show_where_there_is_room(
    columns: int, has_summary: bool
) -> None:
    terminal, other_end = pty.openpty()
    zoo = Path(sys.executable).with_name("zoo")
    environment = {**os.environ, "COLUMNS": str(columns)}
    # Few models: a terminal holds back who writes more than its buffer of 4 kB before anybody reads.
    subprocess.run([zoo, "list", "onnx/vgg16*"], stdout=other_end, stderr=other_end, env=environment, check=True)
    shown = os.read(terminal, 65536).decode()
    os.close(other_end)
    os.close(terminal)

    assert shown.startswith("\x1b[1mname")
    plain = [line for line in re.sub(r"\x1b\[\d*m", "", shown).split("\r\n") if line]
    assert max(map(len, plain)) <= columns
    assert ("summary" in plain[0]) is has_summary
    assert "onnx/vgg16-12-int8" in {word for line in plain for word in line.split()}
