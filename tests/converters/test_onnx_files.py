"""Hostile and broken ONNX files: refused with a reason before anything is computed from them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from zoo.converters import onnx_to_keras
from zoo.converters.onnx_files import read_onnx

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError


def small(nodes: list[Any] | None = None, opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.arange(12, dtype="float32").reshape(3, 4), "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], [weight],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def outside(folder: Path, change: Callable[[dict[str, str]], None] = lambda told: None) -> Path:
    """Writes a model whose weight lies in w.bin beside it, told as `change` has it."""
    model = small()
    (weight,) = model.graph.initializer
    (folder / "w.bin").write_bytes(b"12345678" + weight.raw_data)
    told = {"location": "w.bin", "offset": "8", "length": "48"}
    change(told)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in told.items():
        weight.external_data.add(key=key, value=value)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_that_no_message_holds_are_given_to_onnxruntime_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over 2 GB: here every byte is too many."""
    monkeypatch.setattr("zoo.converters.importing.asking._LARGEST", 0)
    _, report = onnx_to_keras(outside(tmp_path))

    assert report.parameters == 12
    assert report.error < 1e-6  # float32


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (weight,) = read_onnx(outside(tmp_path)).graph.initializer

    np.testing.assert_array_equal(numpy_helper.to_array(weight), np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("data", [b"", os.urandom(1000), b"\x08\x08", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a02_what_is_no_model_is_named_so(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(data)

    with pytest.raises(IntegrityError, match=r"net\.onnx is no ONNX model"):
        onnx_to_keras(tmp_path / "net.onnx")


def test_a02_a_truncated_model_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(small().SerializeToString()[:-40])

    with pytest.raises(IntegrityError, match="no ONNX model, or damaged"):
        onnx_to_keras(tmp_path / "net.onnx")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no file"):
        onnx_to_keras(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (small(opset=999), "operator set 999 .* 1 to"),
        (small(ir=99), "version 99 of the format"),
        (small([helper.make_node("Bogus", ["x"], ["y"], "odd")]), r"node 'odd' \(Bogus\).*not known"),
        (small([helper.make_node("Fused", ["x"], ["y"], "odd", domain="com.corp")]), r"'odd' \(com\.corp\.Fused\)"),
    ],
)  # fmt: skip
def test_a08_what_is_newer_or_unknown_is_named(model: onnx.ModelProto, reason: str) -> None:
    if model.graph.node[0].domain:
        model.opset_import.add(domain="com.corp", version=1)
    with pytest.raises(IntegrityError, match=reason):
        onnx_to_keras(model)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda told: told.update(location="gone.bin"), "'gone.bin', which is not beside it"),
        (lambda told: told.update(offset="9"), "ends at byte 57 of 'w.bin', which has only 56"),
        (lambda told: told.update(length="47"), "should have 48 bytes"),
        (lambda told: told.update(offset="-8"), "should have 48 bytes"),
        (lambda told: told.update(offset="x"), "not told in numbers"),
    ],
)
def test_a10_weights_that_are_not_there_are_named(change: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=reason):
        onnx_to_keras(outside(tmp_path, change))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "sub/../../w.bin", "..\\w.bin", "", "w\0.bin"])
def test_x10_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(56))
    (tmp_path / "inner").mkdir()

    with pytest.raises(UnsafeFileError, match="outside its folder"):
        onnx_to_keras(outside(tmp_path / "inner", lambda told: told.update(location=location)))


@pytest.mark.parametrize("kind", ["symlink", "hard link", "linked folder", "pipe"])
def test_x10_weights_that_are_links_are_refused(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(56))
    folder = tmp_path / "model"
    folder.mkdir()
    location = "sub/w.bin" if kind == "linked folder" else "w.bin"
    path = outside(folder, lambda told: told.update(location=location))
    (folder / "w.bin").unlink()
    if kind == "symlink":
        (folder / "w.bin").symlink_to(secret)
    elif kind == "hard link":
        (folder / "w.bin").hardlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(folder / "w.bin")
    else:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "w.bin").write_bytes(bytes(56))
        (folder / "sub").symlink_to(tmp_path / "real")

    with pytest.raises(UnsafeFileError, match=r"Refused net\.onnx: its weights' file"):
        onnx_to_keras(path)


