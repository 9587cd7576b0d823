"""Graphs of TensorFlow in protobuf: one that TensorFlow wrote, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import field, file_of, saved_model

from zoo.errors import IntegrityError
from zoo.store.guards.caffe_nets import check_caffemodel
from zoo.store.guards.onnx_models import check_onnx
from zoo.store.guards.tensorflow_graphs import check_meta_graph, check_saved_model


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
        check_saved_model(file_of(tmp_path / "saved_model.pb", data))
