"""ONNX models of one's own: kept as one file, loaded, cut, transferred, exported, found again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from loopback import assert_invariants, blobs_in, listing
from onnx_graphs import graph, node, rand
from onnx_nets import beside, picture_net, quantized_net, weights

import zoo
import zoo.adding.inlining
from zoo.errors import DataError, IntegrityError, UnsafeFileError, UsageError
from zoo.registry import InputSpec
from zoo.registry.index import own_entries
from zoo.surgery.digests import unit_digests


def written(model: onnx.ModelProto, name: str = "net.onnx") -> Path:
    path = Path(name)
    path.write_bytes(model.SerializeToString())
    return path


def refused(kind: type[Exception], words: str, home: Path, path: Path, **options: Any) -> None:
    """Adds in vain, and checks that nothing of it stays."""
    around = listing(home.parent, home)
    with pytest.raises(kind, match=words):
        zoo.add(path, **options)
    assert listing(home.parent, home) == around
    assert own_entries() == {}
    assert blobs_in(home) == []
    assert not (home / "tmp").exists() or list((home / "tmp").iterdir()) == []


# --- what the file tells ---


def test_a_model_tells_what_it_is(home: Path) -> None:
    path = written(picture_net())
    added = zoo.add(path, preprocess="torch")
    entry, model = added.entry, zoo.load_model("net")
    (place,) = zoo.locate("net")

    assert (entry.can, entry.units, entry.params, entry.task) == (
        ("load",),
        3,
        model.count_params(),
        "image-classification",
    )
    assert (entry.output.classes, entry.output.logits) == (5, False)
    assert entry.input is not None
    assert (entry.input.size, entry.input.std) == ((12, 12, 3), (0.229, 0.224, 0.225))
    assert (added.format, added.notes) == ("ONNX", ())
    assert place.path.read_bytes() == path.read_bytes()
    assert zoo.verify_outputs("net")[0].state == "as recorded"
    assert_invariants(home)


def test_numbers_without_a_softmax_are_features_unless_their_user_says_logits() -> None:
    path = written(picture_net(softmax=False))
    features, logits = zoo.add(path, preprocess="unit"), zoo.add(path, preprocess="unit", logits=True, replace=True)

    assert (features.entry.output.features, features.entry.output.classes) == (5, None)
    assert any("'y'" in note and "--logits --replace" in note for note in features.notes)
    assert (logits.entry.output.classes, logits.entry.output.logits, logits.notes) == (5, True, ())


def test_what_the_file_leaves_open_the_user_says() -> None:
    path = written(picture_net(size="side"))

    assert zoo.add(path, name="any", preprocess="none").entry.input == InputSpec((None, None, 3))
    entry = zoo.add(path, name="some", preprocess="none", input_size=(20, 30, 3)).entry
    assert entry.recorded is not None
    assert entry.recorded.input == (1, 20, 30, 3)


def test_a_model_that_cannot_be_cut_is_kept_and_says_so() -> None:
    nodes = [node("Add", "one two", "sum"), node("MatMul", "sum w", "y"), node("Relu", "y", "r")]
    model = graph(nodes, {"one": ["n", 4], "two": ["n", 4]}, outputs="y r", w=weights(4, 3))
    added = zoo.add(written(model))

    assert (added.entry.units, added.entry.recorded, added.entry.can) == (None, None, ("load",))
    assert "cannot be cut" in " ".join(added.notes)
    assert "2 inputs and 2 outputs" in " ".join(added.notes)
    assert len(zoo.load_model("net").outputs) == 2


def test_layers_that_zoo_has_for_onnx_are_no_classes_of_somebody_else() -> None:
    nodes = [
        node("Conv", "x k", "c"),
        node("LRN", "c", "l", size=3),
        node("GlobalAveragePool", "l", "p"),
        node("Flatten", "p"),
    ]
    added = zoo.add(written(graph(nodes, {"x": [1, 3, 8, 8]}, k=weights(4, 3, 3, 3))), preprocess="unit")

    assert type(zoo.load_model("net").get_layer("l")).__module__.startswith("zoo.")
    assert added.notes == ()


def test_a05_weights_that_are_not_finite_are_told_by_layer() -> None:
    model = picture_net()
    bias = next(each for each in model.graph.initializer if each.name == "b2")
    bias.raw_data = np.array([np.nan] * 4 + [1] * 4, "float32").tobytes()
    added = zoo.add(written(model), preprocess="unit")

    assert added.nonfinite == ("c2",)
    with pytest.raises(IntegrityError, match="NaN or infinite, in 1 layers: c2"):
        zoo.transfer("net", "digits", train_per_class=2)


# --- transfer ---


def test_a_transfer_and_a_second_one_that_finds_its_features() -> None:
    """Each loads the file again: names, configuration and weights must be those of before."""
    zoo.add(written(picture_net(channels=1, size=8)), preprocess="unit")
    first, again = (
        zoo.transfer("net", "digits", reuse=2, freeze=1, train_per_class=5, epochs=epochs) for epochs in (2, 1)
    )

    assert (first.record["model"], first.record["freeze"], first.record["reuse"]) == ("net", 1, 2)
    assert first.record["features"]["misses"] > 0
    assert again.record["features"]["misses"] == 0
    assert again.record["features"]["key"] == first.record["features"]["key"]
    assert again.predict(np.zeros((1, 8, 8, 1), "uint8"))[0].label in map(str, range(10))


def test_what_preprocessing_nobody_said_is_not_transferred() -> None:
    zoo.add(written(picture_net(channels=1, size=8)))
    with pytest.raises(DataError, match="zoo add FILE --replace --preprocess HOW"):
        zoo.transfer("net", "digits", train_per_class=2)


DIGEST = """
import zoo
from zoo.surgery.digests import unit_digests
model = zoo.load_model("net")
print(unit_digests(zoo.split_units(model), 2)[-1], model.to_json(), sep="\\n")
"""


@pytest.mark.slow
def test_another_process_gives_the_same_names_and_digests() -> None:
    zoo.add(written(picture_net()), preprocess="unit")
    model = zoo.load_model("net")
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    words = [sys.executable, "-c", DIGEST]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [unit_digests(zoo.split_units(model), 2)[-1], model.to_json()]


# --- weights beside the file ---


def test_weights_beside_the_file_are_kept_inside_it(home: Path) -> None:
    added = zoo.add(beside(Path("net.onnx"), picture_net()), preprocess="unit")
    Path("net.onnx.data").unlink()
    Path("net.onnx").unlink()
    (note,) = added.notes
    (place,) = zoo.locate("net")
    x = rand(2, 12, 12, 3)

    assert "(the first is 'net.onnx.data')" in note
    assert (place.name, place.digest) == ("net.onnx", hashlib.sha256(place.path.read_bytes()).hexdigest())
    assert f"one file of {place.bytes:,} bytes" in note
    assert str(added.entry.origin).endswith("work/net.onnx'")
    np.testing.assert_array_equal(zoo.load_model("net")(x), zoo.load_model(written(picture_net(), "whole.onnx"))(x))
    assert_invariants(home)
    assert list((home / "tmp").iterdir()) == []


def test_adding_weights_beside_the_file_again_changes_nothing(home: Path) -> None:
    path = beside(Path("net.onnx"), picture_net())
    zoo.add(path, preprocess="unit")
    before = (home / "registry.json").read_bytes()

    assert zoo.add(path, preprocess="unit").notes[-1] == "net is here already, as it is: nothing was changed."
    assert (home / "registry.json").read_bytes() == before


def test_weights_beside_the_file_that_cannot_be_kept_inside_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = beside(Path("net.onnx"), picture_net())
    monkeypatch.setattr(zoo.adding.inlining, "LARGEST", 1 << 24)
    refused(UsageError, r"zoo\.load_model\('net\.onnx'\).*zoo convert net\.onnx net\.keras", home, path)


def test_a10_weights_beside_the_file_that_are_missing(home: Path) -> None:
    path = beside(Path("net.onnx"), picture_net())
    Path("net.onnx.data").unlink()
    refused(IntegrityError, r"keeps weights in 'net\.onnx\.data', which is not beside it", home, path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_x10_weights_elsewhere(location: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(1 << 16))
    path = beside(Path("net.onnx"), picture_net())
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    refused(UnsafeFileError, r"outside its folder", home, written(model))


# --- refused ---


def test_a08_a_quantized_model(home: Path) -> None:
    refused(IntegrityError, r"^net\.onnx: .*quantized to 8 bits", home, written(quantized_net()))


def test_a_net_for_what_has_one_inside(home: Path) -> None:
    refused(UsageError, "tells which net weights are of", home, written(picture_net()), arch="vgg16")
