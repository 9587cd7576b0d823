"""Caffe's nets of one's own and of the registry: two files, converted once, then loaded, cut and transferred."""

from __future__ import annotations

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from caffe_nets import DATA, Net, alive, written
from click.testing import CliRunner
from loopback import Web, assert_invariants, blobs_in, hash_of, listing
from model_files import field, varint
from zoo.cli.main import cli

import zoo
import zoo.loading.from_caffe
from zoo.errors import DataError, IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.registry.index import own_entries
from zoo.store.converted import Conversion

# A pool whose last window hangs over the edge, as Caffe's do; two groups; numbers before the softmax in ip2.
MINI = """
name: "mini"
input: "data" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 8 kernel_size: 3 group: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "conv2" top: "ip1" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "ip1" top: "prob" }
"""
TRAINED = MINI.replace('input: "data" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }', """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "nowhere" batch_size: 4 } }
""").replace('type: "Softmax" bottom: "ip1"', 'type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label"')  # fmt: skip


def mini(prototxt: str = MINI) -> Net:
    return alive(MINI, {"data": np.random.default_rng(1).uniform(-1, 1, (3, 1, 8, 8))})


def files(prototxt: str = MINI, name: str = "mini") -> list[Path]:
    return list(written(Path(), prototxt, mini().file(), name))


def mean_file(picture: Any, name: str = "mean.binaryproto") -> Path:
    """Writes a mean picture, [channels, height, width], as Caffe's `compute_image_mean` does."""
    sizes = (1, *picture.shape)
    shape = b"".join(field(1 + place, size) for place, size in enumerate(sizes))
    path = Path(name)
    path.write_bytes(shape + field(5, np.asarray(picture, "<f4").tobytes()))
    return path


