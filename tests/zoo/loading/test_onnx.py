"""Models in ONNX files: by their path, from the store, from the registry; what is refused, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from loopback import Web
from onnx import helper
from onnx_graphs import Array, graph, node, rand
from onnx_nets import (
    beside,
    efficientnet_lite,
    mirrored,
    mnist,
    mobilenetv2,
    picture_net,
    quantized_net,
    squeezenet,
    weights,
)

import zoo
from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.registry import Entry
from zoo.registry.index import read_registry, shipped_registry


def said(model: bytes, pictures: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Returns what onnxruntime says of pictures, one at a time, channels last."""
    session = onnxruntime.InferenceSession(model)
    (given,) = session.get_inputs()
    is_last = given.shape[-1] in (1, 3)
    each = [one[None] if is_last else one[None].transpose(0, 3, 1, 2) for one in pictures]
    return np.concatenate([session.run(None, {given.name: one})[0] for one in each])


def written(model: onnx.ModelProto, name: str = "net.onnx") -> Path:
    path = Path(name)
    path.write_bytes(model.SerializeToString())
    return path


# --- by path ---


@pytest.mark.parametrize("name", ["net.onnx", "NET.ONNX"])
def test_a_file_becomes_a_functional_model_channels_last(name: str) -> None:
    path = written(picture_net(), name)
    x = rand(2, 12, 12, 3)
    model = zoo.load_model(path)

    assert isinstance(model, keras.Model)
    assert model.input_shape == (None, 12, 12, 3)
    np.testing.assert_allclose(model(x), said(path.read_bytes(), x), atol=1e-6)
    assert next(unit.layers for unit in zoo.split_units(zoo.load_model(str(path))))[0] == "c1"


def test_weights_beside_the_file_are_read() -> None:
    x = rand(2, 12, 12, 3)
    model = zoo.load_model(beside(Path("net.onnx"), picture_net()))

    np.testing.assert_array_equal(model(x), zoo.load_model(written(picture_net(), "whole.onnx"))(x))


def test_x10_weights_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    path = beside(Path("net.onnx"), picture_net())
    (tmp_path / "elsewhere").write_bytes(Path("net.onnx.data").read_bytes())
    Path("net.onnx.data").unlink()
    Path("net.onnx.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFileError, match=r"net\.onnx: its weights' file 'net\.onnx\.data' is a link"):
        zoo.load_model(path)


def test_a10_weights_that_are_missing_are_named() -> None:
    path = beside(Path("net.onnx"), picture_net())
    Path("net.onnx.data").unlink()
    with pytest.raises(IntegrityError, match=r"keeps weights in 'net\.onnx\.data', which is not beside it"):
        zoo.load_model(path)


def test_sizes_that_are_open_stay_open() -> None:
    path = written(picture_net(size="side"))
    model = zoo.load_model(path)

    assert model.input_shape == (None, None, None, 3)
    x = rand(2, 20, 20, 3)
    np.testing.assert_allclose(model(x), said(path.read_bytes(), x), atol=1e-6)


def test_several_inputs_and_outputs() -> None:
    nodes = [node("Add", "one two", "sum"), node("Relu", "sum", "r"), node("MatMul", "r w", "p")]
    model = zoo.load_model(written(graph(nodes, {"one": ["n", 4], "two": ["n", 4]}, outputs="r p", w=weights(4, 3))))

    assert ([each.shape for each in model.inputs], len(model.outputs)) == ([(None, 4), (None, 4)], 2)


def test_every_load_gives_the_same_names_and_numbers() -> None:
    path = written(picture_net())
    one, two = zoo.load_model(path), zoo.load_model(path)

    assert one.to_json() == two.to_json()
    assert all(np.array_equal(*pair) for pair in zip(one.get_weights(), two.get_weights(), strict=True))


# --- what is refused ---


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a02_a_file_that_is_cut_short(share: float) -> None:
    data = picture_net().SerializeToString()
    Path("net.onnx").write_bytes(data[: int(share * len(data))])
    with pytest.raises(IntegrityError, match=r"net\.onnx is damaged or something else: expected an ONNX model"):
        zoo.load_model("net.onnx")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match=r"There is no net\.onnx"):
        zoo.load_model("net.onnx")
    Path("net.onnx").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        zoo.load_model("net.onnx")


