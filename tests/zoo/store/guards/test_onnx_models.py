"""ONNX models: whole, with weights in other files, nested and damaged ones, all made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import INSIDE, ONNX, field, file_of, fixed32, onnx_graph, onnx_model, onnx_tensor, outside

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.store.guards.onnx_models import check_onnx, weights_outside


def test_an_onnx_model_passes(tmp_path: Path) -> None:
    check_onnx(file_of(tmp_path / "net.onnx", ONNX))


def test_an_onnx_model_of_the_first_versions_needs_no_operator_sets(tmp_path: Path) -> None:
    old = onnx_model(onnx_graph()).replace(field(8, field(2, 17)), b"")
    check_onnx(file_of(tmp_path / "net.onnx", old.replace(field(1, 8), field(1, 2), 1)))
    with pytest.raises(IntegrityError, match="operator sets"):
        check_onnx(file_of(tmp_path / "net.onnx", old))


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
    path = file_of(tmp_path / "net.onnx", model)
    with pytest.raises(UsageError, match=r"weights in other files \(the first is 'weights.bin'\)") as caught:
        check_onnx(path)
    assert str(path) in str(caught.value)
    assert "onnx.save" in str(caught.value)


def test_the_name_of_the_other_file_is_fit_for_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_onnx(
            file_of(tmp_path / "net.onnx", onnx_model(onnx_graph(field(5, onnx_tensor(outside("\x1b[2J\nhello"))))))
        )
    assert str(caught.value).isprintable()


def test_x12_a_model_nested_deeper_than_protobuf_reads_is_refused(tmp_path: Path) -> None:
    def nested(times: int) -> bytes:
        graph = onnx_graph()
        for _ in range(times):
            graph = onnx_graph(in_node(field(6, graph)))
        return onnx_model(graph)

    lost = nested(30) + field(7, onnx_graph(field(5, LOST)))  # who reads weights in other files relies on all of it
    assert weights_outside(file_of(tmp_path / "net.onnx", lost)) == "weights.bin"
    with pytest.raises(UnsafeFileError, match="nests more than 100"):
        weights_outside(file_of(tmp_path / "net.onnx", onnx_model(onnx_graph(field(5, LOST))) + nested(400)))
    check_onnx(file_of(tmp_path / "net.onnx", nested(30)))  # three messages each, and 100 are read
    with pytest.raises(UnsafeFileError, match="nests more than 100") as caught:
        check_onnx(file_of(tmp_path / "net.onnx", nested(400)))
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
    path = file_of(tmp_path / "net.onnx", data)
    with pytest.raises(IntegrityError, match=cause) as caught:
        check_onnx(path)
    assert str(path) in str(caught.value)
    assert "expected an ONNX model" in str(caught.value)


def test_a_model_too_large_for_protobuf_is_refused_unread(tmp_path: Path) -> None:
    path = file_of(tmp_path / "net.onnx", ONNX)
    with path.open("r+b") as file:
        file.truncate(1 << 31)  # a hole: no disk is filled
    with pytest.raises(IntegrityError, match="2,147,483,647 at most"):
        check_onnx(path)