def refused(kind: type[Exception], words: str, home: Path, paths: list[Path], **options: Any) -> None:
    """Adds in vain, and checks that nothing of it stays."""
    around = listing(home.parent, home)
    with pytest.raises(kind, match=words):
        zoo.add(paths, **options)
    assert listing(home.parent, home) == around
    assert (own_entries(), blobs_in(home)) == ({}, [])
    assert not (home / "tmp").exists() or list((home / "tmp").iterdir()) == []
    assert not list((home / "converted").glob("*/*")) if (home / "converted").exists() else True


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns a function after which nothing can be converted any more."""

    def forbid() -> None:
        monkeypatch.setattr(zoo.loading.from_caffe, "caffe_to_onnx_file", None)

    return forbid


# --- adding ---


def test_lenet_is_added_and_computes_what_caffe_computes(home: Path, no_conversion: Callable[[], None]) -> None:
    text = (DATA / "lenet.prototxt").read_text()
    pictures = np.random.default_rng(0).uniform(0, 1, (2, 1, 28, 28))
    net = alive(text, {"data": pictures})
    added = zoo.add(written(Path(), text, net.file("v1"), "lenet"), color="gray", scale=1 / 256)
    no_conversion()
    model = zoo.load_model("lenet")

    assert (added.format, added.entry.can, added.entry.units) == ("Caffe", ("load",), 4)
    assert (added.entry.output.classes, added.entry.output.logits) == (10, False)
    np.testing.assert_allclose(model(pictures.transpose(0, 2, 3, 1)), net.values["prob"], atol=1e-6)
    assert [unit.layers[0] for unit in zoo.split_units(model)] == ["conv1", "conv2", "ip1", "ip2"]
    assert zoo.verify_outputs("lenet")[0].state == "as recorded"
    assert_invariants(home)


def test_a_mean_picture_becomes_numbers_of_the_entry() -> None:
    picture = np.stack([np.full((4, 5), value, "f4") + np.linspace(-1, 1, 5, dtype="f4") for value in (104, 117, 123)])
    colored = MINI.replace("dim: 1 dim: 1", "dim: 1 dim: 3")
    net = alive(colored, {"data": np.random.default_rng(1).uniform(-1, 1, (3, 3, 8, 8))})
    paths = [*written(Path(), colored, net.file()), mean_file(picture)]
    added = zoo.add(paths)
    scaled = zoo.add(paths, name="scaled", scale=0.017)

    assert added.entry.input is not None
    assert scaled.entry.input is not None
    assert (added.entry.input.color, added.entry.input.scale) == ("BGR", 1.0)
    assert added.entry.input.mean == (104.0, 117.0, 123.0)
    assert "'mean.binaryproto', 4 x 5 pixels" in added.notes[0]
    assert scaled.entry.input.mean == pytest.approx((1.768, 1.989, 2.091))  # Caffe subtracts before it scales


@pytest.mark.parametrize(
    ("others", "options", "words"),
    [
        (["mean.binaryproto", "other.binaryproto"], {}, "at most one mean picture"),
        (["mean.binaryproto"], {"preprocess": "unit"}, "The mean is said twice"),
        (["mean.binaryproto"], {"color": "gray", "scale": 1.0, "mean": 3.0}, "The mean is said twice"),
    ],
)
def test_a_mean_that_is_said_twice(others: list[str], options: Any, words: str, home: Path) -> None:
    pictures = [mean_file(np.ones((1, 8, 8)), name) for name in others]
    refused(UsageError, words, home, [*files(), *pictures], **options)


def test_a_mean_picture_alone_is_no_model(home: Path) -> None:
    refused(UsageError, r"beside a \.prototxt", home, [mean_file(np.ones((1, 8, 8)))])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"found \(0,\)"),
        (b"\x00" * 9, "at its byte 0 is no field"),
        (field(1, 1) + field(2, 3) + field(3, 2) + field(4, 2) + field(5, b"\0" * 44), "are 11 numbers"),
        (field(7, field(1, varint(2))) + field(5, b"\0" * 8), r"found \(2,\)"),
        (field(7, field(1, b"".join(map(varint, (1, 1, 1))))) + field(5, b"\0\0\xc0\x7f"), "expected finite numbers"),
    ],
)
def test_a02_a_mean_picture_that_is_damaged(content: bytes, words: str, home: Path) -> None:
    Path("mean.binaryproto").write_bytes(content)
    refused(IntegrityError, f"no mean picture of Caffe.*{words}", home, [*files(), Path("mean.binaryproto")])


def test_a_definition_for_training_needs_the_size_of_pictures(home: Path) -> None:
    refused(UsageError, r"zoo add --input 227x227x3", home, files(TRAINED))
    net = mini()
    entry = zoo.add(files(TRAINED), input_size=(8, 8, 1), preprocess="unit").entry
    model = zoo.load_model("mini")

    assert entry.units == 3
    np.testing.assert_allclose(model(net.inputs["data"].transpose(0, 2, 3, 1)), net.values["prob"], atol=1e-6)


def test_a09_weights_of_another_net_are_refused(home: Path) -> None:
    other = MINI.replace('"ip1"', '"fc8"')
    refused(IntegrityError, "are the two files of one net|Are the two files of one net", home, files(other))


def test_an_unknown_layer_is_named_with_its_line(home: Path) -> None:
    paths = files(MINI.replace('type: "ReLU"', 'type: "Region"'))
    refused(
        IntegrityError,
        r"'relu1' \(Region\) of mini\.prototxt, line 6: this type of layer is not known.*--until 'conv1'",
        home,
        paths,
    )


# --- what is kept ---


def kept(home: Path) -> dict[str, Path]:
    return {path.name: path for path in (home / "converted").rglob("*") if path.is_file()}


def test_onnx_and_keras_files_are_kept_by_the_hash_of_the_original(home: Path) -> None:
    paths = files()
    zoo.add(paths)
    found = kept(home)

    assert set(found) == {"model.onnx", "model.keras", "about.json"}
    assert found["model.onnx"].parent.parent.name == hash_of(paths[1].read_bytes()).removeprefix("sha256:")
    x = np.random.default_rng(3).uniform(0, 1, (2, 8, 8, 1)).astype("f4")
    by_onnx, by_keras = (zoo.load_model(found[name]) for name in ("model.onnx", "model.keras"))
    np.testing.assert_allclose(by_onnx(x), by_keras(x), atol=1e-6)


def test_one_definition_more_is_one_conversion_more_of_the_same_weights(home: Path) -> None:
    zoo.add(files())
    zoo.add(files(MINI.replace("kernel_size: 3 stride: 2", "kernel_size: 2 stride: 2"), "other"), name="other")

    assert len(list((home / "converted").glob("*"))) == 1
    assert len(list((home / "converted").glob("*/*"))) == 2


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "about"])
def test_what_is_damaged_is_converted_again(damage: str, home: Path, no_conversion: Callable[[], None]) -> None:
    zoo.add(files())
    path = kept(home)["about.json" if damage == "about" else "model.keras"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"{}" if damage == "about" else data)
    model = zoo.load_model("mini")
    no_conversion()

    x = np.ones((1, 8, 8, 1), "f4")
    np.testing.assert_array_equal(model(x), zoo.load_model("mini")(x))
    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize("part", ["model.keras", "folder", "weights"])
def test_a_link_in_its_place_is_refused(part: str, home: Path, tmp_path: Path) -> None:
    zoo.add(files())
    path = kept(home)["model.keras"]
    place = {"model.keras": path, "folder": path.parent, "weights": path.parent.parent}[part]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        zoo.load_model("mini")


def test_a_store_that_takes_no_more_gives_the_model_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    zoo.add(files())
    for path in kept(home).values():
        path.unlink()
    monkeypatch.setattr("zoo.store.layout.shutil.disk_usage", lambda _: SimpleNamespace(free=0))

    assert zoo.load_model("mini").count_params() > 0
    assert "made anew each time" in caplog.text


@pytest.mark.parametrize("when", ["while it is saved", "while it is kept"])
def test_k04_a_disk_that_is_full_in_the_midst(when: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("keras.Model.save" if when == "while it is saved" else "zoo.store.converted.put_in_place", full)
    assert zoo.add(files()).entry.units == 3
    assert kept(home) == {}
    assert list((home / "tmp").iterdir()) == []


def test_one_pair_of_files_for_two_sizes_of_pictures(home: Path) -> None:
    """A net without fully connected layers takes pictures of any size."""
    text = TRAINED.replace('type: "InnerProduct"', 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }')
    for name, side in (("a", 8), ("b", 20)):
        zoo.add(files(text, name), name=name, input_size=(side, side, 1), preprocess="unit")

    assert [zoo.load_model(name).input_shape[1] for name in "ab"] == [8, 20]
    assert len(list((home / "converted").glob("*/*"))) == 2


def test_another_version_of_the_converter_takes_the_place_of_this_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.add(files())
    (before,) = (home / "converted").glob("*/*")
    monkeypatch.setattr("zoo.converters.caffe.importer.VERSION", 1000)
    zoo.load_model("mini")
    (after,) = (home / "converted").glob("*/*")

    assert before != after
    assert json.loads((after / "about.json").read_text())["converter"].startswith("caffe 1000")


def test_what_breaks_in_the_midst_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.Model.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        zoo.add(files())
    assert kept(home) == {}
    assert list((home / "tmp").iterdir()) == []


def test_removing_the_model_removes_what_it_was_converted_to(home: Path) -> None:
    zoo.add(files())
    folder = next((home / "converted").iterdir())
    planned = zoo.remove("mini", dry_run=True)
    removed = zoo.remove("mini")

    assert planned == removed
    assert folder in {each.path for each in removed}
    assert list((home / "converted").iterdir()) == []


def test_garbage_is_what_no_model_was_converted_to(home: Path) -> None:
    zoo.add(files())
    left = Conversion("ab" * 32, "cd" * 32, "", "caffe 1", ("net",))
    with left.making(3) as folder:
        (folder / "net").write_bytes(b"abc")
    assert left.find("net") is not None

    assert [each.path for each in zoo.collect_garbage()] == []  # it is young
    assert [each.path for each in zoo.collect_garbage(everything=True)] == [left.folder.parent]
    assert kept(home)["model.keras"].is_file()
    assert left.find("net") is None


# --- the registry's ---


@pytest.fixture
def published(home: Path, web: Web) -> Net:
    """Puts a Caffe net into the user's own registry, whose two files a server has."""
    net = mini()
    data = {"definition": ("deploy.prototxt", MINI.encode()), "weights": ("mini.caffemodel", net.file("v1"))}
    specs = [
        {"role": role, "name": name, "urls": [web.put(f"/{name}", content)], "hash": hash_of(content),
         "hash_from": "publisher"}
        for role, (name, content) in data.items()
    ]  # fmt: skip
    entry = {
        "source": "caffe", "arch": "vgg16", "task": "image-classification", "summary": "A net.", "files": specs,
        "input": {"size": [8, 8, 1], "color": "gray", "scale": 0.00390625}, "output": {"classes": 5}, "metrics": {},
    }  # fmt: skip
    home.mkdir()
    (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {"caffe/mini": entry}}))
    return net


