"""Weights of Caffe nets, as Caffe wrote them at its three times."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import CAFFEMODEL, CAFFEMODEL_V0, CAFFEMODEL_V1, field, file_of

from zoo.errors import IntegrityError
from zoo.store.guards.caffe_nets import check_caffemodel


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CAFFEMODEL, id="layer"),
        pytest.param(CAFFEMODEL_V1, id="layers-of-2014"),
        pytest.param(CAFFEMODEL_V0, id="layers-of-2013"),
    ],
)
def test_the_weights_of_all_times_of_caffe_pass(tmp_path: Path, data: bytes) -> None:
    check_caffemodel(file_of(tmp_path / "net.caffemodel", data))


def test_a_net_without_weights_is_no_caffemodel(tmp_path: Path) -> None:
    bare = field(1, "net") + field(100, field(1, "ip") + field(2, "InnerProduct"))
    with pytest.raises(IntegrityError, match="no layer with weights"):
        check_caffemodel(file_of(tmp_path / "net.caffemodel", bare))