def fused_net() -> onnx.ModelProto:
    model = graph([node("Relu", "x")], {"x": ["n", 3]})
    model.graph.node[0].CopyFrom(helper.make_node("Fused", ["x"], ["y"], "odd", domain="own"))
    model.opset_import.add(domain="own", version=1)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (fused_net, r"^net\.onnx: Cannot convert node 'odd' \(own\.Fused\)"),
        (lambda: graph([node("NonMaxSuppression", "x s", "y")], {"x": [1, 9, 4], "s": [1, 1, 9]}),
         r"^net\.onnx: Cannot convert node 'y' \(NonMaxSuppression\) of operator set \d+: this operator is not known"),
        (quantized_net, r"^net\.onnx: .*\(QuantizeLinear\).*quantized to 8 bits.*Take the original in float32"),
    ],
)  # fmt: skip
def test_a08_what_cannot_be_converted_is_named_with_its_node(model: Callable[[], onnx.ModelProto], words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        zoo.load_model(written(model()))


def test_x12_the_guard_sees_a_file_before_onnx_does() -> None:
    body = b""
    for _ in range(200):
        for number in (6, 5, 1):  # the graph of an attribute of a node of a graph
            body = bytes([number << 3 | 2]) + onnx_varint(len(body)) + body
    Path("net.onnx").write_bytes(b"\x08\x08\x42\x02\x10\x11\x3a" + onnx_varint(len(body)) + body)
    with pytest.raises(UnsafeFileError, match=r"Refused net\.onnx before anything opened it.*nests more than 100"):
        zoo.load_model("net.onnx")
    with pytest.raises(UnsafeFileError, match="before anything opened it"):
        zoo.convert("net.onnx", "net.keras")


@pytest.mark.parametrize(
    ("operator", "inputs", "given", "arrays"),
    [
        ("Tile", "x r", [1, 3, 16, 16], {"r": np.array([1, 1, 1 << 11, 1 << 10])}),
        ("Expand", "x r", [1, 3, 1, 1], {"r": np.array([1, 3, 1 << 15, 1 << 15])}),
        ("Resize", "x _ s", [1, 3, 16, 16], {"s": np.array([1, 1, 1024, 1024], "float32")}),
        ("MatMul", "x k", [1, 1 << 16, 1], {"k": np.zeros((1, 1 << 16), "float32")}),
    ],
)
def test_x11_a_small_file_cannot_ask_for_gigabytes(
    operator: str, inputs: str, given: list[int], arrays: dict[str, Array]
) -> None:
    nodes = [node(operator, inputs, "vast"), node("ReduceMax", "vast", "y", keepdims=0)]
    with pytest.raises(UnsafeFileError, match=r"^net\.onnx: .*its value 'vast' would have [\d,]+ numbers"):
        zoo.load_model(written(graph(nodes, {"x": given}, **arrays)))


def onnx_varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


# --- of the registry ---


PULLED = {
    "onnx/mobilenetv2-7": (mobilenetv2, (None, 224, 224, 3), (None, 1000)),
    "onnx/squeezenet1.0-9": (squeezenet, (None, 224, 224, 3), (None, 1, 1, 1000)),
    "onnx/mnist-8": (mnist, (None, 28, 28, 1), (None, 10)),
    "onnx/efficientnet-lite4-11": (efficientnet_lite, (None, 224, 224, 3), (None, 1000)),
}


@pytest.mark.parametrize("name", PULLED)
def test_a_pulled_model_says_what_onnxruntime_says(
    name: str, home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, shape, out = PULLED[name]
    data = make()
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, name, data))
    entry = zoo.find_entry(name)
    x = rand(2, *shape[1:])  # type: ignore[arg-type]
    model = zoo.load_model(name)

    assert (model.input_shape, model.output_shape) == (shape, out)
    assert entry.input is not None
    assert entry.input.size == shape[1:]
    expected = said(data, x).reshape(2, -1)
    np.testing.assert_allclose(np.asarray(model(x)).reshape(2, -1), expected, atol=1e-4 * np.abs(expected).max())
    assert (zoo.verify_outputs(name)[0].state, np.ptp(expected) > 0) == ("not recorded", True)


