"""Protobuf messages read without their types: whole, damaged and hostile ones, and the models that consist of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import (
    CAFFEMODEL,
    CAFFEMODEL_V0,
    CAFFEMODEL_V1,
    INSIDE,
    ONNX,
    field,
    fixed32,
    onnx_graph,
    onnx_model,
    onnx_tensor,
    outside,
    saved_model,
    varint,
)

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.store.guards.wire import (
    Field,
    Wire,
    check_caffemodel,
    check_meta_graph,
    check_onnx,
    check_saved_model,
)
from zoo.store.unpacking import opened


def fields_of(folder: Path, data: bytes, fields: int = 100) -> list[Field]:
    path = folder / "message"
    path.write_bytes(data)
    with opened(path) as source:
        return list(Wire(source, fields).fields())


def file_of(folder: Path, data: bytes, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# --- one level ---


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


# --- ONNX ---


def test_an_onnx_model_passes(tmp_path: Path) -> None:
    check_onnx(file_of(tmp_path, ONNX))


def test_an_onnx_model_of_the_first_versions_needs_no_operator_sets(tmp_path: Path) -> None:
    old = onnx_model(onnx_graph()).replace(field(8, field(2, 17)), b"")
    check_onnx(file_of(tmp_path, old.replace(field(1, 8), field(1, 2), 1)))
    with pytest.raises(IntegrityError, match="operator sets"):
        check_onnx(file_of(tmp_path, old))


def in_node(graph_or_tensor: bytes) -> bytes:
    """Returns a graph's node with an attribute: field 5 of it is a tensor, 6 a graph."""
    return field(1, field(4, "If") + field(5, field(1, "value") + graph_or_tensor))


LOST = onnx_tensor(outside("weights.bin"))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(onnx_model(onnx_graph(field(5, LOST))), id="initializer"),
        pytest.param(onnx_model(onnx_graph(field(5, onnx_tensor(INSIDE)), field(5, LOST))), id="second-initializer"),
        pytest.param(onnx_model(onnx_graph(field(15, field(1, LOST)))), id="sparse-values"),
        pytest.param(onnx_model(onnx_graph(field(15, field(2, LOST)))), id="sparse-places"),
        pytest.param(onnx_model(onnx_graph(in_node(field(5, LOST)))), id="constant"),
        pytest.param(onnx_model(onnx_graph(in_node(field(10, LOST)))), id="constants"),
        pytest.param(onnx_model(onnx_graph(in_node(field(22, field(1, LOST))))), id="sparse-constant"),
        pytest.param(onnx_model(onnx_graph(in_node(field(6, onnx_graph(field(5, LOST)))))), id="branch"),
        pytest.param(onnx_model(onnx_graph(in_node(field(11, onnx_graph(field(5, LOST)))))), id="branches"),
        pytest.param(onnx_model(onnx_graph(), field(20, field(1, onnx_graph(field(5, LOST))))), id="training"),
        pytest.param(
            onnx_model(onnx_graph(), field(25, field(7, field(5, field(1, "v") + field(5, LOST))))), id="function"
        ),
        pytest.param(
            onnx_model(onnx_graph(), field(25, field(11, field(1, "v") + field(5, LOST)))), id="default-of-a-function"
        ),
        pytest.param(onnx_model(onnx_graph(), field(7, onnx_graph(field(5, LOST)))), id="graph-told-twice"),
    ],
)
def test_weights_in_other_files_are_found_wherever_a_model_can_have_them(tmp_path: Path, model: bytes) -> None:
    path = file_of(tmp_path, model)
    with pytest.raises(UsageError, match=r"weights in other files \(the first is 'weights.bin'\)") as caught:
        check_onnx(path)
    assert str(path) in str(caught.value)
    assert "onnx.save" in str(caught.value)


def test_the_name_of_the_other_file_is_fit_for_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_onnx(file_of(tmp_path, onnx_model(onnx_graph(field(5, onnx_tensor(outside("\x1b[2J\nhello")))))))
    assert str(caught.value).isprintable()


def test_x12_a_model_nested_deeper_than_protobuf_reads_is_refused(tmp_path: Path) -> None:
    def nested(times: int) -> bytes:
        graph = onnx_graph()
        for _ in range(times):
            graph = onnx_graph(in_node(field(6, graph)))
        return onnx_model(graph)

    check_onnx(file_of(tmp_path, nested(30)))  # three messages each, and 100 are read
    with pytest.raises(UnsafeFileError, match="nests more than 100") as caught:
        check_onnx(file_of(tmp_path, nested(400)))
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(ONNX[:-1], "past the end|operator sets", id="cut-short"),
        pytest.param(field(1, 8) + field(8, field(2, 17)), "no graph", id="without-graph"),
        pytest.param(onnx_model(onnx_graph())[2:], "no IR version", id="without-version"),
        pytest.param(ONNX.replace(field(1, 8), fixed32(1, 8), 1), "wire type 5", id="version-of-another-type"),
        pytest.param(onnx_model(onnx_graph(field(5, 7))), "graph of it is damaged", id="weights-are-a-number"),
    ],
)
def test_what_is_no_onnx_model_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    path = file_of(tmp_path, data)
    with pytest.raises(IntegrityError, match=cause) as caught:
        check_onnx(path)
    assert str(path) in str(caught.value)
    assert "expected an ONNX model" in str(caught.value)


def test_a_model_too_large_for_protobuf_is_refused_unread(tmp_path: Path) -> None:
    path = file_of(tmp_path, ONNX)
    with path.open("r+b") as file:
        file.truncate(1 << 31)  # a hole: no disk is filled
    with pytest.raises(IntegrityError, match="2,147,483,647 at most"):
        check_onnx(path)


# --- SavedModel and .meta ---


def test_a_saved_model_by_tensorflow_passes_and_is_no_other_graph(tmp_path: Path) -> None:
    path = saved_model(tmp_path / "net") / "saved_model.pb"
    check_saved_model(path)
    for check in (check_onnx, check_meta_graph, check_caffemodel):
        with pytest.raises(IntegrityError):
            check(path)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(field(1, 2) + field(2, field(1, b"") + field(2, b"")), "version 2", id="newer"),
        pytest.param(field(2, field(1, b"") + field(2, b"")), "version 0", id="without-version"),
        pytest.param(field(1, 1), "no graph", id="without-graph"),
        pytest.param(field(1, 1) + field(2, field(1, b"")), "no content", id="empty-graph"),
        pytest.param(field(1, 1) + field(2, field(1, b"") + field(2, b"\x0a\x7f")), "past the end", id="damaged-graph"),
    ],
)
def test_what_is_no_saved_model_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    with pytest.raises(IntegrityError, match=cause):
        check_saved_model(file_of(tmp_path, data, "saved_model.pb"))


# --- Caffe ---


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CAFFEMODEL, id="layer"),
        pytest.param(CAFFEMODEL_V1, id="layers-of-2014"),
        pytest.param(CAFFEMODEL_V0, id="layers-of-2013"),
    ],
)
def test_the_weights_of_all_times_of_caffe_pass(tmp_path: Path, data: bytes) -> None:
    check_caffemodel(file_of(tmp_path, data, "net.caffemodel"))


def test_a_net_without_weights_is_no_caffemodel(tmp_path: Path) -> None:
    bare = field(1, "net") + field(100, field(1, "ip") + field(2, "InnerProduct"))
    with pytest.raises(IntegrityError, match="no layer with weights"):
        check_caffemodel(file_of(tmp_path, bare, "net.caffemodel"))