def test_a_published_net_is_pulled_loaded_and_transferred(
    published: Net, home: Path, no_conversion: Callable[[], None]
) -> None:
    artifact = zoo.pull("caffe/mini")
    model = zoo.load_model("caffe/mini")
    no_conversion()
    first, again = (
        zoo.transfer("caffe/mini", "digits", reuse=2, freeze=2, train_per_class=5, epochs=epochs) for epochs in (2, 1)
    )

    assert set(artifact.files) == {"definition", "weights"}
    x = published.inputs["data"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(model(x), published.values["prob"], atol=1e-6)
    assert (first.record["model"], first.record["reuse"]) == ("caffe/mini", 2)
    assert first.record["features"]["misses"] > 0
    assert again.record["features"]["misses"] == 0
    assert_invariants(home)


def test_a_net_whose_definition_nobody_published_says_how_to_go_on(published: Net, home: Path) -> None:
    record = json.loads((home / "registry.json").read_text())
    definition = record["models"]["caffe/mini"]["files"][0]
    del definition["urls"]
    (home / "registry.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="nobody published an address of deploy.prototxt"):
        zoo.load_model("caffe/mini")
    artifact = zoo.pull("caffe/mini")

    assert [file.name for file in artifact.unpublished] == ["deploy.prototxt"]
    with pytest.raises(NotFoundError, match=r"zoo add deploy\.prototxt .* --name my-mini"):
        zoo.loading.load_artifact(artifact)


def test_a_net_that_wants_a_mean_picture_says_how_to_give_it(published: Net, home: Path) -> None:
    record = json.loads((home / "registry.json").read_text())
    record["models"]["caffe/mini"]["input"] |= {"mean_file": "mean.binaryproto"}
    (home / "registry.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"mean\.binaryproto.*zoo add DEFINITION WEIGHTS mean\.binaryproto"):
        zoo.transfer("caffe/mini", "digits", train_per_class=2)
    assert blobs_in(home) == []  # it says so before it fetches


@pytest.mark.parametrize("name", ["deploy.prototxt", "net.caffemodel", Path("net.caffemodel")])
def test_one_file_of_two_says_what_to_do_with_both(name: Any) -> None:
    with pytest.raises(UsageError, match=r"A Caffe net is two files.*zoo convert deploy\.prototxt net\.caffemodel"):
        zoo.load_model(name)


# --- converting ---


@pytest.mark.parametrize("suffix", [".onnx", ".keras"])
def test_two_files_become_one(suffix: str) -> None:
    net, target = mini(), Path(f"net{suffix}")
    exported = zoo.convert(files(), target)
    x = net.inputs["data"].transpose(0, 2, 3, 1)

    assert (exported.path, exported.bytes) == (target, target.stat().st_size)
    assert exported.read is not None
    assert exported.read.transpositions == 0
    assert exported.error < 1e-5
    np.testing.assert_allclose(zoo.load_model(target)(x), net.values["prob"], atol=1e-6)
    assert {each.name for each in Path().iterdir()} == {"mini.prototxt", "mini.caffemodel", target.name}


def test_an_onnx_file_is_that_of_caffe_with_its_names_and_axes() -> None:
    zoo.convert(files(), "net.onnx")
    model = onnx.load("net.onnx")

    assert [node.name for node in model.graph.node][:4] == ["conv1", "relu1", "pool1", "conv2"]
    assert [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim] == [0, 1, 8, 8]
    assert [each.version for each in model.opset_import] == [17]


@pytest.mark.parametrize("by", ["preset", "picture"])
def test_preprocessing_goes_inside_when_it_is_asked_for(by: str) -> None:
    colored = MINI.replace("dim: 1 dim: 1", "dim: 1 dim: 3")
    rgb = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3)).astype("f4")
    means = [103.939, 116.779, 123.68]
    net = alive(colored, {"data": (rgb[..., ::-1] - means).transpose(0, 3, 1, 2)})
    paths = list(written(Path(), colored, net.file()))
    if by == "picture":
        paths.append(mean_file(np.multiply.outer(means, np.ones((8, 8)))))
    exported = zoo.convert(paths, "net.keras", preprocess="caffe" if by == "preset" else None)
    model = zoo.load_model("net.keras")

    assert exported.read is not None
    assert exported.read.transpositions == 0
    assert len(zoo.split_units(model)) == 3
    np.testing.assert_allclose(model(rgb), net.values["prob"], atol=1e-5)


def test_a_part_of_a_net_for_training_is_converted() -> None:
    net = mini()
    zoo.convert(files(TRAINED), "net.keras", until="conv2", shapes={"data": (None, 1, 8, 8)})
    found = zoo.load_model("net.keras")(net.inputs["data"].transpose(0, 2, 3, 1))

    np.testing.assert_allclose(np.transpose(found, (0, 3, 1, 2)), net.values["conv2"], atol=1e-5)


@pytest.mark.parametrize(
    ("paths", "options", "words"),
    [
        (["mini.prototxt"], {}, "give its .caffemodel too"),
        (["mini.caffemodel"], {}, r"give its .prototxt \(deploy.prototxt\) too"),
        (["mini.prototxt", "mini.caffemodel", "mini.prototxt"], {}, "Expected one .prototxt and one .caffemodel"),
        (["mini.prototxt", "net.onnx"], {}, "Expected one .prototxt and one .caffemodel"),
        (["net.onnx", "other.onnx"], {}, "Expected one source"),
        (["net.onnx"], {"preprocess": "unit"}, "unless it is a Caffe net"),
        ([], {}, "got none"),
        (["mini.prototxt", "mini.caffemodel"], {"until": "ip9"}, "as outputs; got 'ip9'"),
        (
            ["mini.prototxt", "mini.caffemodel"],
            {"shapes": {"data": (None, 1, None, 8)}},
            "fixed sizes but for the batch",
        ),
        (["mini.prototxt", "mini.caffemodel"], {"shapes": {"x": (None, 1, 8, 8)}}, "got one for 'x'"),
        (["mini.prototxt", "mini.caffemodel"], {"preprocess": "nobody"}, "nobody"),
        (["mini.prototxt", "mini.caffemodel"], {"limit": float("nan")}, "limit"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(paths: list[str], options: Any, words: str) -> None:
    files()
    with pytest.raises((UsageError, NotFoundError), match=words):
        zoo.convert(paths, "new.keras", **options)
    assert {each.name for each in Path().iterdir()} == {"mini.prototxt", "mini.caffemodel"}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text.strip(),
        lambda text: " ".join(text.split()),
        lambda text: text.replace("layer {", "layer\n{"),
        lambda text: text.replace("layer {", "layer # the next\n {"),
        lambda text: text.replace("layer { name", "layer: { name").replace("\n", "\r\n"),
        lambda text: text.replace('name: "mini"', 'name: "caf\xe9"'),
    ],
    ids=["mark of order", "one line", "brace below", "comment between", "colon", "letters beyond ASCII"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_definitions_however_they_are_written(change: Callable[[str], str], encoding: str) -> None:
    paths = files()
    text = change(MINI)
    paths[0].write_bytes(text.encode(encoding if text[0] != "\ufeff" else "utf-8"))

    assert zoo.convert(paths, "net.onnx").error < 1e-5


def test_what_is_left_away_is_told() -> None:
    """Of two losses that which weighs less, as the auxiliary heads of GoogLeNet, and a choice at the end."""
    heads = """
    layer { name: "aux" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" loss_weight: 0.3 }
    layer { name: "best" type: "ArgMax" bottom: "prob" top: "best" }
    """
    exported = zoo.convert(files(TRAINED + heads), "net.keras", shapes={"data": (None, 1, 8, 8)})

    assert exported.read is not None
    assert exported.read.notes[0] == "left away: best (ArgMax); what it chooses from comes out; left away: aux"


def test_sizes_without_the_batch_are_noticed() -> None:
    with pytest.raises(UsageError, match=r"the batch first, as in --shape data=\?,3,227,227"):
        zoo.convert(files(TRAINED), "net.onnx", shapes={"data": (1, 8, 8)})


def test_the_command_says_how_far_the_two_are_apart() -> None:
    files()
    result = CliRunner().invoke(cli, ["convert", "mini.prototxt", "mini.caffemodel", "net.keras", "--until", "ip1"])

    assert result.exit_code == 0, result.output
    assert "from ONNX to Keras" in result.output
    assert zoo.load_model("net.keras").output_shape == (None, 5)


# --- a whole net ---


@pytest.mark.slow
def test_caffenet_is_fine_tuned_with_its_groups() -> None:
    """Five units of eight are reused and frozen; what the first pooled features cost is paid once."""
    text = (DATA / "bvlc_reference_caffenet.prototxt").read_text()
    net = alive(text, {"data": np.random.default_rng(3).normal(size=(1, 3, 227, 227)) * 60})
    added = zoo.add(written(Path(), text, net.file(), "caffenet"), preprocess="caffe")
    chance = np.random.default_rng(0)
    labels = np.repeat(["coarse", "fine", "smooth"], 16)
    sizes = np.repeat([40, 4, 227], 16)
    cells = [chance.integers(0, 256, (227 // size + 1, 227 // size + 1, 3), np.uint8) for size in sizes]
    pictures = [each.repeat(size, 0).repeat(size, 1) for each, size in zip(cells, sizes, strict=True)]
    x = np.stack([each[:227, :227] for each in pictures])
    first, again = (
        zoo.transfer("caffenet", (x, labels), reuse=5, freeze=5, hidden=[32], epochs=epochs) for epochs in (20, 20)
    )
    losses = [float(row["loss"]) for row in csv.DictReader((first.path / "history.csv").read_text().splitlines())]
    groups = [layer.groups for layer in zoo.load_model("caffenet").layers if isinstance(layer, keras.layers.Conv2D)]

    print(
        added.entry.units, groups, losses, first.record["metrics"], first.record["features"], again.record["features"]
    )
    assert added.entry.units == 8
    assert groups == [1, 2, 1, 2, 2]
    assert losses[-1] < 0.5 * losses[0]
    assert first.record["features"]["misses"] == len(x)
    assert (again.record["features"]["hits"], again.record["features"]["misses"]) == (len(x), 0)
