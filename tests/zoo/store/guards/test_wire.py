"""One level of protobuf messages, read without their types: whole, damaged and hostile ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import field, fixed32, varint

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.wire import Field, Wire
from zoo.store.unpacking import opened


def fields_of(folder: Path, data: bytes, fields: int = 100) -> list[Field]:
    path = folder / "message"
    path.write_bytes(data)
    with opened(path) as source:
        return list(Wire(source, fields).fields())


def test_a_field_of_each_wire_type_is_told_with_its_value_or_its_place(tmp_path: Path) -> None:
    double = varint(3 << 3 | 1) + (5).to_bytes(8, "little")
    data = field(1, 300) + field(2, b"abc") + double + fixed32(2**29 - 1, 7)
    one, two, three, four = fields_of(tmp_path, data)
    assert one == Field(1, 0, 300, 3, 3)
    assert (two.number, two.wire, data[two.start : two.stop]) == (2, 2, b"abc")
    assert (three.number, three.wire, three.value) == (3, 1, 5)
    assert (four.number, four.wire, four.value, four.stop) == (2**29 - 1, 5, 7, len(data))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=300)))))
def test_whatever_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[int, int | bytes]]
) -> None:
    data = b"".join(field(number, value) for number, value in written)
    found = fields_of(tmp_path_factory.mktemp("wire"), data)
    read = [(each.number, each.value if each.wire == 0 else data[each.start : each.stop]) for each in found]
    assert read == written


def test_messages_longer_than_what_is_read_at_once_are_whole(tmp_path: Path) -> None:
    # 16 KiB are read at once: tags and lengths then lie on both sides of every border
    written = [random.Random(0).randbytes(length) for length in range(0, 1000, 7)]
    data = b"".join(field(1, each) for each in written)
    assert len(data) > 4 * 16_384
    assert [data[each.start : each.stop] for each in fields_of(tmp_path, data, 1000)] == written


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"\x08", "has no end", id="number-cut-short"),
        pytest.param(b"\x08" + b"\xff" * 10 + b"\x01", "has no end", id="number-of-eleven-bytes"),
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x7f", "has no end", id="number-of-more-than-64-bits"),
        pytest.param(b"\x0a\x05abc", "reaches past the end", id="length-past-the-end"),
        pytest.param(b"\x0a" + varint(2**63), "reaches past the end", id="length-of-half-the-universe"),
        pytest.param(b"\x0d\0\0\0", "reaches past the end", id="fixed-number-cut-short"),
        pytest.param(b"\x00\x01", "its number is 0", id="field-number-0"),
        pytest.param(varint(2**29 << 3) + b"\x01", "its number is 536870912", id="field-number-too-high"),
        pytest.param(b"\x0b\x0c", "wire type 3", id="group"),
        pytest.param(b"\x0c", "wire type 4", id="end-of-group"),
        pytest.param(b"\x0e", "wire type 6", id="wire-type-6"),
    ],
)
def test_what_is_no_message_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    with pytest.raises(IntegrityError, match=cause):
        fields_of(tmp_path, field(2, b"whole") + data)


def test_no_more_fields_are_read_than_were_allowed(tmp_path: Path) -> None:
    assert len(fields_of(tmp_path, field(1, 1) * 100)) == 100
    with pytest.raises(UnsafeFileError, match="more fields"):
        fields_of(tmp_path, field(1, 1) * 101)