def chain(length: int) -> onnx.ModelProto:
    names = ["x", *(f"v{number}" for number in range(length - 1)), "y"]
    return small([helper.make_node("Relu", [one], [two]) for one, two in itertools.pairwise(names)])


def nested(depth: int) -> onnx.ModelProto:
    graph = helper.make_graph([], "innermost", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    for _ in range(depth):
        node = helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return small(list(graph.node))


def calling(depth: int, calls_itself: bool) -> onnx.ModelProto:
    """A model whose functions call the next one twice each: 2^depth nodes in a few kilobytes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = small([helper.make_node("f0", ["x"], ["y"], domain="own")])
    model.opset_import.append(opsets[1])
    for number in range(depth):
        inner = "f0" if calls_itself else f"f{number + 1}" if number + 1 < depth else "Relu"
        domain = "" if inner == "Relu" else "own"
        nodes = [
            helper.make_node(inner, ["a"], ["b"], domain=domain),
            helper.make_node(inner, ["b"], ["c"], domain=domain),
        ]
        model.functions.append(helper.make_function("own", f"f{number}", ["a"], ["c"], nodes, opsets))
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: chain(100_001), "more than 100,000 nodes"),
        (lambda: nested(9), "nested in each other"),
        (lambda: calling(40, calls_itself=False), "more than 100,000 nodes"),
        (lambda: calling(1, calls_itself=True), "'f0' calls itself"),
    ],
)
def test_x11_graphs_beyond_all_measure_are_refused(model: Any, reason: str) -> None:
    with pytest.raises(UnsafeFileError, match=reason):
        onnx_to_keras(model())


@pytest.mark.parametrize("dims", [[1 << 62, 4], [-3, 4], [1 << 31, 1 << 31]])
def test_x11_sizes_beyond_all_measure_are_refused(dims: list[int]) -> None:
    model = small()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)

    with pytest.raises(UnsafeFileError, match="its weight 'w' has the shape"):
        onnx_to_keras(model)


def test_x11_a_small_node_cannot_ask_for_terabytes() -> None:
    sizes = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "sizes")
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["c"], "vast"),
        helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    model = small(nodes)
    model.graph.initializer.append(sizes)

    with pytest.raises(UnsafeFileError, match=r"'vast' \(ConstantOfShape\).*1,099,511,627,776 elements"):
        onnx_to_keras(model)


def test_x11_an_input_of_terabytes_is_refused() -> None:
    model = small([helper.make_node("Relu", ["x"], ["y"])])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40

    with pytest.raises(UnsafeFileError, match=r"its input 'x' has the shape \(2, 1099511627776\)"):
        onnx_to_keras(model)


def test_x12_a_file_nested_a_hundred_thousand_deep_is_refused(tmp_path: Path) -> None:
    data = b""
    for _ in range(100_000 // 3):
        for field in (6, 5, 1):  # the graph of an attribute of a node of a graph
            data = bytes([field << 3 | 2]) + varint(len(data)) + data
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08" + b"\x3a" + varint(len(data)) + data)

    with pytest.raises(UnsafeFileError, match="nested deeper"):
        onnx_to_keras(tmp_path / "net.onnx")


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def test_a_text_is_no_formula_to_compute_with(tmp_path: Path) -> None:
    """SymPy would run it."""
    canary = tmp_path / "canary"
    nodes = [helper.make_node("Div", ["s", "t"], ["d"]), helper.make_node("Cast", ["d"], ["c"], to=1)]
    model = small([*nodes, helper.make_node("Mul", ["x", "c"], ["y"])])
    for name, text in (("s", f"__import__('pathlib').Path({str(canary)!r}).touch()"), ("t", "1")):
        model.graph.initializer.append(numpy_helper.from_array(np.array([text], object), name))

    with pytest.raises(IntegrityError):
        onnx_to_keras(model)
    assert not canary.exists()


BROKEN: dict[str, Callable[[onnx.ModelProto], Any]] = {
    "a weight with fewer numbers than its shape": lambda m: m.graph.initializer.append(
        TensorProto(name="v", dims=[3], data_type=1, float_data=[1, 2])
    ),
    "a large weight without any": lambda m: m.graph.initializer.append(
        TensorProto(name="v", dims=[1 << 30], data_type=1)
    ),
    "a weight of no type": lambda m: m.graph.initializer.append(
        TensorProto(name="v", dims=[1], data_type=99, float_data=[1])
    ),
    "texts that are none": lambda m: m.graph.initializer.append(
        TensorProto(name="v", dims=[1], data_type=8, string_data=[b"\xff\xfe"])
    ),
    "an input of no type": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99),
    "an attribute without a value": lambda m: m.graph.node[0].attribute.add(name="alpha"),
    "no outputs": lambda m: m.graph.ClearField("output"),
    "two writers of one value": lambda m: m.graph.node.append(helper.make_node("Relu", ["x"], ["y"], "twice")),
    "a sparse weight outside its shape": lambda m: m.graph.sparse_initializer.append(
        onnx.SparseTensorProto(
            values=TensorProto(name="v", dims=[1], data_type=1, float_data=[1]),
            indices=TensorProto(name="i", dims=[1], data_type=7, int64_data=[5]), dims=[3],
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_in_a_model_is_said(what: str) -> None:
    model = small()
    BROKEN[what](model)
    if len(model.graph.initializer) + len(model.graph.sparse_initializer) > 1:  # something must want it
        model.graph.node[0].input[1] = "z"
        model.graph.node.insert(0, helper.make_node("Mul", ["w", "v"], ["z"]))

    with pytest.raises(IntegrityError, match=r"\.$|\)$"):
        onnx_to_keras(model)


def test_pictures_are_channels_last_whatever_is_set() -> None:
    kernel = numpy_helper.from_array(np.ones((4, 3, 2, 2), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])], "net",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 6, 6])], [helper.make_tensor_value_info("y", 1, None)],
        [kernel],
    )  # fmt: skip
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model, _ = onnx_to_keras(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format(before)

    assert model.input_shape == (None, 6, 6, 3)
    assert model.layers[1].data_format == "channels_last"


def test_a_loop_is_refused_before_anybody_goes_round(tmp_path: Path) -> None:
    """2^60 times, over constants: onnxruntime would."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["more"]), helper.make_node("Identity", ["v"], ["out"])], "body",
        [helper.make_tensor_value_info(n, t, []) for n, t in (("i", 7), ("c", 9), ("v", 1))],
        [helper.make_tensor_value_info(n, t, []) for n, t in (("more", 9), ("out", 1))],
    )  # fmt: skip
    model = small(
        [
            helper.make_node("Loop", ["many", "yes", "one"], ["z"], "round", body=body),
            helper.make_node("Mul", ["x", "z"], ["y"]),
        ]
    )
    for name, array in {"many": np.int64(1 << 60), "yes": np.True_, "one": np.float32(1)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))

    with pytest.raises(IntegrityError, match=r"'round' \(Loop\) of operator set 17.*known when it runs"):
        onnx_to_keras(model)


def test_constants_that_double_again_and_again_are_refused() -> None:
    nodes = [helper.make_node("Concat", [f"c{n}"] * 2, [f"c{n + 1}"], axis=0) for n in range(30)]
    last = [helper.make_node("ReduceSum", ["c30"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    model = small([*nodes, *last])
    model.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.float32), "c0"))

    with pytest.raises(UnsafeFileError):
        onnx_to_keras(model)


def test_one_file_of_weights_is_not_many(tmp_path: Path) -> None:
    path = outside(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for number in range(9):
        model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
        model.graph.initializer[-1].name = f"w{number}"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(UnsafeFileError, match=r"4 times as large as 'w\.bin'"):
        read_onnx(path)


def test_what_is_no_file_or_larger_than_any_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(IntegrityError, match="is no file"):
        read_onnx(tmp_path / "pipe.onnx")
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(100 << 30)  # takes no place on the disk
    with pytest.raises(UnsafeFileError, match="2,147,483,647 at most"):
        read_onnx(tmp_path / "huge.onnx")