def test_what_a_pulled_model_keeps_elsewhere_is_not_looked_for(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it in the store there are the files of other models."""
    path = beside(Path("net.onnx"), picture_net())
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, "onnx/mobilenetv2-7", path.read_bytes()))
    with pytest.raises(UsageError, match=r"mobilenetv2-7\.onnx keeps weights in other files"):
        zoo.load_model("onnx/mobilenetv2-7")


def test_a_damaged_model_is_called_by_its_published_name(home: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = picture_net()
    newer.opset_import[0].version = 999
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, "onnx/mobilenetv2-7", newer.SerializeToString()))
    with pytest.raises(IntegrityError, match=r"^mobilenetv2-7\.onnx is of operator set 999"):
        zoo.load_model("onnx/mobilenetv2-7")


def test_a_transfer_prepares_pictures_as_was_published_and_its_plan_fetches_nothing(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "onnx/mobilenetv2-7"
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, name, mobilenetv2()))
    pictures = np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3), np.uint8), np.repeat([0, 1], 6)
    with pytest.raises(NotFoundError, match=f"Fetch it: zoo pull {name}"):
        zoo.plan(name, pictures)
    assert web.seen == []

    run = zoo.transfer(name, pictures, epochs=1)
    whole = keras.models.load_model(run.path / "model.keras")

    assert len(web.seen) == 1
    assert zoo.plan(name, pictures).cached == 12
    assert (run.record["freeze"], run.record["features"]["misses"]) == (2, 12)
    np.testing.assert_allclose(whole.get_layer("normalize").offset, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


def onnx_entries() -> dict[str, Entry]:
    found = read_registry(shipped_registry())
    return {name: entry for name, entry in found.items() if entry.source == "onnx"}


def test_what_can_be_loaded_of_the_onnx_zoo_is_told() -> None:
    """No file of it is here to be tried: the entries tell what is quantized, too old, or a detector."""
    entries = onnx_entries()
    loaded = {name.removeprefix("onnx/") for name, entry in entries.items() if "load" in entry.can}

    assert all("pull" in entry.can for entry in entries.values())
    assert {"mobilenetv2-7", "vgg16-12", "mnist-8", "efficientnet-lite4-11", "candy-8", "tinyyolov2-8"} <= loaded
    assert not any(name.endswith(("-int8", "-qdq", "-1", "-3", "-6")) for name in loaded)
    assert not any(name.startswith(("ssd", "Faster", "Mask", "yolov3", "yolov4", "resnet-preproc")) for name in loaded)
    assert len(loaded) == 91


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vgg16-12-int8", "quantized: it computes with numbers of 8 bits"),
        ("vgg16-12-qdq", "quantized"),
        ("squeezenet1.0-3", "operator set 3, and 7 is the oldest"),
        ("ssd-12", "no layers, such as choosing among boxes"),
        ("resnet-preproc-v1-18", "only prepares pictures"),
    ],
)
def test_what_is_not_loaded_says_why_and_pulls_nothing(name: str, why: str, web: Web) -> None:
    with pytest.raises(UsageError, match=f"{why}.*zoo pull onnx/{name}"):
        zoo.load_model(f"onnx/{name}")

    assert web.seen == []
