"""Files that are damaged, or made to do harm: each is refused with an error of zoo that says where."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_nets import DATA, alive, caffemodel, converted
from model_files import field, varint
from zoo.converters.caffe.importer import caffe_to_onnx

from zoo.errors import IntegrityError, UnsafeFileError, UsageError, ZooError

LENET = (DATA / "lenet.prototxt").read_text()
NET = alive(LENET, {"data": np.zeros((1, 1, 28, 28))})
WEIGHTS = NET.file()
DEEP = 100_000
ONE = 'input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1\n'
ONE += 'layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" '
ONE += "inner_product_param { num_output: 1 bias_term: false } }"


def refused(folder: Path, prototxt: str, weights: bytes, kind: type[ZooError] = IntegrityError) -> str:
    began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kind) as caught:
        converted(folder, prototxt, weights)
    assert time.process_time() - began < 60  # of the processor: what can be made to take long takes minutes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 400 << 10  # KiB
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message


def blob(shape: list[int], numbers: bytes, old: tuple[int, ...] = ()) -> bytes:
    told = field(7, field(1, b"".join(map(varint, shape)))) if not old else b""
    return told + b"".join(field(1 + place, size) for place, size in enumerate(old)) + field(5, numbers)


def weights_of(made: bytes, number: int = 7) -> bytes:
    return field(100, field(1, "y") + field(2, "InnerProduct") + field(number, made))


@pytest.mark.parametrize("form", ["v2", "v1", "v0", "unpacked", "double", "text"])
def test_files_cut_off_anywhere_are_refused(form: str, tmp_path: Path) -> None:
    net = alive(ONE, {"x": np.ones((1, 1, 1, 1))})
    whole, count = net.file(form), 0
    for end in range(len(whole)):
        try:
            converted(tmp_path, ONE, whole[:end])
        except ZooError as error:
            assert "net." in str(error)
            count += 1
    assert count >= len(whole) - 12  # what is cut between fields may be whole


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_large_files_cut_off_are_refused(share: float, tmp_path: Path) -> None:
    refused(tmp_path, LENET, WEIGHTS[: int(share * len(WEIGHTS))])
    refused(tmp_path, LENET[: int(share * len(LENET))], WEIGHTS)


@pytest.mark.parametrize("seed", range(40))
def test_random_bytes_are_refused_by_name(seed: int, tmp_path: Path) -> None:
    noise = random.Random(seed).randbytes(10 ** (seed % 5))
    for which, pair in (("net.caffemodel", (LENET.encode(), noise)), ("net.prototxt", (noise, WEIGHTS))):
        (tmp_path / "net.prototxt").write_bytes(pair[0])
        (tmp_path / "net.caffemodel").write_bytes(pair[1])
        with pytest.raises(IntegrityError, match=f"{which} is no net of Caffe"):
            caffe_to_onnx(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")


@pytest.mark.parametrize("data", [b"", b"\n", b"\0", b"{", b"\xff" * 99, b"\x89HDF\r\n\x1a\n" + bytes(99), b"layer {}"])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, LENET, data)
    (tmp_path / "net.prototxt").write_bytes(data)
    with pytest.raises(ZooError):
        caffe_to_onnx(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")


def nested(number: int, kind: int = 2) -> bytes:
    """Returns messages in each other, as deep as `DEEP`; of kind 3, as groups."""
    if kind == 3:
        return varint(number << 3 | 3) * DEEP + varint(number << 3 | 4) * DEEP
    tag, parts, length = varint(number << 3 | 2), [], 0
    for _ in range(DEEP):
        head = tag + varint(length)
        parts.append(head)
        length += len(head)
    return b"".join(reversed(parts))


@pytest.mark.parametrize(
    "data",
    [nested(100), nested(2), nested(1), nested(1000), nested(100, 3), nested(1000, 3), WEIGHTS + nested(1000),
     weights_of(b"", 7) + field(100, field(103, nested(3)))],
)  # fmt: skip
def test_binary_files_that_are_too_deep_are_refused_unread(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, ONE, data, ZooError)
    refused(tmp_path, LENET, data[: len(data) - 1], ZooError)


@pytest.mark.parametrize("kind", ["first", "last"])
def test_messages_in_each_other_are_unsafe(kind: str, tmp_path: Path) -> None:
    deep = nested(100)
    refused(tmp_path, LENET, deep if kind == "first" else WEIGHTS + deep, UnsafeFileError)


@pytest.mark.parametrize("text", ["layer { x { ", "layer < a < ", "layer { a: { ", "layer { a: [{ "])
def test_texts_that_are_too_deep_are_refused_unread(text: str, tmp_path: Path) -> None:
    refused(tmp_path, text * DEEP, WEIGHTS, UnsafeFileError)
    refused(tmp_path, LENET, text.encode() * DEEP, UnsafeFileError)


@pytest.mark.parametrize("text", ["a: [" * DEEP, "layer { a: " + "[" * DEEP, '"' * DEEP, "-" * DEEP, "[" * DEEP])
def test_other_deep_texts_are_refused(text: str, tmp_path: Path) -> None:
    refused(tmp_path, text, WEIGHTS)


LIES = {
    "10 GB": blob([50_000, 50_000], b"\0" * 4),
    "many axes": blob([1] * 1000, b"\0" * 4),
    "huge": blob([1 << 62, 1 << 62], b"\0" * 4),
    "negative": blob([-1, -1], b"\0" * 4),
    "zero": blob([0, 1 << 40], b""),
    "old, 10 GB": blob([], b"\0" * 4, (50_000, 50_000, 1, 1)),
    "old, negative": blob([], b"\0" * 4, (1, 1, -1, -1)),
    "none": b"",
    "few numbers": blob([1, 1], b""),
    "cut off": blob([1, 1], b"\0" * 3),
    "a number for numbers": field(7, field(1, varint(1) * 2)) + field(5, 7),
    "a text for a shape": field(7, "text") + field(5, b"\0" * 4),
    "a number for a shape": field(7, 1) + field(5, b"\0" * 4),
    "doubles cut off": field(7, field(1, varint(1) * 2)) + field(8, b"\0" * 7),
    "another shape": blob([2, 2], b"\0" * 16),
}


@pytest.mark.parametrize("case", LIES)
def test_weights_that_lie_are_refused_with_their_layer(case: str, tmp_path: Path) -> None:
    assert "'y'" in refused(tmp_path, ONE, weights_of(LIES[case]))


@pytest.mark.parametrize(
    "dims",
    [
        "1 10 50000 50000",
        "1 1 1 -1",
        "1 1 0 1",
        "1 1 1 2147483647",
        "1 65536 65536 65536",
        "99999999999999999999 1 1 1",
    ],
)
def test_definitions_that_lie_are_refused(dims: str, tmp_path: Path) -> None:
    told = " ".join(f"dim: {each}" for each in dims.split())
    refused(
        tmp_path, f'input: "x" input_shape {{ {told} }} {ONE[ONE.index("layer") :]}', weights_of(blob([1, 1], bytes(4)))
    )


@pytest.mark.parametrize(
    "given",
    [
        "num_output: 4000000000", "num_output: -1", "num_output: 0", "num_output: 1e9", "axis: 1000000", "axis: -9",
        'num_output: "one"', "num_output: 1 num_output",
    ],
)  # fmt: skip
def test_layers_that_lie_are_refused(given: str, tmp_path: Path) -> None:
    refused(tmp_path, ONE.replace("num_output: 1", given), weights_of(blob([1, 1], bytes(4))))


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: field(100, field(1, bad) + field(2, "InnerProduct")),
        lambda bad: field(100, field(1, "y") + field(2, bad)),
        lambda bad: field(100, field(1, "y") + field(3, bad)),
        lambda bad: field(3, bad) + weights_of(blob([1, 1], bytes(4))),
        lambda bad: field(1, bad) + weights_of(blob([1, 1], bytes(4))),
        lambda bad: field(2, field(4, bad) + field(5, 14)),
        lambda bad: field(2, field(1, field(1, bad) + field(2, bad))),
    ],
)
def test_names_that_are_no_text_are_refused(make: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert "is no text" in refused(tmp_path, ONE, make(b"\xff\xfe\x1b[2J"))


def test_names_that_would_act_on_a_terminal_are_shown_in_escapes(tmp_path: Path) -> None:
    text = ONE.replace('"y"', '"\\033[2J\\n\\342\\200\\256"').replace('"InnerProduct"', '"\\033[31m"')
    message = refused(tmp_path, text, weights_of(blob([1, 1], bytes(4))))
    assert r"'\x1b[2J\n\u202e' (\x1b[31m)" in message


def test_long_names_are_shortened(tmp_path: Path) -> None:
    refused(tmp_path, ONE.replace('"y"', f'"{"y" * 10**6}"'), weights_of(blob([1, 1], bytes(4))))


@pytest.mark.parametrize(
    "data",
    [
        field(100, 7) + field(100, field(1, "y")),  # numbers where messages are
        b"\xa5\x06" + b"\0" * 4 + field(100, field(1, "y")),
        field(2, b"\x0d\0\0\0\0" + field(4, 1)),
        field(100, field(1, 5) + field(7, 5) + field(2, 5)),
        field(100, b"\x0f"),
        b"\0\0",
        field(100, b"\0\0"),
        field(1 << 28, b"") + b"\x80" * 11,
    ],
)
def test_fields_of_other_types_are_refused(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, ONE, data, ZooError)


@pytest.mark.slow
def test_many_tiny_fields_are_refused_soon(tmp_path: Path) -> None:
    for data in (
        b"\x08\0" * 1_000_000,  # of the net
        field(100, b"\x08\0" * 1_000_000),  # of a layer
        weights_of(b"\x18\0" * 1_000_000),  # of an array
        weights_of(field(7, b"\1" * 1_000_000)),  # of a shape
        weights_of((b"\x2d\0\0\0\0" + b"\x32\0") * 250_000),  # numbers that are never two in a row
        field(100, field(1, "y") + field(7, b"") * 90_000) * 9,  # arrays without numbers
    ):
        refused(tmp_path, ONE, data, ZooError)


def test_a_file_with_too_much_beside_its_weights_is_unsafe(tmp_path: Path) -> None:
    refused(tmp_path, ONE, field(100, field(1, "a" * (9 << 20))) * 2 + WEIGHTS, UnsafeFileError)


def test_a_folder_or_a_sparse_file_of_4_gb_is_refused_unread(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(ONE)
    with pytest.raises(IntegrityError, match="is no file"):
        caffe_to_onnx(net, tmp_path)
    large = tmp_path / "large.caffemodel"
    with large.open("wb") as file:
        file.truncate(4 << 30)
    with pytest.raises(UnsafeFileError, match=r"large.caffemodel: it has 4,294,967,296 bytes"):
        caffe_to_onnx(net, large)


def test_a_net_that_only_reads_itself(tmp_path: Path) -> None:
    for text in (
        'layer { name: "a" type: "ReLU" bottom: "a" top: "a" }',
        'input: "x"',
        'layer { name: "a" type: "Input" }',
    ):
        refused(tmp_path, text, WEIGHTS, ZooError)
    with pytest.raises(UsageError):
        converted(tmp_path, 'layer { type: "Input" top: "a" } layer { type: "ReLU" bottom: "a" top: "a" }', WEIGHTS)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    other: Any = alive((DATA / "cifar10_full.prototxt").read_text(), {"data": np.zeros((1, 3, 32, 32))})
    assert "layer 'ip2' (InnerProduct) of net.prototxt, line 103 has no weights" in refused(
        tmp_path, LENET, other.file()
    )
    text = LENET.replace("num_output: 20", "num_output: 21")
    assert "weights of the shape (21, 1, 5, 5), and has (20, 1, 5, 5)" in refused(tmp_path, text, WEIGHTS)
    assert "has no weights" in refused(tmp_path, LENET, caffemodel({"z": [np.ones(3)]}, {"z": "InnerProduct"}))


@pytest.mark.parametrize(
    ("definition", "shape"),
    [
        ("num_output: 4 kernel_h: 7 kernel_w: 1", (4, 3, 1, 7)),
        ("num_output: 1 kernel_size: 3", (3, 1, 3, 3)),
    ],
)
def test_weights_whose_axes_of_one_element_stand_elsewhere(definition: str, shape: Any, tmp_path: Path) -> None:
    text = f"""
        input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
        layer {{ name: "y" type: "Convolution" bottom: "x" top: "y"
                convolution_param {{ {definition} bias_term: false }} }}
        """
    weights = caffemodel({"y": [np.ones(shape)]}, {"y": "Convolution"})
    assert "should have weights of the shape" in refused(tmp_path, text, weights)


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Flatten"',
        'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }',
        'type: "Tile" tile_param { axis: 1 tiles: 2147483647 }',
        'type: "ReLU"',
    ],
)
@pytest.mark.parametrize("size", [2147483647, 60000])
def test_values_larger_than_any_of_caffes(layer: str, size: int, tmp_path: Path) -> None:
    text = f"""
        input: "x" input_dim: 1 input_dim: {size} input_dim: {size} input_dim: {size}
        layer {{ name: "y" bottom: "x" top: "y" {layer} }}
        """
    assert "2,147,483,647" in refused(tmp_path, text, field(100, field(1, "y")))


def test_a_layer_that_repeats_beyond_what_caffe_holds(tmp_path: Path) -> None:
    text = """
        input: "x" input_dim: 1 input_dim: 3 input_dim: 99 input_dim: 99
        layer { name: "y" bottom: "x" top: "y" type: "Tile" tile_param { axis: 1 tiles: 2147483647 } }
        """
    assert "2,147,483,647 elements at most" in refused(tmp_path, text, field(100, field(1, "y")))


@pytest.mark.parametrize("mark", ['"', "'"])
def test_a_text_that_is_never_closed_is_read_once(mark: str, tmp_path: Path) -> None:
    """Read again from each mark inside it, 1 MB would take hours."""
    refused(tmp_path, f"name: {mark}" + f"\\{mark}" * 500_000, WEIGHTS)


def test_weights_of_nvidias_fork_are_named(tmp_path: Path) -> None:
    assert "NVIDIA" in refused(tmp_path, ONE, weights_of(field(10, 1) + field(12, b"\0" * 2)))


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Power" power_param { scale: 1e39 }',
        'type: "LRN" lrn_param { alpha: nan }',
        'type: "Exp" exp_param { base: 1e30 scale: 1e38 }',
        'type: "Eltwise" eltwise_param { coeff: -inf }',
    ],
)
def test_numbers_that_are_not_finite(layer: str, tmp_path: Path) -> None:
    text = 'input: "x" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2\n'
    text += f'layer {{ name: "y" bottom: "x" top: "y" {layer} }}'
    assert any(word in refused(tmp_path, text, field(100, field(1, "y"))) for word in (" is ", "beyond float32"))


def test_a_type_that_the_oldest_files_have_not(tmp_path: Path) -> None:
    text = ONE[: ONE.index("layer")] + 'layers { layer { name: "y" type: "power" } bottom: "x" top: "y" }'
    assert "'power', which Caffe's oldest files have not" in refused(tmp_path, text, field(2, field(1, field(1, "y"))))
